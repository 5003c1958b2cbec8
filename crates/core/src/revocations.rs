//! The port through which layers ask a revocation list, without knowing its store.

use std::{fmt, sync::Arc, time::Duration};

use crate::{BoxFuture, Clock, Revocation, StoreError, Use, UseOutcome, VerifiedToken};

/// How a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStatus {
    /// Nothing is known against it.
    Valid,
    /// It was revoked, or a rule concerns it.
    Revoked,
    /// Its uses are gone.
    Spent,
}

/// A revocation list, as layers see it: `RevocationList` of tower-revoke-list is the one.
///
/// Coherence: when [`revoke`](Self::revoke) or [`use`](Self::take_use) has returned, every
/// [`status`](Self::known_status) and [`status`](Self::status) that begins afterwards, on this list,
/// sees it. Lists on other nodes see it within their `max_staleness`.
///
/// What takes an `Arc<Self>` gives a future that owns what it needs, so that it can outlive the
/// request that began it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a revocation list",
    note = "pass a `RevocationList`, or implement `Revocations`"
)]
pub trait Revocations: fmt::Debug + Send + Sync + 'static {
    /// The longest life, from `iat` to `exp`, of the tokens that are checked against this list;
    /// `None`: any. Rules are kept for no longer than such tokens need, so
    /// [`VerifiedToken::with_revocations`] rejects those that live longer.
    fn max_token_life(&self) -> Option<Duration>;

    /// Returns the clock by which the list tells whether a token has expired. Layers go by it too.
    fn clock(&self) -> &Clock;

    /// How the token stands, if that is known without waiting. `None`: ask [`status`](Self::status).
    fn known_status(&self, token: &VerifiedToken) -> Option<TokenStatus>;

    /// How the token stands.
    ///
    /// # Errors
    /// If the store can't answer and the last answer is too old. The caller must reject.
    fn status<'a>(
        &'a self,
        token: &'a VerifiedToken,
    ) -> BoxFuture<'a, Result<TokenStatus, StoreError>>;

    /// Ends a token, or all tokens that a rule concerns; durable when it returns.
    fn revoke(
        self: Arc<Self>,
        revocation: Revocation,
    ) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Takes one use of a token, see [`Store::take_use`](crate::Store::take_use).
    fn take_use(self: Arc<Self>, use_: Use) -> BoxFuture<'static, Result<UseOutcome, StoreError>>;

    /// Gives one use back, see [`Store::return_use`](crate::Store::return_use).
    fn return_use(self: Arc<Self>, use_: Use) -> BoxFuture<'static, Result<bool, StoreError>>;
}
