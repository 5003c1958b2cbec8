//! The [`Revocations`] trait, through which layers use a revocation list of any store.

use std::{fmt, sync::Arc, time::Duration};

use crate::{BoxFuture, Clock, Revocation, StoreError, Use, UseOutcome, VerifiedToken, WatchToken};

/// The status of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStatus {
    /// It is neither revoked nor spent.
    Valid,
    /// It was revoked, or a rule concerns it.
    Revoked,
    /// All its uses are taken, or it was revoked as
    /// [spent](crate::RevocationKind::Spent).
    Spent,
}

/// A revocation list, as layers see it. `RevocationList` of tower-revoke-list implements it.
///
/// # Coherence
/// Once [`revoke`](Self::revoke) or [`take_use`](Self::take_use) has returned, every call of
/// [`known_status`](Self::known_status) and [`status`](Self::status) on this list that begins
/// afterwards reflects it. Lists on other nodes reflect it within their `max_staleness`.
///
/// # Futures
/// A method that takes `Arc<Self>` returns a `'static` future, so that it can outlive the request
/// that began it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a revocation list",
    note = "pass a `RevocationList`, or implement `Revocations`"
)]
pub trait Revocations: fmt::Debug + Send + Sync + 'static {
    /// Returns the longest life, from `iat` to `exp`, of the tokens that are checked against this
    /// list. `None` means no limit.
    ///
    /// Rules are kept only as long as such tokens can be accepted, so
    /// [`VerifiedToken::with_revocations`] rejects tokens that live longer.
    fn max_token_life(&self) -> Option<Duration>;

    /// Returns the clock by which the list and its layers determine whether a token has expired.
    fn clock(&self) -> &Clock;

    /// Returns the status of a token, if it is known without waiting. On `None`, call
    /// [`status`](Self::status).
    fn known_status(&self, token: &VerifiedToken) -> Option<TokenStatus>;

    /// Returns the status of a token.
    ///
    /// # Errors
    /// If the store can't answer and the last answer is too old. The caller must reject the
    /// request.
    fn status<'a>(
        &'a self,
        token: &'a VerifiedToken,
    ) -> BoxFuture<'a, Result<TokenStatus, StoreError>>;

    /// Revokes one token, or all tokens that a rule concerns, durably when it returns.
    ///
    /// # Errors
    /// As for [`Store::revoke`](crate::Store::revoke).
    fn revoke(
        self: Arc<Self>,
        revocation: Revocation,
    ) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Takes one use of a token.
    ///
    /// # Errors
    /// As for [`Store::take_use`](crate::Store::take_use).
    fn take_use(self: Arc<Self>, use_: Use) -> BoxFuture<'static, Result<UseOutcome, StoreError>>;

    /// Returns one use to the token, see [`Store::return_use`](crate::Store::return_use).
    fn return_use(self: Arc<Self>, use_: Use) -> BoxFuture<'static, Result<bool, StoreError>>;

    /// Watches a token for a stream that outlives its call. The token is not kept.
    ///
    /// The watch ends as soon as this list knows that the token is revoked, and when it expires. It
    /// also ends when the list has not been able to tell for `unknown_timeout`, and up to 10 s more
    /// by chance, so that an outage doesn't end all streams at once; `None` means never. A token
    /// that is spent is watched as if it weren't.
    ///
    /// A revocation that the list learns of during this call ends the watch.
    fn watch(
        self: Arc<Self>,
        token: &VerifiedToken,
        unknown_timeout: Option<Duration>,
    ) -> Box<dyn WatchToken>;
}
