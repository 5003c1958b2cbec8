//! The layer that checks what the caller's token grants, for a route.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::Value;
use tower_layer::Layer;
use tower_revoke_core::{
    Authenticated, RejectionFormat,
    end::RequestShape,
    internal::{Filter, Predicate, respond},
};

use crate::requirement::Requirement;

/// Passes on the requests whose token grants what a route needs. It goes inside of a
/// [`RequireBearerLayer`](crate::RequireBearerLayer), and rejects in its format.
///
/// # Examples
/// ```
/// use tower_revoke_bearer::RequireClaimsLayer;
///
/// let layer = RequireClaimsLayer::scope("orders:write").and_claim("tenant", "acme");
/// ```
///
/// # What is rejected
///
/// | the request has | HTTP | error |
/// |---|---|---|
/// | no caller, as behind an optional or observing bearer layer | 401 | none |
/// | a token that doesn't grant it | 403 | `insufficient_scope`, and the scope |
/// | come through no bearer layer | 500 | no challenge; the log names the layer |
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RequireClaimsLayer {
    requirement: Arc<Requirement>,
}

impl RequireClaimsLayer {
    /// Requires a scope, which has no spaces.
    pub fn scope(scope: impl Into<String>) -> Self {
        Self::new().and_scope(scope)
    }

    /// Requires one of these scopes. No token passes where there are none.
    pub fn any_scope<T: Into<String>>(scopes: impl IntoIterator<Item = T>) -> Self {
        Self::new().and_any_scope(scopes)
    }

    /// Requires a claim that equals `value`, as `serde_json` compares: a string, or any JSON value.
    pub fn claim(name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new().and_claim(name, value)
    }

    /// Requires this scope too.
    pub fn and_scope(self, scope: impl Into<String>) -> Self {
        self.with(|requirement| requirement.scope(scope.into()))
    }

    /// Requires one of these scopes too.
    pub fn and_any_scope<T: Into<String>>(self, scopes: impl IntoIterator<Item = T>) -> Self {
        let scopes = scopes.into_iter().map(Into::into).collect();
        self.with(|requirement| requirement.any_scope(scopes))
    }

    /// Requires this claim too.
    pub fn and_claim(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(|requirement| requirement.claim(name.into(), value.into()))
    }

    fn new() -> Self {
        Self {
            requirement: Arc::default(),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Requirement)) -> Self {
        change(Arc::make_mut(&mut self.requirement));
        self
    }
}

impl Predicate for RequireClaimsLayer {
    fn reject<B>(&self, request: &mut Request<B>) -> Option<Response<Full<Bytes>>> {
        let extensions = request.extensions();
        let caller = Authenticated::of(extensions);
        let rejection = caller
            .and_then(|caller| self.requirement.check(caller))
            .err()?;
        let format = RejectionFormat::of(extensions);
        Some(respond(&format, rejection, RequestShape::of(request)))
    }
}

/// The service of [`RequireClaimsLayer`].
pub type RequireClaims<S> = Filter<S, RequireClaimsLayer>;

impl<S> Layer<S> for RequireClaimsLayer {
    type Service = RequireClaims<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Filter::new(inner, self.clone())
    }
}
