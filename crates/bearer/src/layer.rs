//! The layer and its settings.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;
use serde_json::Value;
use tower_layer::Layer;
use tower_revoke_core::{Clock, GrpcRejections, Rejection, RejectionFormat, TokenVerifier};

use crate::{
    ProtectedResourceMetadata, RequireBearer, ResourceError,
    metadata::Resource,
    policy::{Mode, OnListError, Policy},
    requirement::Requirement,
};

/// Requires a valid bearer token, and puts the caller into the request's extensions as
/// [`Authenticated`](tower_revoke_core::Authenticated).
///
/// By default, the token is read from the `Authorization` header only. Clones share their verifier,
/// so a second layer with other settings can be made from a clone:
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_revoke_bearer::RequireBearerLayer;
/// use tower_revoke_core::{Authenticated, TokenVerifier};
///
/// async fn orders(caller: Authenticated) -> String {
///     format!("orders of {}", caller.subject().unwrap_or("nobody"))
/// }
///
/// async fn catalog(caller: Option<Authenticated>) -> &'static str {
///     if caller.is_some() { "with your prices" } else { "log in to see prices" }
/// }
///
/// fn routes(tokens: impl TokenVerifier) -> Router {
///     let bearer = RequireBearerLayer::new(tokens).realm("orders");
///     let for_guests = bearer.clone().optional();
///     Router::new()
///         .route("/orders", get(orders).layer(bearer.scope("orders:read")))
///         .route("/catalog", get(catalog).layer(for_guests))
/// }
/// ```
///
/// # What is rejected
///
/// | request | HTTP | error |
/// |---|---|---|
/// | no bearer credentials, or only those of another scheme, such as `Basic …` | 401 | none |
/// | two `Authorization` headers, an empty `Bearer`, a token by more than one method | 400 | `invalid_request` |
/// | a token that the verifier rejects | 401 | `invalid_token` |
/// | a token without a required scope or claim | 403 | `insufficient_scope` |
/// | a token that can't be checked now | 503 | no challenge |
#[doc(alias("oauth", "oauth2", "jwt", "rfc6750"))]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RequireBearerLayer<V> {
    verifier: Arc<V>,
    policy: Arc<Policy>,
}

impl<V: TokenVerifier> RequireBearerLayer<V> {
    /// Makes a layer that requires a token that `verifier` accepts.
    pub fn new(verifier: V) -> Self {
        Self {
            verifier: Arc::new(verifier),
            policy: Arc::default(),
        }
    }

    /// Passes on requests without a token, without `Authenticated`. A token that is present must be
    /// valid. Replaces [`observe`](Self::observe).
    pub fn optional(self) -> Self {
        self.with(|policy| policy.mode = Mode::Optional)
    }

    /// Rejects no request, for a service that is being migrated to authentication.
    ///
    /// A request that would have been rejected is logged at level `INFO` with the reason,
    /// [counted](Self::not_enforced), and passed on without `Authenticated`. That includes malformed credentials, a token that can't
    /// be checked now, and one that lacks a required scope or claim. So `Authenticated` still
    /// implies that all requirements of this layer are met.
    ///
    /// Inner layers and extractors, such as [`RequireClaimsLayer`](crate::RequireClaimsLayer), still
    /// reject, unless they observe too. Replaces [`optional`](Self::optional).
    pub fn observe(self) -> Self {
        self.with(|policy| policy.mode = Mode::Observe)
    }

    /// Sets what becomes of a request while the revocation list can't answer. Defaults to
    /// [`OnListError::Reject`].
    ///
    /// [`OnListError::Admit`] keeps a service up while the store of its list is down, at this price:
    ///
    /// - **A token that was revoked or spent is accepted**, unless this node knows of it: what it has
    ///   seen revoked is still rejected, and so is what its mirror lists. Everything else, such as
    ///   the form, signature, claims and scopes of the token, is checked as always.
    /// - A new token still waits for the list, for up to the list's `store_timeout`.
    /// - Uses can't be taken: `UseLimitLayer` and `Authenticated::take_use` still reject with 503.
    ///
    /// Each such request is [counted](Self::not_enforced), and logged at level `WARN`, once a minute
    /// with the number since the line before. A request with several token cookies is rejected all
    /// the same, since one of them may be a revoked one.
    ///
    /// ```
    /// # use tower_revoke_core::TokenVerifier;
    /// use tower_revoke_bearer::{OnListError, RequireBearerLayer};
    ///
    /// # fn layers(tokens: impl TokenVerifier) {
    /// let layer = RequireBearerLayer::new(tokens).on_list_error(OnListError::Admit);
    /// # }
    /// ```
    pub fn on_list_error(self, choice: OnListError) -> Self {
        self.with(|policy| policy.on_list_error = choice)
    }

