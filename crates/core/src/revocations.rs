//! The port through which layers ask a revocation list, without knowing its store.

use std::{fmt, sync::Arc, time::Duration};

use crate::{BoxFuture, Claim, ClaimOutcome, Revocation, StoreError, VerifiedToken};

/// How a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is known against it.
    Good,
    /// It was revoked, or a rule concerns it.
    Revoked,
    /// Its uses are gone.
    Spent,
}

/// A revocation list, as layers see it: `RevocationList` of tower-revoke-list is the one.
///
/// Coherence: when [`revoke`](Self::revoke) or [`claim`](Self::claim) has returned, every
/// [`standing`](Self::standing) and [`check`](Self::check) that begins afterwards, on this list,
/// sees it. Lists on other nodes see it within their `max_staleness`.
///
/// What takes an `Arc<Self>` gives a future that owns what it needs, so that it can outlive the
/// request that began it.
pub trait Revocations: fmt::Debug + Send + Sync + 'static {
    /// The longest life, from `iat` to `exp`, of the tokens that are checked against this list;
    /// `None`: any. Rules are kept for no longer than such tokens need, so
    /// [`VerifiedToken::with_revocations`] rejects those that live longer.
    fn max_token_life(&self) -> Option<Duration>;

    /// How the token stands, if that is known without waiting. `None`: ask [`check`](Self::check).
    fn standing(&self, token: &VerifiedToken) -> Option<Standing>;

    /// How the token stands.
    ///
    /// # Errors
    /// If the store can't answer and the last answer is too old. The caller must refuse.
    fn check<'a>(&'a self, token: &'a VerifiedToken)
    -> BoxFuture<'a, Result<Standing, StoreError>>;

    /// Ends a token, or all tokens that a rule concerns; durable when it returns.
    fn revoke(
        self: Arc<Self>,
        revocation: Revocation,
    ) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Takes one use of a token, see [`Store::claim`](crate::Store::claim).
    fn claim(self: Arc<Self>, claim: Claim)
    -> BoxFuture<'static, Result<ClaimOutcome, StoreError>>;

    /// Gives one use back, see [`Store::release`](crate::Store::release).
    fn release(self: Arc<Self>, claim: Claim) -> BoxFuture<'static, Result<bool, StoreError>>;
}
