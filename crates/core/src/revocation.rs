//! The record of a revocation.

use std::time::Duration;

use crate::{RevocationKey, TokenId, UnixTime, retention};

/// Revokes one token, or all tokens that a rule concerns: which, when, why, by whom, and until when
/// stores keep that.
///
/// ```
/// use tower_revoke_core::{Revocation, RevocationKey, TokenId, UnixTime};
///
/// let token = TokenId::of_jwt("https://id.example.com", "42");
/// let one = Revocation::of_token(token, Some(UnixTime::from_secs(1_700_000_000)))
///     .by("ann@example.com")
///     .because("laptop lost");
///
/// let bob = RevocationKey::subject("https://id.example.com", "bob");
/// let all_until_now = Revocation::all_of(bob.clone())?.by("ann@example.com");
///
/// let time = UnixTime::from_secs(1_600_000_000);
/// let all_until_then = Revocation::rule(bob, time)?;
/// assert_eq!(all_until_then.issued_at_or_before(), Some(time));
/// # Ok::<(), tower_revoke_core::RevocationError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    key: RevocationKey,
    issued_at_or_before: Option<UnixTime>,
    retained_until: Option<UnixTime>,
    at: Option<UnixTime>,
    by: String,
    reason: String,
}

/// Why a revocation could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// A rule needs the key of a rule.
    #[error("the key of one token is no rule; use Revocation::of_token")]
    NoRule,
}

impl Revocation {
    /// Revokes one token. `exp` is the token's own, without any leeway; `None`: it never expires.
    /// Stores keep it as long as any verifier may accept the token: until `exp` +
    /// [`retention::MARGIN`].
    pub fn of_token(token: TokenId, exp: Option<UnixTime>) -> Self {
        Self::new(token.into(), None, retention::of_token(exp))
    }

    /// Revokes all tokens under `key` that were issued until this is [said](Self::at): until now, on a
    /// list's clock, unless a time is set.
    ///
    /// # Errors
    /// [`RevocationError::NoRule`] if the key is that of one token.
    pub fn all_of(key: RevocationKey) -> Result<Self, RevocationError> {
        match key.is_rule() {
            true => Ok(Self::new(key, None, None)),
            false => Err(RevocationError::NoRule),
        }
    }

    /// Revokes all tokens under `key` that were issued at or before a time (`iat` ≤ time + leeway).
    /// Stores keep it for ever, unless the revocation list that takes it has a
    /// [`max_token_life`](crate::Revocations::max_token_life).
    ///
    /// # Errors
    /// [`RevocationError::NoRule`] if the key is that of one token.
    pub fn rule(
        key: RevocationKey,
        issued_at_or_before: UnixTime,
    ) -> Result<Self, RevocationError> {
        let mut rule = Self::all_of(key)?;
        rule.issued_at_or_before = Some(issued_at_or_before);
        Ok(rule)
    }

    fn new(
        key: RevocationKey,
        issued_at_or_before: Option<UnixTime>,
        retained_until: Option<UnixTime>,
    ) -> Self {
        Self {
            key,
            issued_at_or_before,
            retained_until,
            at: None,
            by: String::new(),
            reason: String::new(),
        }
    }

    /// Sets how long a rule is kept: as long as a token that it concerns may be accepted, if none
    /// lives longer than this, see [`retention::of_rule`]; `None`: for ever. Changes nothing about
    /// the revocation of one token.
    ///
    /// A revocation list applies its own maximum to every rule that it is given, so nobody else needs
    /// to.
    #[must_use]
    pub fn with_max_token_life(mut self, life: Option<Duration>) -> Self {
        if let Some(time) = self.issued_at_or_before() {
            self.retained_until = retention::of_rule(time, life);
        }
        self
    }

    // Records of stores, and tests of stores, have ends of their own. Nobody else needs one: a time
    // without the margin would be forgotten too early.
    #[doc(hidden)]
    #[must_use]
    pub fn retained(mut self, until: Option<UnixTime>) -> Self {
        self.retained_until = until;
        self
    }

    /// When it was said; a list fills in its own clock where nothing is given.
    #[must_use]
    pub fn at(mut self, at: UnixTime) -> Self {
        self.at = Some(at);
        self
    }

    /// Who said it, for the record.
    #[must_use]
    pub fn by(mut self, by: impl Into<String>) -> Self {
        self.by = by.into();
        self
    }

    /// Why, for the record. No token or secret belongs here.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// What is revoked.
    pub fn key(&self) -> &RevocationKey {
        &self.key
    }

    /// Of a rule: the latest time of issue of the tokens that it concerns.
    pub fn issued_at_or_before(&self) -> Option<UnixTime> {
        let until_said = || {
            self.key
                .is_rule()
                .then(|| self.at.unwrap_or(UnixTime::EPOCH))
        };
        self.issued_at_or_before.or_else(until_said)
    }

    /// Until when stores keep it; `None`: for ever.
    pub fn retained_until(&self) -> Option<UnixTime> {
        self.retained_until
    }

    /// When it was said.
    pub fn said_at(&self) -> Option<UnixTime> {
        self.at
    }

    /// Who said it.
    pub fn said_by(&self) -> &str {
        &self.by
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
