//! How a live stream learns that its token has ended.

use std::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use crate::Reason;

/// Why a live stream has to end.
///
/// A token whose uses are spent is still its bearer's: no stream ends for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenEnd {
    /// The token was revoked, or a rule concerns it.
    Revoked,
    /// The token has expired, its verifier's leeway included.
    Expired,
    /// The list could not tell for too long whether the token is still valid.
    Unknown,
}

impl TokenEnd {
    /// Returns the reason for which a new call with the token is rejected.
    pub fn reason(self) -> Reason {
        match self {
            Self::Revoked => Reason::Revoked,
            Self::Expired => Reason::Expired,
            Self::Unknown => Reason::Unavailable,
        }
    }
}

impl fmt::Display for TokenEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason().description())
    }
}

impl std::error::Error for TokenEnd {}

/// Watches one token for one stream. [`Revocations::watch`](crate::Revocations::watch) makes it, and
/// dropping it ends the watch.
pub trait WatchToken: fmt::Debug + Send + Sync {
    /// Returns why the token has ended, or `None` while it has not. It never waits.
    ///
    /// [`TokenEnd::Revoked`] is `None` again once the list knows that the revocation was lifted.
    fn end(&self) -> Option<TokenEnd>;

    /// Returns how long ago the list learned that the token has ended, or `None` while it has not.
    fn time_since_end(&self) -> Option<Duration>;

    /// Waits until the token has ended. Only the waker of the last call is woken.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<TokenEnd>;
}
