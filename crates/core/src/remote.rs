//! The port through which the authorization server is told that a token has ended.

use std::{fmt, sync::Arc};

use crate::{KeyDigest, TokenCopy, TokenId};

/// Tells the authorization server, by RFC 7009, what was revoked here.
///
/// It never delays a request: a place is reserved before the inner service is called, and the
/// token is handed over when it has ended. What was accepted is delivered at least once, or
/// reported as rejected for good.
///
/// Clones of one server should be one `Arc`: calls that revoke a token at the same servers share
/// what is pending.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't revoke tokens at an authorization server",
    note = "pass a `RevocationClient`, or implement `RemoteRevocation`"
)]
pub trait RemoteRevocation: fmt::Debug + Send + Sync + 'static {
    /// Takes a place in the queue for a token, without waiting. Dropped unused, the place is free
    /// again. A token takes one place, whatever number of calls reserve it, and until the server was
    /// told of it.
    ///
    /// No single `holder` ([`VerifiedToken::holder`](crate::VerifiedToken::holder)) should take so
    /// many places that others find none.
    ///
    /// # Errors
    /// [`QueueFull`]: the request must be rejected, since the server could not be told that its
    /// token has ended.
    fn reserve(self: Arc<Self>, token: TokenId, holder: KeyDigest)
    -> Result<RemoteSlot, QueueFull>;
}

/// A place in the queue of a [`RemoteRevocation`].
pub struct RemoteSlot(Box<dyn FnOnce(TokenCopy) + Send>);

impl RemoteSlot {
    /// `send` puts the token into the place that was reserved; it must not block.
    pub fn new(send: impl FnOnce(TokenCopy) + Send + 'static) -> Self {
        Self(Box::new(send))
    }

    /// Hands the token over. It is kept in memory, or sealed on disk, until it is delivered.
    pub fn send(self, token: TokenCopy) {
        (self.0)(token);
    }
}

impl fmt::Debug for RemoteSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteSlot")
    }
}

/// The queue to the authorization server has no place left, for anybody or for this caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue to the authorization server is full")]
pub struct QueueFull;
