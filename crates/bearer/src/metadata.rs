//! The metadata of the protected resource (RFC 9728): where it is, and the service that returns it.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use serde_json::{Map, Value};
use tower_revoke_core::{Endpoint, EndpointError, internal::metadata_response};
use tower_service::Service;

/// The metadata document of a protected resource (RFC 9728), as a service to mount at
/// [`path`](Self::path).
///
/// [`RequireBearerLayer::metadata`](crate::RequireBearerLayer::metadata) makes it from what the layer
/// and its verifier know:
///
/// | member | from |
/// |---|---|
/// | `resource` | [`RequireBearerLayer::resource`](crate::RequireBearerLayer::resource) |
/// | `authorization_servers` | the issuers of the verifier |
/// | `scopes_supported` | the scopes that the layer requires, without `offline_access` |
/// | `bearer_methods_supported` | `header`, and `query` if the layer reads it |
///
/// Others are added with [`member`](Self::member). The document is public, and may be read by scripts
/// of any origin (`Access-Control-Allow-Origin: *`).
///
/// # Examples
/// ```
/// use axum::{Router, routing::get};
/// use tower_revoke_bearer::RequireBearerLayer;
/// # use tower_revoke_core::TokenVerifier;
///
/// # fn app(tokens: impl TokenVerifier) -> Result<Router, Box<dyn std::error::Error>> {
/// let bearer = RequireBearerLayer::new(tokens)
///     .resource("https://api.example.com/orders")?
///     .scope("orders:read");
/// let metadata = bearer.metadata()?;
/// assert_eq!(metadata.path(), "/.well-known/oauth-protected-resource/orders");
///
/// let app = Router::new()
///     .route("/orders", get(async || "orders"))
///     .layer(bearer)
///     .route_service(&metadata.path(), metadata.member("resource_name", "Orders"));
/// # Ok(app)
/// # }
/// ```
#[doc(alias = "rfc9728")]
#[derive(Clone, Debug)]
pub struct ProtectedResourceMetadata {
    resource: Resource,
    members: Map<String, Value>,
}

/// Why a URL can't identify a protected resource, or there is no metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceError {
    /// [`resource`](crate::RequireBearerLayer::resource) was not called.
    #[error("the resource is missing; set it with .resource(\"https://…\")")]
    Missing,
    /// The URL has a query or a fragment.
    #[error("the resource `{0}` has a query or a fragment; name it without")]
    QueryOrFragment(String),
    /// The resource is not a usable URL.
    #[error(transparent)]
    Url(#[from] EndpointError),
}

impl ProtectedResourceMetadata {
    pub(crate) fn new(resource: Resource) -> Self {
        let members = Map::from_iter([("resource".to_owned(), resource.name.clone().into())]);
        Self { resource, members }
    }

    /// Adds or replaces a member, such as `scopes_supported` where routes require more scopes than the
    /// layer does.
    #[must_use]
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// As [`member`](Self::member), without a member that would be an empty list (RFC 9728 §2).
    pub(crate) fn list(self, name: &str, values: Vec<String>) -> Self {
        match values.is_empty() {
            true => self,
            false => self.member(name, values),
        }
    }

    /// Returns the path at which clients look for the document (RFC 9728 §3.1).
    pub fn path(&self) -> String {
        self.resource.metadata_path()
    }
}

impl<B> Service<Request<B>> for ProtectedResourceMetadata {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut response = metadata_response(request.method(), &self.members);
        let any = HeaderValue::from_static("*");
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
        ready(Ok(response))
    }
}

/// The URL that identifies a protected resource.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// As it was given: clients compare it byte for byte (RFC 9728 §3.3).
    name: String,
    url: Endpoint,
}

impl Resource {
    pub(crate) fn new(name: String) -> Result<Self, ResourceError> {
        let url = Endpoint::new(&name)?;
        // A parsed URI has lost its fragment.
        if name.contains(['?', '#']) {
            return Err(ResourceError::QueryOrFragment(name));
        }
        Ok(Self { name, url })
    }

    fn metadata_path(&self) -> String {
        let path = self.url.uri().path().trim_end_matches('/');
        format!("/.well-known/oauth-protected-resource{path}")
    }

    pub(crate) fn metadata_url(&self) -> String {
        let uri = self.url.uri();
        let scheme = uri.scheme_str().unwrap_or("https");
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        format!("{scheme}://{authority}{}", self.metadata_path())
    }
}
