//! The verified token, which verifiers cache and revocation lists check.

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde::de::DeserializeOwned;

use crate::{
    Claims, ClaimsError, IssuedToken, KeyDigest, Reason, Rejection, Revocations, TokenId, UnixTime,
    internal::{CachedStatus, IssuerDigests, KeyStamp},
    retention,
};

/// A token whose signature and claims are verified. Verifiers cache it, and revocation lists check
/// its status.
pub struct VerifiedToken {
    id: TokenId,
    claims: Claims,
    leeway: Duration,
    keys: Vec<KeyDigest>,
    /// How many of the last keys were added by [`with_key`](VerifiedToken::with_key).
    further: usize,
    single_use: Option<SingleUse>,
    revocations: Option<Arc<dyn Revocations>>,
    check: Check,
    note: OnceLock<Box<dyn Any + Send + Sync>>,
    typed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// The use that a token is good for, see [`VerifiedToken::with_single_use`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SingleUse {
    /// Under which its use is counted.
    pub(crate) token: TokenId,
    /// Until when it can be taken.
    pub(crate) until: UnixTime,
}

/// What the list reads for each check, side by side.
struct Check {
    stamp: KeyStamp,
    retained_until: Option<UnixTime>,
    status: CachedStatus,
}

impl VerifiedToken {
    /// Makes a verified token.
    ///
    /// `leeway` is the clock skew that the verifier allows: the token is accepted until `exp` +
    /// leeway. It is capped at [`retention::MARGIN`], since stores keep nothing for longer.
    pub fn new(id: TokenId, claims: Claims, leeway: Duration) -> Self {
        let issuer = claims.issuer().map(IssuerDigests::new);
        Self::with_digests(id, claims, leeway, issuer.as_ref())
    }

    fn with_digests(
        id: TokenId,
        claims: Claims,
        leeway: Duration,
        issuer: Option<&IssuerDigests>,
    ) -> Self {
        let mut keys = Vec::with_capacity(KeyStamp::KEYS);
        keys.push(KeyDigest::of_token(id));
        if let Some(issuer) = issuer {
            keys.push(issuer.key());
            keys.extend(claims.subject().map(|value| issuer.subject(value)));
            keys.extend(claims.client().map(|value| issuer.client(value)));
            keys.extend(claims.session().map(|value| issuer.session(value)));
            keys.extend(claims.grant().map(|value| issuer.grant(value)));
        }
        let leeway = leeway.min(retention::MARGIN);
        let since = rules_since(&claims, leeway);
        Self {
            id,
            leeway,
            check: Check {
                stamp: KeyStamp::of(&keys, 0, since),
                retained_until: retention::of_token(claims.expires_at()),
                status: CachedStatus::default(),
            },
            claims,
            keys,
            further: 0,
            single_use: None,
            revocations: None,
            note: OnceLock::new(),
            typed: OnceLock::new(),
        }
    }

    /// Makes rules over the claim `name` apply to this token, see
    /// [`RevocationKey::claim`](crate::RevocationKey::claim).
    ///
    /// # Errors
    /// [`ClaimsError::WrongType`] if the token carries the claim and it is not a string. No rule
    /// can match such a token, so it must be rejected.
    pub fn with_rule_claim(mut self, name: &str) -> Result<Self, ClaimsError> {
        if let Some(value) = self.claims.get(name) {
            let value = value
                .as_str()
                .ok_or_else(|| ClaimsError::WrongType(name.to_owned()))?;
            let issuer = self.claims.issuer().unwrap_or_default();
            let key = KeyDigest::of_claim(issuer, name, value);
            // A rule over the client, say, applies without this.
            if !self.keys.contains(&key) {
                self.keys.insert(self.keys.len() - self.further, key);
                self.stamp();
            }
        }
        Ok(self)
    }

    /// Makes the verified form of an issued token. It has the issued token's further
    /// [`keys`](IssuedToken::keys) too.
    ///
    /// The caller checks its expiry and its kind.
    ///
    /// # Errors
    /// As for [`IssuedToken::to_claims`].
    pub fn of_issued(token: &IssuedToken, leeway: Duration) -> Result<Self, ClaimsError> {
        let id = TokenId::of_opaque(&token.issuer, &token.hash);
        let verified = Self::new(id, token.to_claims()?, leeway);
        Ok(token.keys.iter().copied().fold(verified, Self::with_key))
    }

    /// Makes the revocation of a further key revoke this token too: that of another token, or that of
    /// a rule. A rule concerns it by its own `iat`.
    #[must_use]
    pub fn with_key(mut self, key: KeyDigest) -> Self {
        if !self.keys.contains(&key) {
            self.keys.push(key);
            self.further += 1;
            self.stamp();
        }
        self
    }

    fn stamp(&mut self) {
        let since = rules_since(&self.claims, self.leeway);
        self.check.stamp = KeyStamp::of(&self.keys, self.further, since);
    }

    /// Makes what was presented good for one request, for credentials that stand for this token, such
    /// as a ticket in a URL.
    ///
    /// `id` is the id of what was presented, and `until` the time until which it is accepted. Of all
    /// requests with it, on all nodes that share the store, a `RequireBearerLayer` passes on one: it
    /// takes the use directly before it calls the inner service, after all its own checks. Others who
    /// call a [`TokenVerifier`](crate::TokenVerifier) don't take it.
    #[must_use]
    pub fn with_single_use(mut self, id: TokenId, until: UnixTime) -> Self {
        self.single_use = Some(SingleUse { token: id, until });
        self
    }

    /// Returns whether it is good for one request, see [`with_single_use`](Self::with_single_use).
    pub fn is_single_use(&self) -> bool {
        self.single_use.is_some()
    }

