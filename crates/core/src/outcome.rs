//! How a call ended, in five words.

use http::{HeaderMap, Response};

use crate::Rejection;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The service did what it was asked.
    Success,
    /// The service said no: by default a 4xx, or a gRPC status that blames the caller.
    Failure,
    /// The service broke: by default a 5xx or any other gRPC status, an error, a panic.
    Exception,
    /// The client left.
    Cancelled,
    /// One of our layers said no.
    Refused,
}

impl Outcome {
    /// What the head of a response says. A gRPC call that ends with its head (trailers only) is
    /// judged by its `grpc-status`; any other gRPC head says success, and the trailers the rest.
    pub fn of_head<B>(response: &Response<B>) -> Self {
        if response.extensions().get::<Rejection>().is_some() {
            return Self::Refused;
        }
        let status = response.status();
        if status.is_server_error() {
            Self::Exception
        } else if status.is_client_error() {
            Self::Failure
        } else {
            Self::of_trailers(response.headers())
        }
    }

    /// What trailers say: success, unless there is a `grpc-status` that says otherwise.
    pub fn of_trailers(trailers: &HeaderMap) -> Self {
        let Some(status) = trailers.get("grpc-status") else {
            return Self::Success;
        };
        match status.as_bytes() {
            b"0" => Self::Success,
            // CANCELLED
            b"1" => Self::Cancelled,
            // INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED,
            // FAILED_PRECONDITION, OUT_OF_RANGE, UNAUTHENTICATED
            b"3" | b"5" | b"6" | b"7" | b"9" | b"11" | b"16" => Self::Failure,
            _ => Self::Exception,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reason, RejectionFormat};

    #[test]
    fn heads_are_judged_by_status_and_trailers_only_by_grpc_status() {
        let judge = |status: u16, grpc: Option<&str>| {
            let mut response = Response::builder().status(status);
            if let Some(grpc) = grpc {
                response = response.header("grpc-status", grpc);
            }
            Outcome::of_head(&response.body(()).unwrap())
        };
        assert_eq!(judge(200, None), Outcome::Success);
        assert_eq!(judge(304, None), Outcome::Success);
        assert_eq!(judge(404, None), Outcome::Failure);
        assert_eq!(judge(500, None), Outcome::Exception);
        assert_eq!(judge(200, Some("0")), Outcome::Success);
        assert_eq!(judge(200, Some("5")), Outcome::Failure);
        assert_eq!(judge(200, Some("13")), Outcome::Exception);
    }

    #[test]
    fn our_own_no_is_told_from_the_services() {
        let response = RejectionFormat::default().respond(Reason::Revoked.into(), false);
        assert_eq!(Outcome::of_head(&response), Outcome::Refused);
    }
}
