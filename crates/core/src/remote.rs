//! The [`RemoteRevocation`] trait, which revokes tokens at the authorization server too.

use std::{fmt, sync::Arc};

use crate::{BoxFuture, TokenCopy, VerifiedToken};

/// Revokes at the authorization server (RFC 7009) the tokens that are revoked here.
///
/// No request waits for the server: a slot is reserved before the inner service is called, and the
/// token is queued when it is revoked here. The end of the response waits only until the revocation is
/// [kept](RemoteSlot::send). A queued token is delivered at least once, unless the server rejects it or
/// the client gives up, both of which are reported.
///
/// Clones of a client should share one `Arc`, so that calls that revoke a token at the same servers
/// share one pending revocation.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't revoke tokens at an authorization server",
    note = "pass a `RevocationClient`, or implement `RemoteRevocation`"
)]
pub trait RemoteRevocation: fmt::Debug + Send + Sync + 'static {
    /// Reserves a slot of the queue for a token, without waiting.
    ///
    /// Dropping an unused slot frees it. A token takes one slot until it is delivered, however many
    /// calls reserve it. Implementations should limit the slots of one
    /// [`holder`](VerifiedToken::holder), so that some are left for others.
    ///
    /// # Errors
    /// [`QueueFull`] if no slot is free. The caller must reject the request, since its token could
    /// not be revoked at the server.
    fn reserve(self: Arc<Self>, token: &VerifiedToken) -> Result<RemoteSlot, QueueFull>;
}

/// A reserved slot in the queue of a [`RemoteRevocation`].
pub struct RemoteSlot(Box<dyn FnOnce(TokenCopy) -> BoxFuture<'static, ()> + Send>);

impl RemoteSlot {
    /// Makes a slot that calls `send` with the token. `send` must not block.
    pub fn new(send: impl FnOnce(TokenCopy) -> BoxFuture<'static, ()> + Send + 'static) -> Self {
        Self(Box::new(send))
    }

    /// Queues the token. The future ends once the revocation is kept: in memory, which is at once, or
    /// in an [`Outbox`](crate::Outbox), where it outlives the process. It lasts until then, or until
    /// the server was told.
    ///
    /// # Cancel safety
    /// If the future is dropped, the token is queued in memory all the same.
    pub fn send(self, token: TokenCopy) -> BoxFuture<'static, ()> {
        (self.0)(token)
    }
}

impl fmt::Debug for RemoteSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteSlot")
    }
}

/// The queue of a [`RemoteRevocation`] has no free slot, for any token or for this holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue to the authorization server is full")]
pub struct QueueFull;
