//! How a call ended.

use http::{HeaderMap, HeaderName, Response};

use crate::Rejection;

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The service did what it was asked.
    Success,
    /// The service declined: by default a 4xx, or a gRPC status that blames the caller.
    Failure,
    /// The service failed: by default a 5xx or any other gRPC status, an error, a panic.
    Exception,
    /// The client left.
    Cancelled,
    /// A layer of tower-revoke rejected the request.
    Rejected,
}

impl Outcome {
    /// Returns what the head of a response says. A gRPC call that ends with its head (trailers only)
    /// is classified by its `grpc-status`; any other gRPC head is a success until the trailers come.
    pub fn of_head<B>(response: &Response<B>) -> Self {
        Self::of_complete_head(response).unwrap_or(Self::Success)
    }

    /// Returns what the head says by itself. `None`: nothing but success, and no `grpc-status`.
    fn of_complete_head<B>(response: &Response<B>) -> Option<Self> {
        if response.extensions().get::<Rejection>().is_some() {
            return Some(Self::Rejected);
        }
        let status = response.status();
        if status.is_server_error() {
            Some(Self::Exception)
        } else if status.is_client_error() {
            Some(Self::Failure)
        } else {
            Self::of_grpc_status(response.headers())
        }
    }

    /// Returns what trailers say: success, unless a `grpc-status` says otherwise.
    pub fn of_trailers(trailers: &HeaderMap) -> Self {
        Self::of_grpc_status(trailers).unwrap_or(Self::Success)
    }

    fn of_grpc_status(headers: &HeaderMap) -> Option<Self> {
        // Most responses have few headers and not this one. Comparing their names costs less than
        // hashing a name that is not one of the standard ones.
        let (_, status) = headers.iter().find(|(name, _)| **name == GRPC_STATUS)?;
        let outcome = match status.as_bytes() {
            b"0" => Self::Success,
            // CANCELLED
            b"1" => Self::Cancelled,
            // INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED,
            // FAILED_PRECONDITION, OUT_OF_RANGE, UNAUTHENTICATED
            b"3" | b"5" | b"6" | b"7" | b"9" | b"11" | b"16" => Self::Failure,
            _ => Self::Exception,
        };
        Some(outcome)
    }
}

/// Classifies how calls end. Each call has a clone of its own, which may keep state between the head
/// and the trailers.
///
/// It sees responses only: an error, a panic and a client that leaves have their outcomes without it,
/// and so has a response with a [`Rejection`] in its extensions, which is [`Outcome::Rejected`].
///
/// # Examples
/// ```
/// use http::{HeaderMap, Response, StatusCode};
/// use tower_revoke_core::{ByStatus, Classify, Outcome};
///
/// /// A 404 is an answer like any other.
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't classify how calls end",
    note = "pass `ByStatus`, wrap a classifier of tower-http in `TowerHttp`, or implement `Classify`"
)]
pub trait Classify: Clone {
    /// Classifies the head, once per call. `None` leaves it to the end of the body.
    fn of_head<B>(&mut self, response: &Response<B>) -> Option<Outcome>;

    /// Classifies the trailers, if there are any, once the body has ended. Called once, and only if
    /// the head left it open. Defaults to [`Outcome::of_trailers`], and to a success without trailers.
    fn of_trailers(&mut self, trailers: Option<&HeaderMap>) -> Outcome {
        trailers.map_or(Outcome::Success, Outcome::of_trailers)
    }
}

/// The default classification: [`Outcome::of_head`], and if that is a success without a
/// `grpc-status`, [`Outcome::of_trailers`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ByStatus;

impl Classify for ByStatus {
    fn of_head<B>(&mut self, response: &Response<B>) -> Option<Outcome> {
        Outcome::of_complete_head(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reason, RejectionFormat};

    #[test]
    fn heads_are_classified_by_status_and_trailers_only_by_grpc_status() {
        let classify = |status: u16, grpc: Option<&str>| {
            let mut response = Response::builder().status(status);
            if let Some(grpc) = grpc {
                response = response.header("grpc-status", grpc);
            }
            Outcome::of_head(&response.body(()).unwrap())
        };
        assert_eq!(classify(200, None), Outcome::Success);
        assert_eq!(classify(304, None), Outcome::Success);
        assert_eq!(classify(404, None), Outcome::Failure);
        assert_eq!(classify(500, None), Outcome::Exception);
        assert_eq!(classify(200, Some("0")), Outcome::Success);
        assert_eq!(classify(200, Some("5")), Outcome::Failure);
        assert_eq!(classify(200, Some("13")), Outcome::Exception);
    }

    #[test]
    fn a_successful_head_leaves_the_outcome_to_the_trailers() {
        let classify = |head: Response<()>| ByStatus.of_head(&head);
        assert_eq!(classify(Response::new(())), None);
        let head = Response::builder().status(404).body(()).unwrap();
        assert_eq!(classify(head), Some(Outcome::Failure));
        let head = Response::builder().header("grpc-status", "0").body(());
        assert_eq!(classify(head.unwrap()), Some(Outcome::Success));

        let broken = [("grpc-status".parse().unwrap(), "13".parse().unwrap())];
        let trailers = HeaderMap::from_iter(broken);
        assert_eq!(ByStatus.of_trailers(Some(&trailers)), Outcome::Exception);
        assert_eq!(ByStatus.of_trailers(None), Outcome::Success);
    }

    #[test]
    fn our_rejections_differ_from_those_of_the_service() {
        let (request, ()) = http::Request::new(()).into_parts();
        let response = RejectionFormat::default().respond_to(Reason::Revoked.into(), &request);
        assert_eq!(Outcome::of_head(&response), Outcome::Rejected);
    }
}