    /// Sets the list that this token is checked against.
    ///
    /// # Errors
    /// If the list has a [`max_token_life`](Revocations::max_token_life), and the token lives
    /// longer ([`Reason::LifeTooLong`]) or lacks `iat` or `exp` ([`Reason::MissingClaim`]). A rule
    /// that revokes such a token could be purged while the token is still accepted.
    pub fn with_revocations(
        mut self,
        revocations: Arc<dyn Revocations>,
    ) -> Result<Self, Rejection> {
        if let Some(life) = revocations.max_token_life() {
            self.check_life(life)
                .map_err(|rejection| rejection.token(self.id))?;
        }
        self.revocations = Some(revocations);
        Ok(self)
    }

    fn check_life(&self, max: Duration) -> Result<(), Rejection> {
        let missing = |claim| {
            Rejection::new(Reason::MissingClaim)
                .detail(format!("the token lacks the claim {claim}"))
        };
        let expires_at = self.claims.expires_at().ok_or_else(|| missing("exp"))?;
        let issued_at = self.claims.issued_at().ok_or_else(|| missing("iat"))?;
        if expires_at > issued_at.saturating_add(max) {
            return Err(Reason::LifeTooLong.into());
        }
        Ok(())
    }

    /// Returns the id under which the token is listed.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// Returns its claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns the clock skew that its verifier allows.
    pub fn leeway(&self) -> Duration {
        self.leeway
    }

    /// Returns the first second at which its verifier no longer accepts it: `exp` + leeway. `None`
    /// if it never expires. Compare it with [`retention::has_ended`].
    pub fn usable_until(&self) -> Option<UnixTime> {
        let exp = self.claims.expires_at()?;
        Some(exp.saturating_add(self.leeway))
    }

    /// Returns until when stores keep the token's entries, see [`retention::of_token`]. `None`
    /// means for ever.
    pub fn retained_until(&self) -> Option<UnixTime> {
        self.check.retained_until
    }

    /// Returns the keys under which the token can be revoked: its own first, then those of its
    /// issuer, subject, client, session and grant, then those of rule claims, then further ones.
    pub fn keys(&self) -> &[KeyDigest] {
        &self.keys
    }

    /// Returns the key by which limits per caller are counted: that of the subject, or of the
    /// client if the token has no `sub`, or else of the token itself.
    pub fn holder(&self) -> KeyDigest {
        let claims = &self.claims;
        let is_named = claims.subject().or_else(|| claims.client()).is_some();
        // The keys of the token and of the issuer come first.
        let named = self
            .keys
            .get(2)
            .filter(|_| is_named && claims.issuer().is_some());
        named.copied().unwrap_or(KeyDigest::of_token(self.id))
    }

    /// Returns whether a rule over all tokens issued at or before `time` concerns this one.
    ///
    /// The leeway is added to `time`, for an issuer whose clock runs ahead. Every rule concerns a
    /// token without `iat`.
    pub fn issued_at_or_before(&self, time: UnixTime) -> bool {
        self.claims
            .issued_at()
            .is_none_or(|iat| iat <= time.saturating_add(self.leeway))
    }

    /// Returns the list that it is checked against.
    pub fn revocations(&self) -> Option<&Arc<dyn Revocations>> {
        self.revocations.as_ref()
    }

    pub(crate) fn typed<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
    ) -> Result<Arc<C>, ClaimsError> {
        let kept = self.typed.get().cloned().map(Arc::downcast);
        if let Some(Ok(claims)) = kept {
            return Ok(claims);
        }
        let claims = Arc::new(self.claims.parse::<C>()?);
        // Only the first type is cached, since a program usually has one.
        let _ = self.typed.set(claims.clone());
        Ok(claims)
    }
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("id", &self.id)
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

/// Makes a verified token as [`VerifiedToken::new`] does, from precomputed digests of its issuer.
pub fn verified_token_of(
    issuer: &IssuerDigests,
    id: TokenId,
    claims: Claims,
    leeway: Duration,
) -> VerifiedToken {
    match claims.issuer() == Some(issuer.name()) {
        true => VerifiedToken::with_digests(id, claims, leeway, Some(issuer)),
        false => VerifiedToken::new(id, claims, leeway),
    }
}

/// Returns the keys that were added by [`VerifiedToken::with_key`]: each is that of a token, or of a
/// rule.
pub fn further_keys(token: &VerifiedToken) -> &[KeyDigest] {
    &token.keys[token.keys.len() - token.further..]
}

/// Returns the earliest time of a rule that concerns the token, see
/// [`issued_at_or_before`](VerifiedToken::issued_at_or_before).
pub fn concerned_since(token: &VerifiedToken) -> UnixTime {
    rules_since(&token.claims, token.leeway)
}

fn rules_since(claims: &Claims, leeway: Duration) -> UnixTime {
    let issued_at = claims.issued_at();
    issued_at.map_or(UnixTime::EPOCH, |iat| iat.saturating_sub(leeway))
}

/// Returns what a list reads of the token's keys for each check.
pub fn key_stamp(token: &VerifiedToken) -> &KeyStamp {
    &token.check.stamp
}

/// Returns the use that a token is good for, if it is good for one.
pub(crate) fn single_use(token: &VerifiedToken) -> Option<SingleUse> {
    token.single_use
}

/// Returns the cached answer of the token's list.
pub fn cached_status(token: &VerifiedToken) -> &CachedStatus {
    &token.check.status
}

/// Returns the cell in which one layer caches its own data about a token between requests.
///
/// The first writer wins. A value of another type, or with another layer's mark, is not the
/// caller's.
pub fn note(token: &VerifiedToken) -> &OnceLock<Box<dyn Any + Send + Sync>> {
    &token.note
}
