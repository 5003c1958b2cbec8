//! The error of a body that was cut off.

use tower_revoke_core::TokenEnd;

/// The error of a body that was cut off because its token has ended.
///
/// Over HTTP/1 the server then closes the connection without the end of the body, and over HTTP/2 it
/// resets the stream with `CANCEL`.
///
/// With the feature `tonic-014`, a handler of tonic 0.14 whose request ends with it gets a `Status` of
/// the code with which a new call is rejected: 16 (UNAUTHENTICATED), or 14 (UNAVAILABLE) if the status of
/// the token is unknown. It is enough to return it.
#[derive(Debug, thiserror::Error)]
#[error("{end}")]
pub struct TokenEndedError {
    end: TokenEnd,
    /// Hyper reads the code of the reset from it, and tonic the status.
    #[source]
    cause: Cause,
}

impl TokenEndedError {
    pub(crate) fn new(end: TokenEnd) -> Self {
        let cause = cause(end, h2::Reason::CANCEL.into());
        Self { end, cause }
    }

    /// Returns why the token has ended.
    pub fn end(&self) -> TokenEnd {
        self.end
    }
}

#[cfg(not(feature = "tonic-014"))]
type Cause = h2::Error;

#[cfg(not(feature = "tonic-014"))]
fn cause(_: TokenEnd, reset: h2::Error) -> Cause {
    reset
}

#[cfg(feature = "tonic-014")]
type Cause = tonic_014::Status;

#[cfg(feature = "tonic-014")]
fn cause(end: TokenEnd, reset: h2::Error) -> Cause {
    let code = i32::from(end.reason().grpc_status());
    let mut status = tonic_014::Status::new(code.into(), end.to_string());
    status.set_source(std::sync::Arc::new(reset));
    status
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn rfc9113_7_hyper_finds_the_code_of_the_reset() {
        let error = TokenEndedError::new(TokenEnd::Revoked);
        let mut cause = error.source();
        while let Some(error) = cause.filter(|cause| !cause.is::<h2::Error>()) {
            cause = error.source();
        }
        let reset = cause.and_then(|cause| cause.downcast_ref::<h2::Error>());
        assert_eq!(reset.and_then(h2::Error::reason), Some(h2::Reason::CANCEL));
    }

    #[cfg(feature = "tonic-014")]
    #[test]
    fn tonic_finds_the_status() {
        use tonic_014::{Code, Status};

        for (end, code) in [
            (TokenEnd::Revoked, Code::Unauthenticated),
            (TokenEnd::Expired, Code::Unauthenticated),
            (TokenEnd::Unknown, Code::Unavailable),
        ] {
            let status = Status::from_error(Box::new(TokenEndedError::new(end)));
            assert_eq!(status.code(), code);
            assert_eq!(status.message(), end.to_string());
        }
    }
}
