//! The response of a rejection.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use http::{
    Extensions, HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    request::Parts,
};
use http_body_util::Full;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::json;

use super::{Rejection, log::RejectionLog};
use crate::{BearerContext, Clock, end::RequestShape};

/// The format of rejections: what challenges name, `Retry-After`, the body, and when the gRPC form is
/// used.
///
/// The HTTP form has the status, a `WWW-Authenticate: Bearer` challenge per RFC 6750 §3 on 400, 401
/// and 403, `Retry-After` on 503, `Cache-Control: no-store`, and an `application/problem+json` body
/// (RFC 9457). The gRPC form is HTTP 200, trailers only, with `grpc-status` and `grpc-message`.
///
/// Rejections are logged at `DEBUG`. Those that are the server's fault are logged at `WARN` (503) or
/// `ERROR` (500) once a minute and reason, with `count`, the number since the previous line. Clones
/// share that count.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use tower_revoke_core::RejectionFormat;
///
/// let format = RejectionFormat::default()
///     .realm("orders")
///     .retry_after(Duration::from_secs(5));
/// ```
#[derive(Clone)]
pub struct RejectionFormat {
    realm: String,
    scopes: Vec<String>,
    resource_metadata: Option<String>,
    retry_after: Duration,
    body: Option<BodyOf>,
    grpc: GrpcRejections,
    log: Arc<RejectionLog>,
}

/// Which requests are rejected in gRPC form: HTTP 200, trailers only, with a `grpc-status`.
///
/// ```
/// use tower_revoke_core::{GrpcRejections, RejectionFormat};
///
/// // For a program that a proxy asks whether a request may pass.
/// let format = RejectionFormat::default().grpc(GrpcRejections::Never);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrpcRejections {
    /// gRPC calls only: `POST` over HTTP/2 or later with the content type `application/grpc` or
    /// `application/grpc+…`.
    #[default]
    Auto,
    /// All requests, for layers inside of tonic-web that are called over HTTP/1.1. tonic-web turns a
    /// grpc-web request into `application/grpc`, but keeps its version, and its response into
    /// grpc-web, whatever the status.
    ///
    /// Every rejection is then an HTTP 200, even of a `GET` without a token: only for services that
    /// speak nothing but gRPC, and whose callers never look at the HTTP status.
    Always,
    /// None, for a service whose HTTP status decides, such as one that a proxy asks whether a request
    /// may pass (nginx's `auth_request`, Traefik's `ForwardAuth`, Envoy's `ext_authz` over HTTP). These
    /// take any 200 for a permission, and may send the method, version and content type of their
    /// client.
    Never,
}

type BodyOf = Arc<dyn Fn(&Rejection) -> (HeaderValue, Bytes) + Send + Sync>;

