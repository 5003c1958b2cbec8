//! The layer and its settings.

use std::{fmt, sync::Arc, time::Duration};

use serde_json::Value;
use tower_layer::Layer;
use tower_revoke_core::{RejectionFormat, TokenVerifier};

use crate::{
    RequireBearer,
    policy::{Mode, Policy},
};

/// Lets requests through whose bearer token is good.
///
/// By default a token is required, and read from the `Authorization` header only. Clones share
/// their verifier, so a second layer with other settings is made from a clone:
///
/// ```
/// # use tower_revoke_core::TokenVerifier;
/// use tower_revoke_bearer::RequireBearerLayer;
///
/// # fn layers(tokens: impl TokenVerifier) {
/// let bearer = RequireBearerLayer::new(tokens).realm("orders");
/// let for_guests = bearer.clone().optional();
/// # }
/// ```
///
/// # What is rejected
///
/// | what came | HTTP | error |
/// |---|---|---|
/// | no bearer credentials; those of another scheme, such as `Basic …`, are none | 401 | none |
/// | two `Authorization` headers, an empty `Bearer`, a token by more than one method | 400 | `invalid_request` |
/// | a token that the verifier rejects | 401 | `invalid_token` |
/// | a token without the scope or claim asked for | 403 | `insufficient_scope` |
/// | a token that can't be checked now | 503 | no challenge |
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RequireBearerLayer<V> {
    verifier: Arc<V>,
    policy: Arc<Policy>,
}

impl<V: TokenVerifier> RequireBearerLayer<V> {
    /// Requires a token that `verifier` finds good.
    pub fn new(verifier: V) -> Self {
        Self {
            verifier: Arc::new(verifier),
            policy: Arc::default(),
        }
    }

    /// Lets requests without a token through, without `Authenticated`. Whoever presents a token
    /// must present a good one. Replaces [`observe`](Self::observe).
    pub fn optional(self) -> Self {
        self.with(|policy| policy.mode = Mode::Optional)
    }

    /// Rejects nobody, for a service that is not protected yet: what would have been rejected is
    /// logged at level `INFO`, with its reason, and passes without `Authenticated`. So do malformed
    /// credentials, a token that can't be checked now, and one that lacks a scope or claim that
    /// this layer asks for: whoever finds `Authenticated` may rely on all that was asked.
    ///
    /// What stands further in rejects as ever: [`RequireClaimsLayer`](crate::RequireClaimsLayer),
    /// an extractor, a `UseLimitLayer`. Replaces [`optional`](Self::optional).
    pub fn observe(self) -> Self {
        self.with(|policy| policy.mode = Mode::Observe)
    }

