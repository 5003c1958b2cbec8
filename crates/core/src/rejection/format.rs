//! How a refusal looks on the wire.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body_util::Full;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;

use super::Rejection;

/// How refusals look: the realm, the time to wait, and the body.
///
/// Over HTTP: the status, a `WWW-Authenticate: Bearer` challenge per RFC 6750 §3 on 400, 401 and
/// 403, `Retry-After` on 503, `Cache-Control: no-store`, and an `application/problem+json` body
/// (RFC 9457). Over gRPC: HTTP 200, trailers only, `grpc-status` and `grpc-message`.
#[derive(Clone)]
pub struct RejectionFormat {
    realm: String,
    retry_after: Duration,
    body: Option<BodyOf>,
}

type BodyOf = Arc<dyn Fn(&Rejection) -> (HeaderValue, Bytes) + Send + Sync>;

impl RejectionFormat {
    /// The realm of the challenge; `api` unless set. What a quoted string can't hold is replaced.
    #[must_use]
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = realm.into();
        self
    }

    /// What a 503 says in `Retry-After`, in whole seconds; 1 s unless set.
    #[must_use]
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Swaps the body: what it returns are the content type and the bytes. Status and headers
    /// stay, and gRPC refusals have no body.
    #[must_use]
    pub fn body(
        mut self,
        body: impl Fn(&Rejection) -> (HeaderValue, Bytes) + Send + Sync + 'static,
    ) -> Self {
        self.body = Some(Arc::new(body));
        self
    }

    /// The response for a refusal, which is logged and put into the response's extensions.
    pub fn respond(&self, rejection: Rejection, grpc: bool) -> Response<Full<Bytes>> {
        log(&rejection);
        let mut response = if grpc {
            grpc_response(&rejection)
        } else {
            self.http_response(&rejection)
        };
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.extensions_mut().insert(rejection);
        response
    }

    fn http_response(&self, rejection: &Rejection) -> Response<Full<Bytes>> {
        let reason = rejection.reason();
        let status = reason.status();
        let (content_type, body) = match &self.body {
            Some(body) => body(rejection),
            None => problem(rejection),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(
                    RETRY_AFTER,
                    HeaderValue::from(self.retry_after.as_secs().max(1)),
                );
            }
            StatusCode::INTERNAL_SERVER_ERROR => {}
            _ => {
                headers.insert(WWW_AUTHENTICATE, self.challenge(rejection));
            }
        }
        response
    }

    /// RFC 6750 §3: each parameter at most once, the description within its characters.
    fn challenge(&self, rejection: &Rejection) -> HeaderValue {
        let mut challenge = format!("Bearer realm=\"{}\"", quotable(&self.realm));
        if let Some(code) = rejection.reason().error_code() {
            let description = quotable(rejection.description());
            challenge.push_str(&format!(
                ", error=\"{code}\", error_description=\"{description}\""
            ));
        }
        if let Some(scope) = rejection.scope() {
            challenge.push_str(&format!(", scope=\"{}\"", quotable(scope)));
        }
        HeaderValue::try_from(challenge)
            .unwrap_or_else(|_| HeaderValue::from_static("Bearer realm=\"api\""))
    }
}

impl Default for RejectionFormat {
    fn default() -> Self {
        Self {
            realm: "api".to_owned(),
            retry_after: Duration::from_secs(1),
            body: None,
        }
    }
}

impl fmt::Debug for RejectionFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RejectionFormat")
            .field("realm", &self.realm)
            .field("retry_after", &self.retry_after)
            .field("body", &self.body.as_ref().map(|_| "swapped"))
            .finish()
    }
}

