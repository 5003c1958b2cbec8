//! The verifier: what is cached, and when the server is asked.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tower_revoke_core::{
    Authenticated, BearerToken, ReadyError, Reason, Rejection, TokenCopy, TokenVerifier,
    VerifiedToken,
    internal::{CacheKey, TokenCache, caller, checked_caller, known_status},
};

use super::{
    answer::Rules,
    flights::{Answer, Flights},
    server::Server,
};

/// Verifies tokens by asking their authorization server (RFC 7662): opaque ones, or JWTs whose server
/// knows more of them than they say.
///
/// Clones share the cache. It must be called in a tokio runtime with its timer enabled.
///
/// # Examples
/// ```
/// use tower_revoke_list::RevocationList;
/// use tower_revoke_oauth::IntrospectionVerifier;
///
/// # fn build(secret: String) -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = IntrospectionVerifier::discover("https://id.example.com")
///     .client_credentials("orders", secret)
///     .audience("orders")
///     .revocations(RevocationList::in_memory())
///     .build()?;
/// // RequireBearerLayer::new(tokens)
/// # Ok(())
/// # }
/// ```
///
/// # What is checked
/// The answer must say `active`, of this issuer if it names one, for our audience, within `exp`, `nbf` and
/// `iat`, and of an access token without `cnf`: a refresh token, or one that is bound to a key, is rejected
/// as no bearer token, and so is one of which the answer says neither type nor audience. Then the revocation
/// list is asked, on every request. Scopes and claims are checked by the layers, on every request too,
/// whatever is cached.
///
/// # Guarantees
/// * **A token that the server has ended is rejected within
///   [`max_staleness`](crate::IntrospectionVerifierBuilder::max_staleness)**, 5 s by default. The age of an answer
///   counts from before the server was asked, and no answer outlives the token's `exp`.
/// * **It fails closed.** A server that is slow, down or unreadable, or that rejects our credentials, is a
///   503, and never a 401.
/// * **A flood of made-up tokens** reaches the server
///   at a [bounded rate](crate::IntrospectionVerifierBuilder::unknown_tokens_per_second); beyond
///   it the response is 503, for new valid tokens too. Tokens that were valid before are asked about as
///   before, and no flood evicts them: rejected tokens have a table of their own.
/// * **One request at a time for a token**, whose answer all callers share, and at most
///   [`max_concurrency`](crate::IntrospectionVerifierBuilder::max_concurrency) in all.
/// * **No token is kept**, but keyed hashes of 128 bits.
#[doc(alias("rfc7662", "opaque"))]
#[derive(Clone)]
pub struct IntrospectionVerifier {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) server: Server,
    pub(super) rules: Rules,
    pub(super) max_staleness: Duration,
    pub(super) accepted: TokenCache<Kept<Arc<VerifiedToken>>>,
    pub(super) rejected: TokenCache<Kept<Rejection>>,
    pub(super) flights: Arc<Flights>,
}

/// An answer, with the uptime before which the server was asked, and the seconds within which it holds.
#[derive(Clone)]
pub(super) struct Kept<T> {
    answer: T,
    asked_at: Duration,
    window: Range<u64>,
}

/// The longest token that is accepted.
const MAX_TOKEN_BYTES: usize = 8_192;

impl IntrospectionVerifier {
    pub(super) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Waits until the endpoint is known: fetches the issuer's metadata, where that was not done yet.
    ///
    /// # Errors
    /// The metadata can't be fetched, or names no introspection endpoint.
    pub async fn ready(&self) -> Result<(), ReadyError> {
        match self.inner.server.endpoint().await {
            Ok(_) => Ok(()),
            Err(error) => Err(ReadyError::new("the introspection verifier", error)),
        }
    }
}

impl TokenVerifier for IntrospectionVerifier {
    fn verify_cached(&self, token: &BearerToken) -> Option<Result<Authenticated, Rejection>> {
        let inner = &self.inner;
        let kept = inner.accepted.get(&inner.accepted.key(token.as_bytes()))?;
        let token = inner.fresh(kept)?;
        let status = known_status(&token, inner.rules.revocations.as_ref())?;
        Some(caller(token, status))
    }

    fn issuers(&self) -> Vec<String> {
        vec![self.inner.server.issuer.clone()]
    }

    async fn verify(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        let inner = &self.inner;
        let verified = inner.verified(token).await?;
        checked_caller(verified, inner.rules.revocations.as_ref()).await
    }
}

impl Inner {
    /// The answer, unless it is too old.
    fn fresh<T>(&self, kept: Kept<T>) -> Option<T> {
        let clock = &self.server.clock;
        let age = clock.uptime().saturating_sub(kept.asked_at);
        let is_fresh = age < self.max_staleness && kept.window.contains(&clock.now().as_secs());
        is_fresh.then_some(kept.answer)
    }

    async fn verified(self: &Arc<Self>, token: &BearerToken) -> Answer {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Reason::TokenTooLong.into());
        }
        let key = self.accepted.key(token.as_bytes());
        let kept = self.accepted.get(&key);
        let is_known = kept.is_some();
        if let Some(token) = kept.and_then(|kept| self.fresh(kept)) {
            return Ok(token);
        }
        let rejected_key = self.rejected.key(token.as_bytes());
        let kept = self.rejected.get(&rejected_key);
        if let Some(rejection) = kept.and_then(|kept| self.fresh(kept)) {
            return Err(rejection);
        }
        let now = self.server.clock.uptime();
        let flight = self.flights.join(key, now, self.max_staleness, || {
            let slot = self.server.admit(is_known)?;
            let (inner, token) = (self.clone(), token.clone());
            let asked = async move {
                let _slot = slot;
                inner.ask(&token, key, rejected_key).await
            };
            Ok(asked.boxed())
        })?;
        flight.await
    }

    async fn ask(&self, token: &BearerToken, key: CacheKey, rejected_key: CacheKey) -> Answer {
        let asked_at = self.server.clock.uptime();
        let body = self.server.ask(&TokenCopy::from(token)).await?;
        let now = self.server.clock.now();
        match self.rules.read(&body, token, now)? {
            Ok((token, window)) => {
                let token = Arc::new(token);
                let answer = token.clone();
                let kept = Kept {
                    answer,
                    asked_at,
                    window,
                };
                self.accepted.insert(key, kept);
                Ok(token)
            }
            Err(rejection) => {
                self.accepted.remove(&key);
                let kept = Kept {
                    answer: rejection.clone(),
                    asked_at,
                    window: 0..u64::MAX,
                };
                self.rejected.insert(rejected_key, kept);
                Err(rejection)
            }
        }
    }
}

impl fmt::Debug for IntrospectionVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectionVerifier")
            .field("server", &self.inner.server)
            .finish_non_exhaustive()
    }
}
