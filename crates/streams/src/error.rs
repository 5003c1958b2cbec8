//! The error of a body that was cut off.

use tower_revoke_core::TokenEnd;

/// The error of a body that was cut off because its token has ended.
///
/// Over HTTP/1 the server then closes the connection without the end of the body, and over HTTP/2 it
/// resets the stream with `CANCEL`.
#[derive(Debug, thiserror::Error)]
#[error("{end}")]
pub struct TokenEndedError {
    end: TokenEnd,
    /// Hyper reads the code of the reset from it.
    #[source]
    reset: h2::Error,
}

impl TokenEndedError {
    pub(crate) fn new(end: TokenEnd) -> Self {
        Self {
            end,
            reset: h2::Reason::CANCEL.into(),
        }
    }

    /// Returns why the token has ended.
    pub fn end(&self) -> TokenEnd {
        self.end
    }
}
