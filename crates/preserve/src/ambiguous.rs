//! The layer that rejects what a proxy and its upstream may read differently.

use std::{borrow::Cow, mem};

use bytes::Bytes;
use http::{
    HeaderName, Method, Request, Response, StatusCode, Uri, Version, header, uri::PathAndQuery,
};
use http_body_util::Full;
use tower_layer::Layer;
use tower_revoke_core::{
    PathAllowances,
    internal::{Filter, Predicate, decode_unreserved},
    read_request_path,
};

use crate::names::reads_as;

/// Rejects requests that a proxy and its upstream may read differently: the upstream must do what the
/// proxy has checked.
///
/// It goes outside of all layers that check a token, so that a rejection costs nothing. The server
/// itself rejects what never becomes a [`Request`] (invalid chunks, two lengths, names with spaces).
///
/// # What is rejected
/// - 501: `CONNECT`, unless [extended](Self::allow_extended_connect), and `TRACE`, whose answer shows the
///   caller what credentials the upstream got.
/// - 501: a `Transfer-Encoding` other than `chunked` alone (RFC 9112 §6.1): any other coding would
///   still be on the body when it is handed on.
/// - 400: HTTP/1.1 without `Host`; two of them, in any version; one that differs from the authority
///   in the URI, without regard to case (RFC 9112 §3.2, RFC 9113 §8.3.1).
/// - 400: a path that servers may read differently, for any reason in
///   [`PathAmbiguity`](tower_revoke_core::PathAmbiguity): `/%69nvoices`, `/invoices;x=1`, `//`,
///   `/../` and so on. Whether a call spends its token may depend on the path.
/// - 400: a header by which frameworks take another method than the request's:
///   `X-HTTP-Method-Override`, `X-HTTP-Method`, `X-Method-Override`, and what CGI takes for them.
///
/// The response's body is a line of text with the reason.
///
/// ```
/// use tower_revoke_preserve::{PreserveAuthorizationLayer, RejectAmbiguousLayer};
///
/// let proxy = (
///     RejectAmbiguousLayer::new(),
///     PreserveAuthorizationLayer::new().for_proxy(),
///     // RequireBearerLayer, UseLimitLayer, …
/// );
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RejectAmbiguousLayer {
    allowed: PathAllowances,
    allows_extended_connect: bool,
}

impl RejectAmbiguousLayer {
    /// Allows no ambiguity.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows encoded unreserved characters in a path, such as `%7E` for `~` from Java, and decodes
    /// them in the request's URI: inner layers and upstreams see `~`. Where a router is inside, put
    /// the layer around it; a layer of axum's `Router::layer` runs after the route was chosen.
    ///
    /// The allowance is left in the request's extensions, for layers that check the path again.
    pub fn allow_encoded_unreserved(mut self) -> Self {
        self.allowed = self.allowed.encoded_unreserved();
        self
    }

    /// Allows matrix parameters in a path, such as `/invoices;v=2/1`. Upstreams get them; the
    /// conditions of `UseLimitLayer` see `/invoices/1`.
    ///
    /// For upstreams that strip matrix parameters themselves, such as servlet containers. A router
    /// that doesn't, such as axum's, takes `invoices;v=2` for another name.
    ///
    /// The allowance is left in the request's extensions, for layers that check the path again.
    pub fn allow_matrix_parameters(mut self) -> Self {
        self.allowed = self.allowed.matrix_parameters();
        self
    }

    /// Allows `CONNECT` with a path, over HTTP/2 and later: the request by which a client opens a WebSocket
    /// there (RFC 8441). It asks for a resource, as a GET does, and is checked like one. A `CONNECT` to an
    /// authority, as to a forward proxy, stays rejected.
    ///
    /// The `:protocol` is left to the service, which must reject what it doesn't know: on hyper it is a
    /// `hyper::ext::Protocol` in the request's extensions, and only a server that enables the protocol lets
    /// clients send one.
    pub fn allow_extended_connect(mut self) -> Self {
        self.allows_extended_connect = true;
        self
    }
}

impl Predicate for RejectAmbiguousLayer {
    fn reject<B>(&self, request: &mut Request<B>) -> Option<Response<Full<Bytes>>> {
        let (status, why) = self.check(request).err()?;
        let mut response = Response::new(Full::new(Bytes::from(format!("{why}\n"))));
        *response.status_mut() = status;
        let text = header::HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        Some(response)
    }
}

/// The service of [`RejectAmbiguousLayer`].
pub type RejectAmbiguous<S> = Filter<S, RejectAmbiguousLayer>;

impl<S> Layer<S> for RejectAmbiguousLayer {
    type Service = RejectAmbiguous<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Filter::new(inner, *self)
    }
}

impl RejectAmbiguousLayer {
    fn check<B>(self, request: &mut Request<B>) -> Result<(), (StatusCode, &'static str)> {
        let is_supported = match *request.method() {
            Method::CONNECT => self.allows_extended_connect && is_extended_connect(request),
            Method::TRACE => false,
            _ => true,
        };
        if !is_supported {
            return Err((StatusCode::NOT_IMPLEMENTED, "the method is not supported"));
        }
        if request.headers().keys().any(overrides_method) {
            return Err((StatusCode::BAD_REQUEST, "the method can't be overridden"));
        }
        if !is_chunked_at_most(request) {
            let why = "only the transfer coding chunked is supported";
            return Err((StatusCode::NOT_IMPLEMENTED, why));
        }
        if !is_one_host(request) {
            return Err((StatusCode::BAD_REQUEST, "exactly one Host is required"));
        }
        if let Err(ambiguity) = read_request_path(request, self.allowed) {
            return Err((StatusCode::BAD_REQUEST, ambiguity.description()));
        }
        decode_path(request.uri_mut());
        // Nothing is kept where nothing is allowed: an entry costs an allocation.
        match self.allowed == PathAllowances::default() {
            true => request.extensions_mut().remove(),
            false => request.extensions_mut().insert(self.allowed),
        };
        Ok(())
    }
}

/// Whether a `CONNECT` asks for a resource (RFC 8441 §4) rather than for an authority.
fn is_extended_connect<B>(request: &Request<B>) -> bool {
    request.version() >= Version::HTTP_2 && !request.uri().path().is_empty()
}

/// Decodes the unreserved characters of a path without other ambiguities.
fn decode_path(uri: &mut Uri) {
    let Cow::Owned(path) = decode_unreserved(uri.path()) else {
        return;
    };
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = mem::take(uri).into_parts();
    let target = PathAndQuery::try_from(target);
    parts.path_and_query = Some(target.expect("a path stays valid without some of its escapes"));
    *uri = Uri::from_parts(parts).expect("a URI stays valid with another path");
}

fn overrides_method(name: &HeaderName) -> bool {
    const OVERRIDES: [&str; 3] = [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ];
    OVERRIDES.iter().any(|known| reads_as(name.as_str(), known))
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
