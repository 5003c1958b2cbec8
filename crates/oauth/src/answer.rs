//! What the server's answer means for the token: told, rejected for good, or to be tried again.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use serde_json::Value;
use tower_revoke_core::{HttpClientError, UnixTime};

/// The longest pause that a server may ask for.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Why the server has not been told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// It rejects this client: 401, 403, or 400 with `invalid_client`. It needs a person; the
    /// token is tried slowly until then.
    Credentials,
    /// A redirect, or another 4xx: this is not its revocation endpoint. It needs a person.
    Endpoint(StatusCode),
    /// Its metadata can't be fetched, or names no revocation endpoint.
    Discovery,
    /// It asks to come back later: 429 or 503.
    Busy(StatusCode),
    /// It failed: another 5xx, 408 or 425.
    Server(StatusCode),
    /// It can't be reached, or the answer broke off.
    Unreachable,
    /// It gave no answer in time.
    TimedOut,
    /// Its answer is longer than 64 KiB.
    TooLarge,
    /// The try was dropped unfinished: its runtime ended, or the HTTP client panicked.
    BrokenOff,
}

impl Failure {
    /// Whether it will hardly mend by itself.
    pub fn needs_operator(self) -> bool {
        matches!(self, Self::Credentials | Self::Endpoint(_) | Self::TooLarge)
    }

    /// Whether a discovered endpoint may have moved.
    pub(crate) fn may_have_moved(self) -> bool {
        matches!(self, Self::Endpoint(_) | Self::Unreachable)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// With the error code, if it is one of the RFCs'.
    Rejected(Option<&'static str>),
    Failed(Failure, Option<Duration>),
}

impl Verdict {
    /// Any 2xx is a success, whatever its type and body (RFC 7009 §2.2).
    pub(crate) fn of(answer: &Response<Bytes>, now: UnixTime) -> Self {
        let status = answer.status();
        let failed = |failure| Self::Failed(failure, retry_after(answer.headers(), now));
        match status.as_u16() {
            200..=299 => Self::Delivered,
            400 => match error_code(answer.body()) {
                // Seen where 401 was meant.
                Some("invalid_client") => failed(Failure::Credentials),
                code => Self::Rejected(code),
            },
            401 | 403 => failed(Failure::Credentials),
            429 | 503 => failed(Failure::Busy(status)),
            408 | 425 | 500..=599 => failed(Failure::Server(status)),
            _ => failed(Failure::Endpoint(status)),
        }
    }

    pub(crate) fn of_error(error: &HttpClientError) -> Self {
        let failure = match error {
            HttpClientError::TooLarge(_) => Failure::TooLarge,
            HttpClientError::Redirect(status) => Failure::Endpoint(*status),
            _ => Failure::Unreachable,
        };
        Self::Failed(failure, None)
    }
}

/// The codes of RFC 6749 §5.2 and RFC 7009 §2.2.1. What else a server writes there is not
/// repeated.
const CODES: [&str; 7] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "unsupported_token_type",
];

fn error_code(body: &[u8]) -> Option<&'static str> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let said = body.get("error")?.as_str()?;
    CODES.into_iter().find(|code| *code == said)
}

/// Both forms of RFC 9110 §10.2.3, capped.
fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are more seconds than are waited.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let then = httpdate::parse_http_date(value).ok()?;
        let then = then.duration_since(UNIX_EPOCH).ok()?;
        then.saturating_sub(Duration::from_secs(now.as_secs()))
    };
    Some(pause.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(784_111_777);

    fn verdict(status: u16, headers: &[(&str, &str)], body: &'static str) -> Verdict {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        Verdict::of(
            &answer.body(Bytes::from_static(body.as_bytes())).unwrap(),
            NOW,
        )
    }

    #[test]
    fn rfc7009_2_2_any_success_is_one_whatever_its_body() {
        for status in [200, 201, 202, 204] {
            for body in ["", "<html>", r#"{"error":"invalid_client"}"#] {
                let headers = [("content-type", "text/html")];
                assert_eq!(verdict(status, &headers, body), Verdict::Delivered);
            }
        }
    }

    #[test]
    fn rfc7009_2_2_1_a_400_is_for_good_and_only_known_codes_are_read() {
        for (body, code) in [
            (
                r#"{"error":"unsupported_token_type"}"#,
                Some("unsupported_token_type"),
            ),
            (
                r#"{"error":"invalid_request","error_description":"x"}"#,
                Some("invalid_request"),
            ),
            (r#"{"error":"made_up"}"#, None),
            (r#"{"error":["invalid_request"]}"#, None),
            (r#"{"error":1}"#, None),
            ("[]", None),
            ("null", None),
            ("", None),
            ("<html>", None),
        ] {
            assert_eq!(verdict(400, &[], body), Verdict::Rejected(code), "{body}");
        }
    }

    #[test]
    fn trap_16_a_400_that_means_401_is_about_the_credentials() {
        assert_eq!(
            verdict(400, &[], r#"{"error":"invalid_client"}"#),
            Verdict::Failed(Failure::Credentials, None),
        );
    }

    #[test]
    fn every_other_status_is_tried_again() {
        let status = |code| StatusCode::from_u16(code).unwrap();
        for (code, failure) in [
            (401, Failure::Credentials),
            (403, Failure::Credentials),
            (429, Failure::Busy(status(429))),
            (503, Failure::Busy(status(503))),
            (408, Failure::Server(status(408))),
            (500, Failure::Server(status(500))),
            (502, Failure::Server(status(502))),
            (599, Failure::Server(status(599))),
            (302, Failure::Endpoint(status(302))),
            (307, Failure::Endpoint(status(307))),
            (404, Failure::Endpoint(status(404))),
            (405, Failure::Endpoint(status(405))),
            (999, Failure::Endpoint(status(999))),
        ] {
            assert_eq!(verdict(code, &[], ""), Verdict::Failed(failure, None));
        }
    }

    #[test]
    fn rfc9110_10_2_3_retry_after_is_seconds_or_a_date() {
        for (value, secs) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(300)),
            ("3600", Some(300)),
            ("99999999999999999999999999", Some(300)),
            ("-1", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(
                verdict(503, &[("retry-after", value)], ""),
                Verdict::Failed(
                    Failure::Busy(StatusCode::SERVICE_UNAVAILABLE),
                    secs.map(Duration::from_secs),
                ),
                "{value}"
            );
        }
    }
}
