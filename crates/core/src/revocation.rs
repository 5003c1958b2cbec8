//! The record of a revocation.

use std::time::Duration;

use crate::{RevocationKey, TokenId, UnixTime, retention};

/// The revocation of one token, or of all tokens that a rule concerns.
///
/// It carries the key, the kind, the time, the author, the reason, and until when stores keep it.
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
    kind: RevocationKind,
    issued_at_or_before: Option<UnixTime>,
    retained_until: Option<UnixTime>,
    at: Option<UnixTime>,
    by: String,
    reason: String,
}

/// The `iat` up to which the revocation of a grant concerns its tokens: the end of the year 9999. It
/// marks rules that end with the grant, and not with the tokens that were issued before a time.
pub const WHENEVER_ISSUED: UnixTime = UnixTime::from_secs(253_402_300_799);

/// Why a token is not accepted any more. Decides which status the token has, and so which
/// rejection its requests get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevocationKind {
    /// It was revoked: [`TokenStatus::Revoked`](crate::TokenStatus::Revoked). Every rule has this
    /// kind.
    Revoked,
    /// It has served its purpose: [`TokenStatus::Spent`](crate::TokenStatus::Spent).
    Spent,
}

/// Why a [`Revocation`] can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// The key is that of one token, not of a rule.
    #[error("the key of one token is no rule; use Revocation::of_token")]
    NoRule,
}

impl Revocation {
    /// Revokes one token. `exp` is the token's own, without any leeway; `None` means that the token
    /// never expires.
    ///
    /// Stores keep the revocation as long as any verifier may accept the token: until `exp` +
    /// [`retention::MARGIN`].
    pub fn of_token(token: TokenId, exp: Option<UnixTime>) -> Self {
        Self::new(token.into(), None, retention::of_token(exp))
    }

    /// Ends one token that has served its purpose, such as one that is good for one response.
    ///
    /// It differs from [`of_token`](Self::of_token) in its [`kind`](Self::kind) only. A token that
    /// is also revoked is listed as revoked.
    ///
    /// ```
    /// use tower_revoke_core::{Revocation, RevocationKind, TokenId};
    ///
    /// let token = TokenId::of_jwt("https://id.example.com", "42");
    /// let spent = Revocation::of_spent_token(token, None).because("download complete");
    /// assert_eq!(spent.kind(), RevocationKind::Spent);
    /// ```
    pub fn of_spent_token(token: TokenId, exp: Option<UnixTime>) -> Self {
        Self {
            kind: RevocationKind::Spent,
            ..Self::of_token(token, exp)
        }
    }

    /// Revokes all tokens under `key` that were issued until this revocation is made: until the time
    /// of the list's clock, unless [`at`](Self::at) sets another.
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
    ///
    /// Stores keep the rule for ever, unless it is made through a revocation list that has a
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

    /// Revokes all tokens of a grant, whenever they are issued. `latest_exp` is the latest `exp` that
    /// any of them has, without any leeway; `None` means that one of them never expires.
    ///
    /// Stores keep it until `latest_exp` + [`retention::MARGIN`], whatever the list's
    /// [`max_token_life`](crate::Revocations::max_token_life). A token under the key that expires later
    /// would become valid again, so the issuer must not issue one.
    ///
    /// ```
    /// use tower_revoke_core::{Revocation, RevocationKey, UnixTime};
    ///
    /// let grant = RevocationKey::grant("https://id.example.com", "g1");
    /// let latest_exp = UnixTime::from_secs(1_700_000_000);
    /// let revocation = Revocation::of_grant(grant, Some(latest_exp))?;
    /// assert_eq!(revocation.retained_until(), Some(UnixTime::from_secs(1_700_000_300)));
    /// # Ok::<(), tower_revoke_core::RevocationError>(())
    /// ```
    ///
    /// # Errors
    /// [`RevocationError::NoRule`] if the key is that of one token.
    pub fn of_grant(
        key: RevocationKey,
        latest_exp: Option<UnixTime>,
    ) -> Result<Self, RevocationError> {
        let rule = Self::rule(key, WHENEVER_ISSUED)?;
        Ok(rule.retained(retention::of_token(latest_exp)))
    }

    fn new(
        key: RevocationKey,
        issued_at_or_before: Option<UnixTime>,
        retained_until: Option<UnixTime>,
    ) -> Self {
        Self {
            key,
            kind: RevocationKind::Revoked,
            issued_at_or_before,
            retained_until,
            at: None,
            by: String::new(),
            reason: String::new(),
        }
    }

    /// Limits how long a rule is kept, given the longest life of the tokens that it concerns.
    /// `None` keeps it for ever, see [`retention::of_rule`].
    ///
    /// It has no effect on the revocation of one token or of a grant. A revocation list applies its own maximum
    /// to every rule, so only code that bypasses the list needs this.
    #[must_use]
    pub fn with_max_token_life(mut self, life: Option<Duration>) -> Self {
        if let Some(time) = self.issued_at_or_before()
            && time != WHENEVER_ISSUED
        {
            self.retained_until = retention::of_rule(time, life);
        }
        self
    }

    // For stores that rebuild a record, and for their tests. It is hidden because an `until`
    // without the margin would make stores forget the revocation too early.
    #[doc(hidden)]
    #[must_use]
    pub fn retained(mut self, until: Option<UnixTime>) -> Self {
        self.retained_until = until;
        self
    }

    /// Sets when the revocation was made. By default, a list uses the time of its clock.
    #[must_use]
    pub fn at(mut self, at: UnixTime) -> Self {
        self.at = Some(at);
        self
    }

    /// Sets the person or program that revokes, for the record.
    #[must_use]
    pub fn by(mut self, by: impl Into<String>) -> Self {
        self.by = by.into();
        self
    }

    /// Sets the reason, for the record. It must not contain a token or secret.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Returns the key that is revoked.
    pub fn key(&self) -> &RevocationKey {
        &self.key
    }

    /// Returns the kind.
    pub fn kind(&self) -> RevocationKind {
        self.kind
    }

    /// Returns the latest `iat` of the tokens that a rule concerns. `None` for one token.
    pub fn issued_at_or_before(&self) -> Option<UnixTime> {
        let when_made = || {
            self.key
                .is_rule()
                .then(|| self.at.unwrap_or(UnixTime::EPOCH))
        };
        self.issued_at_or_before.or_else(when_made)
    }

    /// Returns until when stores keep it. `None` means for ever.
    pub fn retained_until(&self) -> Option<UnixTime> {
        self.retained_until
    }

    /// Returns when it was made, if that was set.
    pub fn time(&self) -> Option<UnixTime> {
        self.at
    }

    /// Returns the person or program that made it. Empty if unknown.
    pub fn author(&self) -> &str {
        &self.by
    }

    /// Returns the reason. Empty if none was given.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
