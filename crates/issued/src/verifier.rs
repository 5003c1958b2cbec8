//! The verifier, and the cache of its results.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use tower_revoke_core::{
    Authenticated, BearerToken, IssuedToken, Reason, Rejection, Revocations, TokenKind,
    TokenVerifier, VerifiedToken,
    internal::{TokenCache, caller, checked_caller, known_status, window},
};

use crate::IssuedTokens;

/// Verifies the opaque tokens of [`IssuedTokens`]: what was issued, its expiry, and the revocation
/// list.
///
/// Clones share the cache. The [documentation of the crate](crate) says what is checked, with an
/// example. Under a layer:
///
/// ```
/// use tower_revoke_bearer::RequireBearerLayer;
/// use tower_revoke_issued::{IssuedTokens, OpaqueTokenVerifier};
/// use tower_revoke_list::{MemoryStore, RevocationList};
///
/// let store = MemoryStore::new();
/// let list = RevocationList::new(store.clone());
/// let tokens = IssuedTokens::builder("https://id.example.com", store).prefix("acme_").build()?;
/// let verifier = OpaqueTokenVerifier::builder(tokens).audience("orders").revocations(list).build()?;
/// let layer = RequireBearerLayer::new(verifier);
/// # let _ = layer;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct OpaqueTokenVerifier(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) tokens: IssuedTokens,
    pub(crate) rules: Rules,
    pub(crate) revocations: Option<Arc<dyn Revocations>>,
    pub(crate) cache: Option<TokenCache<Verified>>,
}

/// What tokens must be.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) kinds: Vec<TokenKind>,
    /// If there are none, tokens for any audience are accepted.
    pub(crate) audiences: Vec<String>,
    pub(crate) rule_claims: Vec<String>,
    pub(crate) leeway: Duration,
}

/// A token that was found good. Rows don't change, so only its times and the list decide from then
/// on.
#[derive(Clone)]
pub(crate) struct Verified {
    token: Arc<VerifiedToken>,
    /// The seconds within which it is valid.
    window: Range<u64>,
}

impl OpaqueTokenVerifier {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl TokenVerifier for OpaqueTokenVerifier {
    /// Returns the result for a token that was verified before, if it has not expired, and the list
    /// knows its status without waiting.
    fn verify_cached(&self, token: &BearerToken) -> Option<Result<Authenticated, Rejection>> {
        let known = self.0.cached(token)?;
        let status = known_status(&known, self.0.revocations.as_ref())?;
        Some(caller(known, status))
    }

    fn issuers(&self) -> Vec<String> {
        vec![self.0.tokens.issuer().to_owned()]
    }

    async fn verify(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        let verified = match self.0.cached(token) {
            Some(known) => known,
            None => self.0.found(token).await?,
        };
        checked_caller(verified, self.0.revocations.as_ref()).await
    }
}

impl Inner {
    fn cached(&self, token: &BearerToken) -> Option<Arc<VerifiedToken>> {
        let cache = self.cache.as_ref()?;
        let known = cache.get(&cache.key(token.as_bytes()))?;
        let now = self.tokens.clock().now().as_secs();
        known.window.contains(&now).then_some(known.token)
    }

    /// Returns the token, if it was issued and may be accepted. Rejected ones are not cached.
    async fn found(&self, presented: &BearerToken) -> Result<Arc<VerifiedToken>, Rejection> {
        if !self.tokens.has_form(presented) {
            return Err(Reason::MalformedToken.into());
        }
        let row = self.tokens.find(presented).await?;
        let row = row.ok_or(Reason::UnknownToken)?;
        let verified = self.check(&row)?;
        let token = verified.token.clone();
        if let Some(cache) = &self.cache {
            cache.insert(cache.key(presented.as_bytes()), verified);
        }
        Ok(token)
    }

    /// Checks all but the list.
    fn check(&self, row: &IssuedToken) -> Result<Verified, Rejection> {
        let rules = &self.rules;
        let mut token = VerifiedToken::of_issued(row, rules.leeway)?;
        let id = token.id();
        let rejected = |reason| Rejection::new(reason).token(id);
        if !rules.kinds.contains(&row.kind) {
            return Err(rejected(Reason::WrongType));
        }
        let window = window(token.claims(), rules.leeway);
        let now = self.tokens.clock().now().as_secs();
        if now >= window.end {
            return Err(rejected(Reason::Expired));
        }
        if now < window.start {
            return Err(rejected(Reason::NotYetValid));
        }
        let ours = &rules.audiences;
        if !ours.is_empty() && !ours.iter().any(|ours| row.audience.contains(ours)) {
            return Err(rejected(Reason::WrongAudience));
        }
        // Bound to a key, so not a bearer token (RFC 9449 §7.2, RFC 8705 §3).
        if token.claims().get("cnf").is_some() {
            return Err(rejected(Reason::Bound));
        }
        for name in &rules.rule_claims {
            token = token
                .with_rule_claim(name)
                .map_err(|error| Rejection::from(error).token(id))?;
        }
        if let Some(list) = &self.revocations {
            token = token.with_revocations(Arc::clone(list))?;
        }
        Ok(Verified {
            token: Arc::new(token),
            window,
        })
    }
}

impl fmt::Debug for OpaqueTokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpaqueTokenVerifier")
            .field("tokens", &self.0.tokens)
            .field("rules", &self.0.rules)
            .finish_non_exhaustive()
    }
}
