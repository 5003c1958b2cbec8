//! The layer that refuses what a proxy and its upstream could understand in two ways.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use tower_layer::Layer;
use tower_revoke_core::{RejectionBody, RejectionFuture};
use tower_service::Service;

/// Refuses requests that a proxy and its upstream could understand in two ways: what the proxy has
/// checked must be what the upstream does.
///
/// It stands outside of all that checks a token, so that a refusal costs nothing. What never becomes
/// a [`Request`] (bad chunks, two lengths, names with spaces) the server refuses by itself.
///
/// # What is refused
/// - 501: `CONNECT`, and `TRACE`, whose answer shows the caller what credentials the upstream got.
/// - 501: a `Transfer-Encoding` other than `chunked` alone (RFC 9112 §6.1): what else there is would
///   still be on the body when it is handed on.
/// - 400: HTTP/1.1 without `Host`; two of them, in any version; one that differs from the authority
///   in the URI, without regard to case (RFC 9112 §3.2, RFC 9113 §8.3.1).
/// - 400: a path that a server may take for another: with an empty part, a part that begins with a
///   dot, a backslash, or an encoded one of `/`, `\`, `.`, `%` and NUL. What a call costs may hang
///   on its path.
///
/// The body is a line of text that says why.
///
/// ```
/// use tower_revoke_preserve::{PreserveAuthorizationLayer, RefuseAmbiguousLayer};
///
/// let proxy = (
///     RefuseAmbiguousLayer::new(),
///     PreserveAuthorizationLayer::new().for_proxy(),
///     // RequireBearerLayer, RevokeLayer, …
/// );
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RefuseAmbiguousLayer {
    _private: (),
}

impl RefuseAmbiguousLayer {
    /// There is nothing to set.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for RefuseAmbiguousLayer {
    type Service = RefuseAmbiguous<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RefuseAmbiguous { inner }
    }
}

/// The service of [`RefuseAmbiguousLayer`].
#[derive(Clone, Copy, Debug)]
pub struct RefuseAmbiguous<S> {
    inner: S,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RefuseAmbiguous<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<RejectionBody<ResBody>>;
    type Error = S::Error;
    type Future = RejectionFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        match ambiguity(&request) {
            None => RejectionFuture::inner(self.inner.call(request)),
            Some((status, why)) => {
                let mut response = Response::new(Full::new(Bytes::from_static(why.as_bytes())));
                *response.status_mut() = status;
                let text = header::HeaderValue::from_static("text/plain; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, text);
                RejectionFuture::rejected(response)
            }
        }
    }
}

/// Parts of a path, in lower case, that servers don't agree on.
const AMBIGUOUS: [&str; 8] = ["//", "/.", "\\", "%00", "%25", "%2e", "%2f", "%5c"];

fn ambiguity<B>(request: &Request<B>) -> Option<(StatusCode, &'static str)> {
    if [Method::CONNECT, Method::TRACE].contains(request.method()) {
        return Some((StatusCode::NOT_IMPLEMENTED, "no such method here\n"));
    }
    if !is_chunked_at_most(request) {
        let why = "no transfer coding but chunked\n";
        return Some((StatusCode::NOT_IMPLEMENTED, why));
    }
    if !is_one_host(request) {
        return Some((StatusCode::BAD_REQUEST, "one Host, and one only\n"));
    }
    let path = request.uri().path().to_ascii_lowercase();
    if AMBIGUOUS.iter().any(|part| path.contains(part)) {
        return Some((StatusCode::BAD_REQUEST, "a path with two meanings\n"));
    }
    None
}

fn is_chunked_at_most<B>(request: &Request<B>) -> bool {
    let codings = request.headers().get_all(header::TRANSFER_ENCODING);
    let mut codings = codings.iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

fn is_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next(), request.uri().authority()) {
        (None, _, _) => request.version() != Version::HTTP_11,
        (Some(_), None, None) => true,
        (Some(host), None, Some(authority)) => {
            let authority = authority.as_str().as_bytes();
            authority.eq_ignore_ascii_case(host.as_bytes())
        }
        (Some(_), Some(_), _) => false,
    }
}
