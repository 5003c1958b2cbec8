//! What a response of the authorization server means for the token.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use serde_json::Value;
use tower_revoke_core::{HttpClientError, UnixTime};

/// The longest `Retry-After` that is honoured.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Why an attempt to revoke a token at the authorization server failed. It is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryFailure {
    /// The server rejects the client credentials: 401, 403, or 400 with `invalid_client`. An
    /// operator has to replace them.
    Credentials,
    /// A redirect, or another 4xx: the URL is not that of a revocation endpoint. An operator has to
    /// correct it.
    Endpoint(StatusCode),
    /// The issuer's metadata can't be fetched, or names no revocation endpoint.
    Discovery,
    /// The server asks to come back later: 429 or 503.
    Busy(StatusCode),
    /// The server failed: another 5xx, 408 or 425.
    Server(StatusCode),
    /// The server can't be reached, or the response is incomplete.
    Unreachable,
    /// There was no response within
    /// [`request_timeout`](crate::RevocationClientBuilder::request_timeout).
    TimedOut,
    /// The response is longer than 64 KiB.
    TooLarge,
    /// The attempt was dropped: its runtime ended, the HTTP client panicked, or no assertion could be
    /// signed.
    Aborted,
}

impl DeliveryFailure {
    /// Returns whether the failure lasts until an operator changes a setting.
    pub fn needs_operator(self) -> bool {
        matches!(self, Self::Credentials | Self::Endpoint(_) | Self::TooLarge)
    }

    /// Whether a discovered endpoint may have moved.
    pub(crate) fn may_have_moved(self) -> bool {
        matches!(self, Self::Endpoint(_) | Self::Unreachable)
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Delivered,
    /// With the error code, if it is a registered one.
    Rejected(Option<&'static str>),
    /// It was not sent, since its deadline was past.
    Abandoned,
    /// With the `Retry-After` of the response.
    Failed(DeliveryFailure, Option<Duration>),
}

impl Delivery {
    /// Whether the token is no longer owed.
    pub(crate) fn is_final(self) -> bool {
        !matches!(self, Self::Failed(..))
    }

    /// Any 2xx is a success, whatever its type and body (RFC 7009 §2.2).
    pub(crate) fn of(response: &Response<Bytes>, now: UnixTime) -> Self {
        let status = response.status();
        let failed = |failure| Self::Failed(failure, retry_after(response.headers(), now));
        match status.as_u16() {
            200..=299 => Self::Delivered,
            400 => match error_code(response.body()) {
                // Some servers answer so where RFC 6749 §5.2 wants a 401.
                Some("invalid_client") => failed(DeliveryFailure::Credentials),
                code => Self::Rejected(code),
            },
            401 | 403 => failed(DeliveryFailure::Credentials),
            429 | 503 => failed(DeliveryFailure::Busy(status)),
            408 | 425 | 500..=599 => failed(DeliveryFailure::Server(status)),
            _ => failed(DeliveryFailure::Endpoint(status)),
        }
    }

    pub(crate) fn of_error(error: &HttpClientError) -> Self {
        let failure = match error {
            HttpClientError::TooLarge(_) => DeliveryFailure::TooLarge,
            HttpClientError::Redirect(status) => DeliveryFailure::Endpoint(*status),
            _ => DeliveryFailure::Unreachable,
        };
        Self::Failed(failure, None)
    }
}

/// The codes of RFC 6749 §5.2 and RFC 7009 §2.2.1. Any other one could hold anything, and is neither
/// logged nor reported.
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
    let found = body.get("error")?.as_str()?;
    CODES.into_iter().find(|code| *code == found)
}

/// Reads seconds or a date (RFC 9110 §10.2.3), capped.
fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are beyond the cap.
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

    fn delivery(status: u16, headers: &[(&str, &str)], body: &'static str) -> Delivery {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Delivery::of(
            &response.body(Bytes::from_static(body.as_bytes())).unwrap(),
            NOW,
        )
    }

    #[test]
    fn rfc7009_2_2_a_2xx_is_a_success_whatever_its_body() {
        for status in [200, 201, 202, 204] {
            for body in ["", "<html>", r#"{"error":"invalid_client"}"#] {
                let headers = [("content-type", "text/html")];
                assert_eq!(delivery(status, &headers, body), Delivery::Delivered);
            }
        }
    }

    #[test]
    fn rfc7009_2_2_1_a_400_is_permanent_and_only_registered_codes_are_read() {
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
            assert_eq!(delivery(400, &[], body), Delivery::Rejected(code), "{body}");
        }
    }

    #[test]
    fn trap_16_a_400_that_means_401_is_about_the_credentials() {
        assert_eq!(
            delivery(400, &[], r#"{"error":"invalid_client"}"#),
            Delivery::Failed(DeliveryFailure::Credentials, None),
        );
    }

    #[test]
    fn every_other_status_is_retried() {
        let status = |code| StatusCode::from_u16(code).unwrap();
        for (code, failure) in [
            (401, DeliveryFailure::Credentials),
            (403, DeliveryFailure::Credentials),
            (429, DeliveryFailure::Busy(status(429))),
            (503, DeliveryFailure::Busy(status(503))),
            (408, DeliveryFailure::Server(status(408))),
            (500, DeliveryFailure::Server(status(500))),
            (502, DeliveryFailure::Server(status(502))),
            (599, DeliveryFailure::Server(status(599))),
            (302, DeliveryFailure::Endpoint(status(302))),
            (307, DeliveryFailure::Endpoint(status(307))),
            (404, DeliveryFailure::Endpoint(status(404))),
            (405, DeliveryFailure::Endpoint(status(405))),
            (999, DeliveryFailure::Endpoint(status(999))),
        ] {
            assert_eq!(delivery(code, &[], ""), Delivery::Failed(failure, None));
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
                delivery(503, &[("retry-after", value)], ""),
                Delivery::Failed(
                    DeliveryFailure::Busy(StatusCode::SERVICE_UNAVAILABLE),
                    secs.map(Duration::from_secs),
                ),
                "{value}"
            );
        }
    }
}