    /// Asks for a scope of every token; asked several times, for all of them. One scope, without
    /// spaces.
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.with(|policy| policy.requirement.scope(scope.into()))
    }

    /// Asks for one of these scopes. No token has one of none.
    pub fn any_scope<T: Into<String>>(self, scopes: impl IntoIterator<Item = T>) -> Self {
        let scopes = scopes.into_iter().map(Into::into).collect();
        self.with(|policy| policy.requirement.any_scope(scopes))
    }

    /// Asks for a claim that equals `value`, as `serde_json` compares: a string, or any JSON value.
    pub fn claim(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(|policy| policy.requirement.claim(name.into(), value.into()))
    }

    /// Reads the token from the cookie of this name too, if it comes by no other way.
    ///
    /// **Cross-site request forgery**: browsers send cookies with requests that another site
    /// makes, which they don't do with a header. Whoever reads tokens from cookies must reject such
    /// requests by other means: `SameSite`, a check of `Origin` or `Sec-Fetch-Site` (tower-http's
    /// `csrf`), or a token in the form.
    ///
    /// An empty cookie is none. The cookie stays in the request, marked sensitive. An
    /// `OutboundAuthorizationLayer` further in removes it, whether or not the token came in it.
    ///
    /// # Several cookies of this name
    ///
    /// A browser sends all cookies of one name that a host, its parent domains and paths have set,
    /// and doesn't say which is whose. So up to three that differ are candidates, and equal ones
    /// count as one:
    ///
    /// | candidates | answer |
    /// |---|---|
    /// | one is good, the others are malformed, expired, of another issuer, … | the good one passes: a stale cookie of a parent domain locks nobody out |
    /// | one was revoked or spent | 401: the caller has logged out, and the other may be a session that a sibling domain has planted |
    /// | one can't be checked now | 503: it may have been revoked |
    /// | good ones of different subjects | 400: one of them was planted |
    /// | good ones of one issuer and subject | the first passes |
    /// | none is good | as if the first had come alone |
    /// | more than three | 400 |
    ///
    /// A `JwtVerifier` fetches no keys for a candidate, unless it has none yet of that issuer: a
    /// stale token must not hold up a good one.
    ///
    /// **Use a name that begins with `__Host-`** where you can: browsers take such a cookie from
    /// the host itself only, so nobody can plant one. Two of them are rejected with 400.
    pub fn cookie(self, name: impl Into<String>) -> Self {
        self.with(|policy| policy.sources.cookie = Some(name.into().into()))
    }

    /// Reads the token from the query parameter `access_token` too (RFC 6750 §2.3). The parameter
    /// is taken out of the URI before inner services see it; all others stay byte for byte. It is
    /// percent-decoded; a `+` stays a `+`, since no token has a space. Twice is rejected with 400.
    /// Successful answers get `Cache-Control: private`, unless they say `no-store`.
    ///
    /// RFC 6750 advises against it, since a URI is seen by many: the browser's history, proxies on
    /// the way and their logs, the `Referer` of the next page, and here every layer **outside** of
    /// this one, such as a `TraceLayer` that logs URIs. A router that keeps the original URI, as
    /// axum's with `OriginalUri`, must stand inside.
    pub fn query(self) -> Self {
        self.with(|policy| policy.sources.query = true)
    }

    /// Reads the token from a WebSocket subprotocol too: the one in `Sec-WebSocket-Protocol` that
    /// starts with `prefix`, which is not empty, on a request for a WebSocket (RFC 6455 §4.1, over
    /// HTTP/2 RFC 8441). It is taken out of the list before inner services see it; two are rejected
    /// with 400.
    ///
    /// Browsers have no other way to send a token there. They also want the answer to name one of
    /// the protocols they offered, which can't be this one: offer another beside it.
    ///
    /// ```js
    /// new WebSocket(url, ["chat", "bearer." + token])
    /// ```
    pub fn websocket_protocol(self, prefix: impl Into<String>) -> Self {
        self.with(|policy| policy.sources.websocket_prefix = Some(prefix.into().into()))
    }

    /// The realm of the challenge; `api` unless set.
    pub fn realm(self, realm: impl Into<String>) -> Self {
        self.reformat(|format| format.realm(realm))
    }

    /// What a 503 says in `Retry-After`, in whole seconds; 1 s unless set.
    pub fn retry_after(self, retry_after: Duration) -> Self {
        self.reformat(|format| format.retry_after(retry_after))
    }

    /// How rejections look: in place of realm and `Retry-After` set before, and of the body. Layers
    /// and extractors further in reject in the same format.
    pub fn rejection_format(self, format: RejectionFormat) -> Self {
        self.reformat(|_| format)
    }

    fn reformat(self, change: impl FnOnce(RejectionFormat) -> RejectionFormat) -> Self {
        self.with(|policy| {
            let format = Arc::unwrap_or_clone(std::mem::take(&mut policy.format));
            policy.format = Arc::new(change(format));
        })
    }

    fn with(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(Arc::make_mut(&mut self.policy));
        self
    }
}

impl<V> Clone for RequireBearerLayer<V> {
    fn clone(&self) -> Self {
        Self {
            verifier: self.verifier.clone(),
            policy: self.policy.clone(),
        }
    }
}

impl<V> fmt::Debug for RequireBearerLayer<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireBearerLayer")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl<S, V> Layer<S> for RequireBearerLayer<V> {
    type Service = RequireBearer<S, V>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireBearer::new(inner, self.verifier.clone(), self.policy.clone())
    }
}