fn problem(rejection: &Rejection) -> (HeaderValue, Bytes) {
    let reason = rejection.reason();
    let status = reason.status();
    let problem = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": rejection.description(),
        "reason": reason.label(),
    });
    (
        HeaderValue::from_static("application/problem+json"),
        Bytes::from(problem.to_string()),
    )
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What `grpc-message` writes as `%XX`: all but printable ASCII, and `%` itself.
const GRPC_ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Trailers only: the body is empty, so the head ends the stream.
fn grpc_response(rejection: &Rejection) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(
        GRPC_STATUS,
        HeaderValue::from(u16::from(rejection.reason().grpc_status())),
    );
    let message = utf8_percent_encode(rejection.description(), GRPC_ESCAPED).to_string();
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// `%x20-21 / %x23-5B / %x5D-7E` (RFC 6750 §3): no quote, no backslash, no control, ASCII only.
fn quotable(text: &str) -> String {
    let allowed = |char: char| matches!(char, ' '..='~') && char != '"' && char != '\\';
    text.chars()
        .map(|char| if allowed(char) { char } else { '?' })
        .collect()
}

fn log(rejection: &Rejection) {
    let reason = rejection.reason().label();
    let token = rejection.token_id().map(tracing::field::display);
    let source = std::error::Error::source(rejection);
    match rejection.reason().status() {
        StatusCode::INTERNAL_SERVER_ERROR => {
            tracing::error!(reason, token, source, "{rejection}");
        }
        StatusCode::SERVICE_UNAVAILABLE => tracing::warn!(reason, token, source, "{rejection}"),
        _ => tracing::debug!(reason, token, source, "{rejection}"),
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body;
    use proptest::prelude::*;

    use super::*;
    use crate::Reason;

    fn challenge(rejection: Rejection) -> String {
        let response = RejectionFormat::default().respond(rejection, false);
        response.headers()[WWW_AUTHENTICATE]
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn without_credentials_there_is_no_error_code() {
        assert_eq!(challenge(Reason::NoToken.into()), "Bearer realm=\"api\"");
    }

    #[test]
    fn rfc6750_3_scope_is_named_on_403() {
        assert_eq!(
            challenge(Rejection::insufficient_scope("orders:write")),
            "Bearer realm=\"api\", error=\"insufficient_scope\", \
             error_description=\"the token doesn't grant this\", scope=\"orders:write\""
        );
    }

    #[test]
    fn a_503_has_no_challenge_and_a_time_to_wait() {
        let response = RejectionFormat::default().respond(Reason::Unavailable.into(), false);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn a_failure_after_the_call_invites_nobody_to_repeat_it() {
        let response = RejectionFormat::default().respond(Reason::NotRecorded.into(), false);
        assert_eq!(response.status(), 500);
        assert!(!response.headers().contains_key(RETRY_AFTER));
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    }

    #[test]
    fn grpc_refusals_are_trailers_only() {
        for (reason, status) in [
            (Reason::NoToken, "16"),
            (Reason::MalformedRequest, "16"),
            (Reason::Spent, "16"),
            (Reason::InsufficientScope, "7"),
            (Reason::Unavailable, "14"),
            (Reason::NotRecorded, "13"),
        ] {
            let response = RejectionFormat::default().respond(reason.into(), true);
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
            assert_eq!(response.headers()[GRPC_STATUS], status);
            assert!(response.body().is_end_stream());
        }
    }

    #[test]
    fn grpc_message_is_percent_encoded() {
        let rejection = Rejection::new(Reason::Revoked).detail("50 % é\n");
        let response = RejectionFormat::default().respond(rejection, true);
        assert_eq!(response.headers()[GRPC_MESSAGE], "50 %25 %C3%A9%0A");
    }

    #[test]
    fn the_body_can_be_swapped() {
        let format = RejectionFormat::default().body(|rejection| {
            let body = Bytes::from(rejection.reason().label());
            (HeaderValue::from_static("text/plain"), body)
        });
        let response = format.respond(Reason::Revoked.into(), false);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key(WWW_AUTHENTICATE));
    }

    proptest! {
        #[test]
        fn rfc6750_3_whatever_is_said_fits_the_challenge(detail: String, realm: String, scope: String) {
            let mut rejection = Rejection::insufficient_scope(scope);
            rejection = rejection.detail(detail);
            let format = RejectionFormat::default().realm(realm);
            let challenge = format.challenge(&rejection);
            let challenge = challenge.to_str().unwrap();
            prop_assert_eq!(challenge.matches('"').count(), 8);
            prop_assert!(!challenge.contains('\\'));
        }
    }
}