impl RejectionFormat {
    /// Sets the realm of the challenge. What a quoted string can't hold is replaced. Defaults to `api`.
    #[must_use]
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = realm.into();
        self
    }

    /// Sets the scopes that every request needs. The challenges of all 401 and 403 responses name them,
    /// together with those that a rejection names, so that a client asks for all of them at once.
    /// Defaults to none.
    #[must_use]
    pub fn scopes<T: Into<String>>(mut self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the URL of the metadata of the protected resource, which all challenges then name
    /// (RFC 9728 §5.1). Defaults to none.
    #[must_use]
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Self {
        self.resource_metadata = Some(url.into());
        self
    }

    /// Sets the `Retry-After` of a 503, in whole seconds. Defaults to 1 s.
    #[must_use]
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Replaces the body: `body` returns the content type and the bytes. Status and other headers
    /// stay, and gRPC rejections have no body.
    #[must_use]
    pub fn body(
        mut self,
        body: impl Fn(&Rejection) -> (HeaderValue, Bytes) + Send + Sync + 'static,
    ) -> Self {
        self.body = Some(Arc::new(body));
        self
    }

    /// Replaces the body by the JSON of a value, with the content type `application/json`; otherwise
    /// as [`body`](Self::body). A value that can't be serialized leaves the body as it is by default.
    #[must_use]
    pub fn json<T: Serialize>(
        self,
        value: impl Fn(&Rejection) -> T + Send + Sync + 'static,
    ) -> Self {
        self.body(
            move |rejection| match serde_json::to_vec(&value(rejection)) {
                Ok(json) => (HeaderValue::from_static("application/json"), json.into()),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::debug!(
                        target: "tower_revoke::core",
                        error,
                        "the body of a rejection can't be serialized"
                    );
                    problem(rejection)
                }
            },
        )
    }

    /// Sets which requests are rejected in gRPC form. Defaults to [`GrpcRejections::Auto`].
    #[must_use]
    pub fn grpc(mut self, grpc: GrpcRejections) -> Self {
        self.grpc = grpc;
        self
    }

    /// Sets the clock that the log goes by, for tests. Clones that were made before keep theirs.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.log = Arc::new(RejectionLog::new(clock));
        self
    }

    /// Returns the format of the bearer layer that a request came through, by the request's
    /// extensions; the default format if it came through none.
    ///
    /// A handler rejects in it:
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Response, request::Parts};
    /// use http_body_util::Full;
    /// use tower_revoke_core::{Reason, RejectionFormat};
    ///
    /// fn only_with_two_factors(parts: &Parts) -> Response<Full<Bytes>> {
    ///     let format = RejectionFormat::of(&parts.extensions);
    ///     format.respond_to(Reason::InsufficientScope.into(), parts)
    /// }
    /// ```
    pub fn of(extensions: &Extensions) -> Arc<Self> {
        static SHARED: LazyLock<Arc<RejectionFormat>> = LazyLock::new(Arc::default);
        let context = BearerContext::of(extensions);
        context.map_or_else(|| SHARED.clone(), |context| context.format().clone())
    }

    /// Returns how many requests passed that would have been rejected, by the
    /// [label](crate::Reason::label) of the reason: those that a layer in this format only observed,
    /// and those that it admitted although the list could not answer.
    pub fn not_enforced(&self) -> BTreeMap<&'static str, u64> {
        self.log.not_enforced()
    }

    /// Returns the response that rejects a request, of which this is the head.
    ///
    /// The rejection is logged, and put into the response's extensions.
    pub fn respond_to(&self, rejection: Rejection, request: &Parts) -> Response<Full<Bytes>> {
        respond(self, rejection, RequestShape::of_parts(request))
    }

    pub(crate) fn respond_in(
        &self,
        rejection: Rejection,
        grpc_form: bool,
    ) -> Response<Full<Bytes>> {
        self.log.rejected(&rejection);
        let mut response = match grpc_form {
            true => grpc_response(&rejection),
            false => self.http_response(&rejection),
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
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::HTTP_VERSION_NOT_SUPPORTED => {}
            _ => {
                headers.insert(WWW_AUTHENTICATE, self.challenge(rejection));
            }
        }
        response
    }

    /// RFC 6750 §3: each parameter at most once, the description within its characters.
    fn challenge(&self, rejection: &Rejection) -> HeaderValue {
        let mut challenge = format!("Bearer realm={}", quoted_string(&self.realm));
        if let Some(code) = rejection.reason().error_code() {
            let description = quotable(rejection.description());
            challenge.push_str(&format!(
                ", error=\"{code}\", error_description=\"{description}\""
            ));
        }
        let scopes = self.scopes_for(rejection);
        if !scopes.is_empty() {
            challenge.push_str(&format!(", scope=\"{}\"", quotable(&scopes)));
        }
        if let Some(url) = &self.resource_metadata {
            challenge.push_str(&format!(", resource_metadata=\"{}\"", quotable(url)));
        }
        HeaderValue::try_from(challenge)
            .unwrap_or_else(|_| HeaderValue::from_static("Bearer realm=\"api\""))
    }

    /// All that the request needs: the scopes of the format, then others that the rejection names.
    fn scopes_for(&self, rejection: &Rejection) -> String {
        let named = rejection.scope();
        if named.is_none() && rejection.reason().status() != StatusCode::UNAUTHORIZED {
            return String::new();
        }
        let mut scopes: Vec<&str> = self.scopes.iter().map(String::as_str).collect();
        for scope in named.into_iter().flat_map(|named| named.split(' ')) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        scopes.join(" ")
    }
}

impl Default for RejectionFormat {
    fn default() -> Self {
        Self {
            realm: "api".to_owned(),
            scopes: Vec::new(),
            resource_metadata: None,
            retry_after: Duration::from_secs(1),
            body: None,
            grpc: GrpcRejections::default(),
            log: Arc::default(),
        }
    }
}

impl fmt::Debug for RejectionFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RejectionFormat")
            .field("realm", &self.realm)
            .field("scopes", &self.scopes)
            .field("resource_metadata", &self.resource_metadata)
            .field("retry_after", &self.retry_after)
            .field("body", &self.body.as_ref().map(|_| "swapped"))
            .field("grpc", &self.grpc)
            .finish_non_exhaustive()
    }
}

/// As [`RejectionFormat::respond_to`], for a layer that has kept no more than the request's shape.
pub fn respond(
    format: &RejectionFormat,
    rejection: Rejection,
    request: RequestShape,
) -> Response<Full<Bytes>> {
    let in_grpc_form = match format.grpc {
        GrpcRejections::Auto => request.is_grpc(),
        GrpcRejections::Always => true,
        GrpcRejections::Never => false,
    };
    format.respond_in(rejection, in_grpc_form)
}

/// Logs and counts what a layer that observes would have rejected.
pub fn log_observed(format: &RejectionFormat, rejection: &Rejection) {
    format.log.observed(rejection);
}

/// Logs and counts a request that was admitted although the list can't answer.
pub fn log_admitted(format: &RejectionFormat, rejection: &Rejection) {
    format.log.admitted(rejection);
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

/// What is percent-encoded in `grpc-message`: all but printable ASCII, and `%` itself.
const GRPC_ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// A trailers-only response: the body is empty, so the head ends the stream.
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

/// Writes a quoted-string (RFC 9110 §5.6.4), in which quotes and backslashes are escaped. Characters other
/// than visible ASCII and spaces become question marks.
pub fn quoted_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(if matches!(char, ' '..='~') { char } else { '?' });
    }
    quoted.push('"');
    quoted
}

/// `%x20-21 / %x23-5B / %x5D-7E` (RFC 6750 §3): no quote, no backslash, no control, ASCII only.
fn quotable(text: &str) -> String {
    let allowed = |char: char| matches!(char, ' '..='~') && char != '"' && char != '\\';
    text.chars()
        .map(|char| if allowed(char) { char } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests;
