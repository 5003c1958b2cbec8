//! What is to be remembered about a key that was revoked.

use crate::{RevocationKey, TokenId, UnixTime};

/// An end: of what, when, why, by whom, and until when it must be remembered.
///
/// ```
/// use tower_revoke_core::{Revocation, RevocationKey, TokenId, UnixTime};
///
/// let token = TokenId::of_jwt("https://id.example.com", "42");
/// let one = Revocation::of_token(token, Some(UnixTime::from_secs(1_700_000_000)))
///     .by("ann@example.com")
///     .because("laptop lost");
///
/// let all = Revocation::rule(
///     RevocationKey::subject("https://id.example.com", "bob"),
///     UnixTime::from_secs(1_600_000_000),
/// )?;
/// assert_eq!(all.issued_at_or_before(), Some(UnixTime::from_secs(1_600_000_000)));
/// # Ok::<(), tower_revoke_core::RevocationError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    key: RevocationKey,
    issued_at_or_before: Option<UnixTime>,
    until: Option<UnixTime>,
    at: Option<UnixTime>,
    by: String,
    reason: String,
}

/// A revocation that says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// A rule needs the key of a rule.
    #[error("the key of one token is no rule; use Revocation::of_token")]
    NoRule,
}

impl Revocation {
    /// The end of one token. `until` is the last second at which anyone might accept it, that is
    /// its `exp` and a leeway ([`VerifiedToken::usable_until`](crate::VerifiedToken::usable_until));
    /// `None`: remembered for ever.
    pub fn of_token(token: TokenId, until: Option<UnixTime>) -> Self {
        Self::new(token.into(), None, until)
    }

    /// The end of all tokens under `key` that were issued at or before a time (`iat` ≤ time +
    /// leeway). Remembered for ever, or [`until`](Self::until) a time.
    ///
    /// # Errors
    /// [`RevocationError::NoRule`] if the key is that of one token.
    pub fn rule(
        key: RevocationKey,
        issued_at_or_before: UnixTime,
    ) -> Result<Self, RevocationError> {
        if !key.is_rule() {
            return Err(RevocationError::NoRule);
        }
        Ok(Self::new(key, Some(issued_at_or_before), None))
    }

    fn new(
        key: RevocationKey,
        issued_at_or_before: Option<UnixTime>,
        until: Option<UnixTime>,
    ) -> Self {
        Self {
            key,
            issued_at_or_before,
            until,
            at: None,
            by: String::new(),
            reason: String::new(),
        }
    }

    /// Until when it must be remembered.
    #[must_use]
    pub fn until(mut self, until: UnixTime) -> Self {
        self.until = Some(until);
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

    /// Of a rule: which tokens it concerns.
    pub fn issued_at_or_before(&self) -> Option<UnixTime> {
        self.issued_at_or_before
    }

    /// Until when it must be remembered; `None`: for ever.
    pub fn remembered_until(&self) -> Option<UnixTime> {
        self.until
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
