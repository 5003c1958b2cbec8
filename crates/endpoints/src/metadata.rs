//! The metadata document of an authorization server (RFC 8414).

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Map, Value};
use tower_revoke_core::{Endpoint, EndpointError, internal::metadata_response};
use tower_service::Service;

use crate::{ClientAuthentication, IntrospectionEndpoint, RevocationEndpoint};

/// The metadata document of an authorization server (RFC 8414), as a service to mount at
/// [`path`](Self::path).
///
/// It tells clients where the endpoints are and how to authenticate there. Members for endpoints of
/// your own are added with [`member`](Self::member); RFC 8414 §2 requires `response_types_supported`.
///
/// # Examples
/// ```
/// use axum::Router;
/// use serde_json::json;
/// use tower_revoke_endpoints::{AuthorizationServerMetadata, RevocationEndpoint, StaticClients};
/// use tower_revoke_list::RevocationList;
///
/// let revoke = RevocationEndpoint::new(RevocationList::in_memory(), StaticClients::new());
/// let metadata = AuthorizationServerMetadata::new("https://id.example.com/shop")?
///     .revocation_endpoint("https://id.example.com/shop/revoke", &revoke)?
///     .member("token_endpoint", "https://id.example.com/shop/token")
///     .member("response_types_supported", json!(["code"]));
/// assert_eq!(metadata.path(), "/.well-known/oauth-authorization-server/shop");
///
/// let app: Router = Router::new()
///     .route_service(&metadata.path(), metadata.clone())
///     .route_service("/shop/revoke", revoke);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AuthorizationServerMetadata {
    issuer: Endpoint,
    members: Map<String, Value>,
}

/// Why there is no metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The issuer has a query (RFC 8414 §2).
    #[error("the issuer `{0}` has a query")]
    Query(String),
    /// The issuer or an endpoint is not a usable URL.
    #[error(transparent)]
    Url(#[from] EndpointError),
}

impl AuthorizationServerMetadata {
    /// Makes the document of an issuer.
    ///
    /// # Errors
    /// [`MetadataError`] if the issuer is not an `https` URL, or has a query. Plain `http` is accepted
    /// for the loopback only.
    pub fn new(issuer: &str) -> Result<Self, MetadataError> {
        let url = Endpoint::new(issuer)?;
        if url.uri().query().is_some() {
            return Err(MetadataError::Query(issuer.to_owned()));
        }
        let metadata = Self {
            issuer: url,
            members: Map::new(),
        };
        Ok(metadata.member("issuer", issuer))
    }

    /// Adds the revocation endpoint: its URL, and how clients authenticate there.
    ///
    /// # Errors
    /// [`MetadataError::Url`] as for [`new`](Self::new).
    pub fn revocation_endpoint(
        self,
        url: &str,
        endpoint: &RevocationEndpoint,
    ) -> Result<Self, MetadataError> {
        self.endpoint("revocation_endpoint", url, endpoint.clients())
    }

    /// Adds the introspection endpoint: its URL, and how clients authenticate there.
    ///
    /// # Errors
    /// [`MetadataError::Url`] as for [`new`](Self::new).
    pub fn introspection_endpoint(
        self,
        url: &str,
        endpoint: &IntrospectionEndpoint,
    ) -> Result<Self, MetadataError> {
        self.endpoint("introspection_endpoint", url, endpoint.clients())
    }

    fn endpoint(
        self,
        name: &str,
        url: &str,
        clients: &ClientAuthentication,
    ) -> Result<Self, MetadataError> {
        Endpoint::new(url)?;
        let methods = format!("{name}_auth_methods_supported");
        Ok(self
            .member(name, url)
            .member(methods, clients.method_names()))
    }

    /// Adds or replaces a member.
    #[must_use]
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// Returns the path at which clients look for the document (RFC 8414 §3.1).
    pub fn path(&self) -> String {
        let path = self.issuer.uri().path().trim_end_matches('/');
        format!("/.well-known/oauth-authorization-server{path}")
    }
}

impl<B> Service<Request<B>> for AuthorizationServerMetadata {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(metadata_response(request.method(), &self.members)))
    }
}
