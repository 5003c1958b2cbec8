//! The [`RemoteRevocation`] trait, which revokes tokens at the authorization server too.

use std::{fmt, sync::Arc};

use crate::{KeyDigest, TokenCopy, TokenId};

/// Revokes at the authorization server (RFC 7009) the tokens that are revoked here.
///
/// It never delays a request: a slot is reserved before the inner service is called, and the token
/// is queued once it is revoked here. A queued token is delivered at least once, unless the server
/// rejects it or the client gives up, both of which are reported.
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
    /// calls reserve it. Implementations should limit the slots of one `holder`
    /// ([`VerifiedToken::holder`](crate::VerifiedToken::holder)), so that some are left for others.
    ///
    /// # Errors
    /// [`QueueFull`] if no slot is free. The caller must reject the request, since its token could
    /// not be revoked at the server.
    fn reserve(self: Arc<Self>, token: TokenId, holder: KeyDigest)
    -> Result<RemoteSlot, QueueFull>;
}

/// A reserved slot in the queue of a [`RemoteRevocation`].
pub struct RemoteSlot(Box<dyn FnOnce(TokenCopy) + Send>);

impl RemoteSlot {
    /// Makes a slot that calls `send` with the token. `send` must not block.
    pub fn new(send: impl FnOnce(TokenCopy) + Send + 'static) -> Self {
        Self(Box::new(send))
    }

    /// Queues the token. It is kept in memory, or encrypted on disk, until it is delivered.
    pub fn send(self, token: TokenCopy) {
        (self.0)(token);
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
