//! The responses of the endpoints: RFC 6749 §5.2 errors as JSON, none of them cacheable.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;
use tower_revoke_core::internal::Audit;

/// An error of a call, as its client gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The method is not POST.
    Method,
    /// The request is malformed.
    Request(&'static str),
    /// The body is longer than 16 KiB.
    TooLarge,
    /// There are no valid client credentials.
    Client,
    /// As many failed authentications wait as may wait.
    Busy,
    /// The token was issued to another client.
    Grant,
    /// The client is no administrator.
    Forbidden,
    /// What decides about the call is unavailable.
    Unavailable,
}

const RETRY_AFTER: Duration = Duration::from_secs(1);

impl CallError {
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                "only POST is allowed",
            ),
            Self::Request(description) => (StatusCode::BAD_REQUEST, "invalid_request", description),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "invalid_request",
                "the body is longer than 16 KiB",
            ),
            Self::Client => (
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "the client is not authenticated",
            ),
            Self::Busy => (
                StatusCode::TOO_MANY_REQUESTS,
                "invalid_client",
                "too many failed authentications",
            ),
            Self::Grant => (
                StatusCode::BAD_REQUEST,
                "invalid_grant",
                "the token was not issued to this client",
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "access_denied",
                "the client is no administrator of this issuer",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "the request can't be served now",
            ),
        }
    }

    /// Tells what became of a call, for audit.
    pub(crate) fn tell(self, audit: &mut Audit) {
        let (_, error, _) = self.parts();
        match self {
            Self::Unavailable => audit.failed(error),
            _ => audit.rejected(error),
        }
    }

    pub(crate) fn response(self, challenge: Option<&HeaderValue>) -> Response<Full<Bytes>> {
        let (status, error, description) = self.parts();
        let body = json!({ "error": error, "error_description": description });
        let mut response = json_response(status, &body);
        let headers = response.headers_mut();
        match self {
            Self::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Self::Client => {
                let challenge = challenge.cloned();
                challenge.map(|value| headers.insert(header::WWW_AUTHENTICATE, value));
            }
            Self::Busy | Self::Unavailable => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER.as_secs().into());
            }
            _ => {}
        }
        response
    }
}

pub(crate) fn json_response(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = empty(status);
    *response.body_mut() = Full::from(body.to_string());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

pub(crate) fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}
