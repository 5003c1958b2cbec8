//! The port through which the authorization server is told that a token has ended.

use std::fmt;

use crate::BearerToken;

/// Tells the authorization server, by RFC 7009, what was revoked here.
///
/// It never delays a request: a place is reserved before the inner service is called, and the
/// token is handed over when it has ended. What was accepted is delivered at least once, or
/// reported as refused for good.
pub trait RemoteRevocation: fmt::Debug + Send + Sync + 'static {
    /// Takes a place in the queue, without waiting. Dropped unused, the place is free again.
    ///
    /// # Errors
    /// [`QueueFull`]: the request must be refused, since its token's end could not be told.
    fn reserve(&self) -> Result<RemoteSlot, QueueFull>;
}

/// A place in the queue of a [`RemoteRevocation`].
pub struct RemoteSlot(Box<dyn FnOnce(BearerToken) + Send>);

impl RemoteSlot {
    /// `send` puts the token into the place that was reserved; it must not block.
    pub fn new(send: impl FnOnce(BearerToken) + Send + 'static) -> Self {
        Self(Box::new(send))
    }

    /// Hands the token over. It is kept in memory, or sealed on disk, until it is delivered.
    pub fn send(self, token: BearerToken) {
        (self.0)(token);
    }
}

impl fmt::Debug for RemoteSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteSlot")
    }
}

/// The queue to the authorization server has no place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue to the authorization server is full")]
pub struct QueueFull;
