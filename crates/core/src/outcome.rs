//! How a call ended, in five words.

use http::{HeaderMap, HeaderName, Response};

use crate::Rejection;

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

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
    Rejected,
}

impl Outcome {
    /// What the head of a response says. A gRPC call that ends with its head (trailers only) is
    /// judged by its `grpc-status`; any other gRPC head says success, and the trailers the rest.
    pub fn of_head<B>(response: &Response<B>) -> Self {
        if response.extensions().get::<Rejection>().is_some() {
            return Self::Rejected;
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
        let Some(status) = trailers.get(&GRPC_STATUS) else {
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

/// Judges how calls ended. Each call is judged by a clone of its own, which may keep between the
/// head and the trailers what it needs.
///
/// Only what a response says is put to it: an error, a panic and a client that leaves need no
/// judgement, and a [`Rejection`] in the response's extensions is [`Outcome::Rejected`] whatever it
/// says.
///
/// ```
/// use http::{HeaderMap, Response, StatusCode};
/// use tower_revoke_core::{ByStatus, Classify, Outcome};
///
/// /// An answer that there is nothing is as good as any other.
/// #[derive(Clone)]
/// struct NotFoundIsFine;
///
/// impl Classify for NotFoundIsFine {
///     fn of_head<B>(&mut self, response: &Response<B>) -> Option<Outcome> {
///         match response.status() {
///             StatusCode::NOT_FOUND => Some(Outcome::Success),
///             _ => ByStatus.of_head(response),
///         }
///     }
/// }
/// ```
pub trait Classify: Clone {
    /// Called once, with the head. `None`: the end of the body decides.
    fn of_head<B>(&mut self, response: &Response<B>) -> Option<Outcome>;

    /// Called once if the head left it open and the body came to its end; `None`: without
    /// trailers. As [`Outcome::of_trailers`] unless implemented; without trailers, a success.
    fn of_trailers(&mut self, trailers: Option<&HeaderMap>) -> Outcome {
        trailers.map_or(Outcome::Success, Outcome::of_trailers)
    }
}

/// The default judgement: [`Outcome::of_head`], and if that is a success without a `grpc-status`,
/// [`Outcome::of_trailers`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ByStatus;

impl Classify for ByStatus {
    fn of_head<B>(&mut self, response: &Response<B>) -> Option<Outcome> {
        match Outcome::of_head(response) {
            Outcome::Success if !response.headers().contains_key(&GRPC_STATUS) => None,
            outcome => Some(outcome),
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
    fn a_head_that_says_nothing_ill_leaves_it_to_the_trailers() {
        let judge = |head: Response<()>| ByStatus.of_head(&head);
        assert_eq!(judge(Response::new(())), None);
        let head = Response::builder().status(404).body(()).unwrap();
        assert_eq!(judge(head), Some(Outcome::Failure));
        let head = Response::builder().header("grpc-status", "0").body(());
        assert_eq!(judge(head.unwrap()), Some(Outcome::Success));

        let broken = [("grpc-status".parse().unwrap(), "13".parse().unwrap())];
        let trailers = HeaderMap::from_iter(broken);
        assert_eq!(ByStatus.of_trailers(Some(&trailers)), Outcome::Exception);
        assert_eq!(ByStatus.of_trailers(None), Outcome::Success);
    }

    #[test]
    fn our_own_no_is_told_from_the_services() {
        let (request, ()) = http::Request::new(()).into_parts();
        let response = RejectionFormat::default().respond_to(Reason::Revoked.into(), &request);
        assert_eq!(Outcome::of_head(&response), Outcome::Rejected);
    }
}
