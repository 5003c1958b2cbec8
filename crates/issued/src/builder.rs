//! How a verifier is configured.

use std::{fmt, sync::Arc, time::Duration};

use tower_revoke_core::{
    Revocations, TokenKind,
    internal::{TokenCache, audiences_or_any},
    retention,
};

use crate::{
    IssuedTokens, OpaqueTokenVerifier, OpaqueTokenVerifierError,
    verifier::{Inner, Rules},
};

/// Configures an [`OpaqueTokenVerifier`]. An audience and a revocation list are required, or their
/// absence must be stated.
#[must_use = "nothing is verified until the verifier is built"]
pub struct OpaqueTokenVerifierBuilder {
    tokens: IssuedTokens,
    rules: Rules,
    any_audience: bool,
    cache_capacity: usize,
    /// `None` until it is set; `Some(None)` is no list.
    revocations: Option<Option<Arc<dyn Revocations>>>,
}

const LEEWAY: Duration = Duration::from_secs(30);
const CACHE_CAPACITY: usize = 50_000;

impl OpaqueTokenVerifier {
    /// Configures a verifier of these tokens.
    pub fn builder(tokens: IssuedTokens) -> OpaqueTokenVerifierBuilder {
        OpaqueTokenVerifierBuilder {
            tokens,
            rules: Rules {
                kinds: Vec::new(),
                audiences: Vec::new(),
                rule_claims: Vec::new(),
                leeway: LEEWAY,
            },
            any_audience: false,
            cache_capacity: CACHE_CAPACITY,
            revocations: None,
        }
    }
}

impl OpaqueTokenVerifierBuilder {
    /// Accepts tokens for this audience. Can be called more than once: a token must be for one of
    /// them.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.rules.audiences.push(audience.into());
        self
    }

    /// Accepts tokens for any audience, and those that name none. A token that was stolen from
    /// another service is then valid here.
    pub fn any_audience(mut self) -> Self {
        self.any_audience = true;
        self
    }

    /// Accepts tokens of this kind. Can be called more than once. Defaults to
    /// [`TokenKind::ACCESS`] alone.
    ///
    /// An introspection endpoint may accept [`TokenKind::REFRESH`] too; a resource server never
    /// should.
    pub fn kind(mut self, kind: TokenKind) -> Self {
        self.rules.kinds.push(kind);
        self
    }

    /// Checks tokens for revocations by the value of this claim, see
    /// [`RevocationKey::claim`](tower_revoke_core::RevocationKey::claim). A token in which it is not
    /// a string is rejected. Subject, client, session and grant are checked without this.
    pub fn rule_claim(mut self, claim: impl Into<String>) -> Self {
        self.rules.rule_claims.push(claim.into());
        self
    }

    /// Rejects tokens that are revoked or spent by this list, and those with a life longer than its
    /// [`max_token_life`](Revocations::max_token_life).
    pub fn revocations(mut self, list: impl Into<Arc<dyn Revocations>>) -> Self {
        self.revocations = Some(Some(list.into()));
        self
    }

    /// Checks no list. A token is valid until it expires.
    pub fn without_revocations(mut self) -> Self {
        self.revocations = Some(None);
        self
    }

    /// Sets how far the clocks of servers may differ. Defaults to 30 s, and is at most 300 s
    /// ([`retention::MARGIN`]). Fractions of a second don't count.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.rules.leeway = leeway;
        self
    }

    /// Sets how many tokens are cached, so that the store is not asked for them again. Defaults to
    /// 50,000; with 0 nothing is cached. The list is checked either way.
    pub fn cache_capacity(mut self, tokens: usize) -> Self {
        self.cache_capacity = tokens;
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    /// [`OpaqueTokenVerifierError`] if something is missing or can't work.
    pub fn build(mut self) -> Result<OpaqueTokenVerifier, OpaqueTokenVerifierError> {
        let revocations = self.revocations;
        let revocations = revocations.ok_or(OpaqueTokenVerifierError::MissingRevocations)?;
        self.rules.audiences = audiences_or_any(self.rules.audiences, self.any_audience)
            .ok_or(OpaqueTokenVerifierError::MissingAudience)?;
        if self.rules.leeway > retention::MARGIN {
            return Err(OpaqueTokenVerifierError::LeewayTooLong {
                leeway: self.rules.leeway,
                max: retention::MARGIN,
            });
        }
        if self.rules.kinds.is_empty() {
            self.rules.kinds.push(TokenKind::ACCESS);
        }
        let cache = match self.cache_capacity {
            0 => None,
            capacity => {
                let cache = TokenCache::new(capacity);
                Some(cache.map_err(OpaqueTokenVerifierError::NoRandomness)?)
            }
        };
        Ok(OpaqueTokenVerifier::new(Inner {
            tokens: self.tokens,
            rules: self.rules,
            revocations,
            cache,
        }))
    }
}

impl fmt::Debug for OpaqueTokenVerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpaqueTokenVerifierBuilder")
            .field("tokens", &self.tokens)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