    /// Returns how many requests passed that would have been rejected, by the
    /// [label](tower_revoke_core::Reason::label) of the reason: those that this layer, or one inside
    /// of it, only observed, and those that were admitted although the list
    /// [could not answer](Self::on_list_error), as `unavailable`. Clones share the counts.
    pub fn not_enforced(&self) -> BTreeMap<&'static str, u64> {
        self.policy.format.not_enforced()
    }

    /// Requires a scope. Repeated calls require all scopes. Each call takes one scope, without
    /// spaces. The challenges of 401 and 403 responses name all of them.
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.require(|requirement| requirement.scope(scope.into()))
    }

    /// Requires at least one of these scopes. An empty list rejects every token.
    pub fn any_scope<T: Into<String>>(self, scopes: impl IntoIterator<Item = T>) -> Self {
        let scopes = scopes.into_iter().map(Into::into).collect();
        self.require(|requirement| requirement.any_scope(scopes))
    }

    /// Requires a claim that equals `value`, as `serde_json` compares: a string, or any JSON value.
    pub fn claim(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.require(|requirement| requirement.claim(name.into(), value.into()))
    }

    /// Also reads the token from the cookie of this name, if no other method carries one.
    ///
    /// **Cross-site request forgery**: browsers send cookies with requests that another site makes,
    /// unlike the `Authorization` header. A service that reads tokens from cookies must reject such
    /// requests by other means: `SameSite`, a check of `Origin` or `Sec-Fetch-Site` (tower-http's
    /// `csrf`), or a token in the form.
    ///
    /// An empty cookie counts as absent. The cookie remains in the request, marked sensitive. An
    /// inner `OutboundAuthorizationLayer` removes it, whether or not the token was read from it.
    ///
    /// # Several cookies of this name
    ///
    /// A browser sends all cookies of one name that a host, its parent domains and paths have set,
    /// and doesn't indicate their origin. So up to three different values are candidates; equal
    /// values count once:
    ///
    /// | candidates | result |
    /// |---|---|
    /// | one is valid, the others are malformed, expired, of another issuer, … | the valid one is used, so that a stale cookie of a parent domain locks no user out |
    /// | one was revoked or spent | 401: the caller has logged out, and the other may be a session that a sibling domain has planted |
    /// | one can't be checked now | 503: it may have been revoked |
    /// | valid ones of different subjects | 400: one of them was planted |
    /// | valid ones of one issuer and subject | the first is used |
    /// | none is valid | as if only the first were present |
    /// | more than three | 400 |
    ///
    /// A `JwtVerifier` fetches no keys for a candidate, unless it has none of that issuer yet, so
    /// that a stale token doesn't delay a valid one.
    ///
    /// **Prefer a name that begins with `__Host-`**: browsers accept such a cookie only from the
    /// host itself, so another domain can't plant one. Two of them are rejected with 400.
    pub fn cookie(self, name: impl Into<String>) -> Self {
        self.with(|policy| policy.sources.cookie = Some(name.into().into()))
    }

    /// Also reads the token from the query parameter `access_token` (RFC 6750 §2.3).
    ///
    /// The parameter is removed from the URI before inner services see it; all others are kept byte
    /// for byte. Its value is percent-decoded; a `+` is kept, since no token contains a space. A
    /// repeated parameter is rejected with 400. Successful responses get `Cache-Control: private`,
    /// unless they have `no-store`.
    ///
    /// RFC 6750 advises against it, since URIs leak: into the browser's history, proxies and their
    /// logs, the `Referer` of the next page, and every layer **outside** of this one, such as a
    /// `TraceLayer` that logs URIs. A router that keeps the original URI, as axum's with
    /// `OriginalUri`, must be inside of this layer.
    pub fn query(self) -> Self {
        self.with(|policy| policy.sources.query = true)
    }

    /// Also reads the token from the WebSocket subprotocol that starts with `prefix`, which must
    /// not be empty.
    ///
    /// It applies to the `Sec-WebSocket-Protocol` of requests that open a WebSocket (RFC 6455 §4.1,
    /// over HTTP/2 RFC 8441). The entry is removed from the list before inner services see it. Two
    /// such entries are rejected with 400.
    ///
    /// Browsers have no other way to send a token when they open a WebSocket. They also require the
    /// response to select one of the offered protocols, which can't be this one, so offer another
    /// as well:
    ///
    /// ```js
    /// new WebSocket(url, ["chat", "bearer." + token])
    /// ```
    pub fn websocket_protocol(self, prefix: impl Into<String>) -> Self {
        self.with(|policy| policy.sources.websocket_prefix = Some(prefix.into().into()))
    }

    /// Names the protected resource, by its URL as clients know it. Challenges then carry
    /// `resource_metadata`, the URL at which clients find its [`metadata`](Self::metadata), which is to
    /// be mounted there (RFC 9728 §5.1).
    ///
    /// It doesn't check that tokens are meant for this resource: the verifier does, by its audience.
    ///
    /// # Errors
    /// [`ResourceError`] if it is not an `https` URL, or has a query or a fragment. Plain `http` is
    /// accepted for the loopback only.
    pub fn resource(self, url: impl Into<String>) -> Result<Self, ResourceError> {
        let resource = Resource::new(url.into())?;
        let layer = self.reformat(|format| format.resource_metadata(resource.metadata_url()));
        Ok(layer.with(|policy| policy.resource = Some(resource)))
    }

    /// Returns the metadata of the [`resource`](Self::resource) (RFC 9728), to be mounted outside of
    /// this layer: clients that have no token yet read it.
    ///
    /// # Errors
    /// [`ResourceError::Missing`] if no resource was named.
    pub fn metadata(&self) -> Result<ProtectedResourceMetadata, ResourceError> {
        let policy = &self.policy;
        let resource = policy.resource.clone().ok_or(ResourceError::Missing)?;
        let mut scopes = policy.requirement.all_scopes();
        scopes.retain(|scope| scope != "offline_access");
        Ok(ProtectedResourceMetadata::new(resource)
            .list("authorization_servers", self.verifier.issuers())
            .list("scopes_supported", scopes)
            .list("bearer_methods_supported", policy.sources.methods()))
    }

    /// Forbids that credentials of requests through this layer are handed to another server, as MCP
    /// demands (a token was issued for this resource, and another must not be given it). An
    /// `OutboundAuthorizationLayer` whose upstream would get them, by `keep` or `rename`, responds with
    /// 500 instead, and calls nobody. The marker is in the request's extensions, so a program that
    /// makes its own requests must not rely on it.
    pub fn forbid_forwarding(self) -> Self {
        self.with(|policy| policy.forbids_forwarding = true)
    }

    /// Sets the realm of the challenge. Defaults to `api`. Inner layers and extractors reject in the same
    /// format, here and in the settings below.
    pub fn realm(self, realm: impl Into<String>) -> Self {
        self.reformat(|format| format.realm(realm))
    }

    /// Sets the `Retry-After` of a 503, in whole seconds. Defaults to 1 s.
    pub fn retry_after(self, retry_after: Duration) -> Self {
        self.reformat(|format| format.retry_after(retry_after))
    }

    /// Replaces the body of rejections: `body` returns the content type and the bytes. Status and other
    /// headers stay, and gRPC rejections have no body. Defaults to `application/problem+json`.
    ///
    /// # Examples
    /// ```
    /// # use tower_revoke_core::TokenVerifier;
    /// use http::HeaderValue;
    /// use tower_revoke_bearer::RequireBearerLayer;
    ///
    /// # fn layers(tokens: impl TokenVerifier) {
    /// let layer = RequireBearerLayer::new(tokens).rejection_body(|rejection| {
    ///     let text = HeaderValue::from_static("text/plain");
    ///     (text, format!("rejected: {rejection}\n").into())
    /// });
    /// # }
    /// ```
    pub fn rejection_body(
        self,
        body: impl Fn(&Rejection) -> (HeaderValue, Bytes) + Send + Sync + 'static,
    ) -> Self {
        self.reformat(|format| format.body(body))
    }

    /// Replaces the body of rejections by the JSON of a value, with the content type
    /// `application/json`; otherwise as [`rejection_body`](Self::rejection_body). A value that can't be
    /// serialized leaves the body as it is by default.
    ///
    /// # Examples
    /// ```
    /// # use tower_revoke_core::TokenVerifier;
    /// use serde::Serialize;
    /// use tower_revoke_bearer::RequireBearerLayer;
    ///
    /// #[derive(Serialize)]
    /// struct Problem {
    ///     code: &'static str,
    ///     message: String,
    /// }
    ///
    /// # fn layers(tokens: impl TokenVerifier) {
    /// let layer = RequireBearerLayer::new(tokens).rejection_json(|rejection| Problem {
    ///     code: rejection.reason().label(),
    ///     message: rejection.to_string(),
    /// });
    /// # }
    /// ```
    pub fn rejection_json<T: Serialize>(
        self,
        value: impl Fn(&Rejection) -> T + Send + Sync + 'static,
    ) -> Self {
        self.reformat(|format| format.json(value))
    }

    /// Sets which requests are rejected in gRPC form. Defaults to [`GrpcRejections::Auto`].
    pub fn grpc_rejections(self, grpc: GrpcRejections) -> Self {
        self.reformat(|format| format.grpc(grpc))
    }

    /// Sets the clock that limits the log of rejections to a line a minute. Defaults to the system's.
    pub fn clock(self, clock: Clock) -> Self {
        self.reformat(|format| format.clock(clock))
    }

    fn require(self, change: impl FnOnce(&mut Requirement)) -> Self {
        let layer = self.with(|policy| change(&mut policy.requirement));
        let necessary = layer.policy.requirement.necessary();
        layer.reformat(|format| format.scopes(necessary))
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
