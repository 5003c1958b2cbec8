//! Why a request was rejected, and the response to it.

mod body;
mod format;
mod future;
mod log;
mod reason;

use std::{borrow::Cow, fmt, sync::Arc};

pub use self::{
    body::RejectionBody,
    format::{GrpcRejections, RejectionFormat, log_admitted, log_observed, quoted_string, respond},
    future::RejectionFuture,
    reason::Reason,
};
use crate::{
    ClaimsError, MalformedToken, PathAmbiguity, RevocationError, StoreError, TokenId, VerifiedToken,
};

/// Why a request was rejected, with what the caller, an operator and a metric need to know.
///
/// It is put into the extensions of the response, where outer layers find it:
///
/// ```
/// use tower_revoke_core::{Reason, Rejection, RejectionFormat};
///
/// let (request, ()) = http::Request::get("/orders").body(())?.into_parts();
/// let response = RejectionFormat::default().respond_to(Reason::Revoked.into(), &request);
/// assert_eq!(response.status(), 401);
/// assert_eq!(
///     response.headers()["www-authenticate"],
///     r#"Bearer realm="api", error="invalid_token", error_description="the token was revoked""#,
/// );
/// let rejection = response.extensions().get::<Rejection>().expect("typed");
/// assert_eq!(rejection.reason(), Reason::Revoked);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone)]
pub struct Rejection(Box<Details>);

// Boxed, since it is the error of results that are nearly always `Ok`.
#[derive(Clone)]
struct Details {
    reason: Reason,
    detail: Option<Cow<'static, str>>,
    scope: Option<Arc<str>>,
    token: Option<TokenId>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    /// The token, if nothing but the revocation list speaks against it.
    verified: Option<Arc<VerifiedToken>>,
}

/// Returns the token of a rejection if the revocation list holds it, and nothing else speaks against it.
pub fn listed_token(rejection: &Rejection) -> Option<&Arc<VerifiedToken>> {
    let verified = rejection.0.verified.as_ref();
    verified.filter(|_| matches!(rejection.0.reason, Reason::Revoked | Reason::Spent))
}

impl Rejection {
    /// Makes a rejection for this reason.
    pub fn new(reason: Reason) -> Self {
        Self(Box::new(Details {
            reason,
            detail: None,
            scope: None,
            token: None,
            source: None,
            verified: None,
        }))
    }

    /// Makes a 403 whose challenge names the scope that is needed (RFC 6750 §3).
    pub fn insufficient_scope(scope: impl Into<Arc<str>>) -> Self {
        let mut rejection = Self::new(Reason::InsufficientScope);
        rejection.0.scope = Some(scope.into());
        rejection
    }

    /// Makes a 500 for a program that lacks a layer. The log names the layer, the response doesn't.
    pub fn layer_missing(layer: &'static str) -> Self {
        Self::new(Reason::Misconfigured).source(Misconfigured::LayerMissing(layer))
    }

    /// Makes a 500 for a misconfigured program. The log says what is wrong, the response doesn't.
    pub fn misconfigured(what: &'static str) -> Self {
        Self::new(Reason::Misconfigured).source(Misconfigured::Other(what))
    }

    /// Makes a 503 for a token that is valid as far as the revocation list is not asked: the list
    /// can't answer. A bearer layer may be configured to admit it.
    pub fn list_unavailable(token: &Arc<VerifiedToken>, error: StoreError) -> Self {
        let mut rejection = Self::from(error).token(token.id());
        rejection.0.verified = Some(token.clone());
        rejection
    }

    /// Replaces the description that the caller gets. Characters that an `error_description` can't hold
    /// (RFC 6750 §3) are replaced. Never put a token, or a part of one, here.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds the token's id, for the log.
    #[must_use]
    pub fn token(mut self, token: TokenId) -> Self {
        self.0.token = Some(token);
        self
    }

    /// Adds the error that caused it, for the log. Callers don't see it.
    #[must_use]
    pub fn source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Returns why the request was rejected.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// Returns the token's id, if it was known by then.
    pub fn token_id(&self) -> Option<TokenId> {
        self.0.token
    }

    /// Returns the token, if all that is not known of it is whether it was revoked. See
    /// [`list_unavailable`](Self::list_unavailable).
    pub fn unchecked_token(&self) -> Option<&Arc<VerifiedToken>> {
        let verified = self.0.verified.as_ref();
        verified.filter(|_| self.0.reason == Reason::Unavailable)
    }

    /// Makes the rejection of a token that the revocation list holds, for
    /// [`Reason::Revoked`] or [`Reason::Spent`], and against which nothing else speaks. A revocation
    /// endpoint can then revoke it for good: a rule may be lifted, and a use returned.
    pub fn listed(token: &Arc<VerifiedToken>, reason: Reason) -> Self {
        let mut rejection = Self::new(reason).token(token.id());
        rejection.0.verified = Some(token.clone());
        rejection
    }

    /// Returns the scope that is needed.
    pub fn scope(&self) -> Option<&str> {
        self.0.scope.as_deref()
    }

    /// Returns the description that the caller gets.
    pub fn description(&self) -> &str {
        self.0
            .detail
            .as_deref()
            .unwrap_or_else(|| self.0.reason.description())
    }
}

#[derive(Debug, thiserror::Error)]
enum Misconfigured {
    #[error("the request came through no {0}, which must be outside of this layer or extractor")]
    LayerMissing(&'static str),
    #[error("{0}")]
    Other(&'static str),
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

/// For errors before the inner service was called: a store that can't answer is a 503.
impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        let reason = match error {
            StoreError::Expired => Reason::Expired,
            StoreError::LimitMismatch { .. } => Reason::Misconfigured,
            _ => Reason::Unavailable,
        };
        Self::new(reason).source(error)
    }
}

/// For a program that takes the key of a token for a rule's: a 500.
impl From<RevocationError> for Rejection {
    fn from(error: RevocationError) -> Self {
        Self::new(Reason::Misconfigured).source(error)
    }
}

impl From<MalformedToken> for Rejection {
    fn from(error: MalformedToken) -> Self {
        Self::new(Reason::MalformedRequest).source(error)
    }
}

impl From<PathAmbiguity> for Rejection {
    fn from(ambiguity: PathAmbiguity) -> Self {
        Self::new(Reason::AmbiguousPath).detail(ambiguity.description())
    }
}

impl From<ClaimsError> for Rejection {
    fn from(error: ClaimsError) -> Self {
        let reason = match error {
            ClaimsError::DoNotFit(_) => Reason::ClaimsDoNotFit,
            _ => Reason::MalformedToken,
        };
        Self::new(reason).source(error)
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("reason", &self.0.reason)
            .field("description", &self.description())
            .field("token", &self.0.token)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

impl std::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}
