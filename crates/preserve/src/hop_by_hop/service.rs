//! The service: makes a request and its response the proxy's own.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::fields;

/// The service of [`HopByHopLayer`](super::HopByHopLayer).
#[derive(Clone, Debug)]
pub struct HopByHop<S> {
    inner: S,
    name: Arc<str>,
}

impl<S> HopByHop<S> {
    pub(super) fn new(inner: S, name: Arc<str>) -> Self {
        Self { inner, name }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for HopByHop<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = HopByHopFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let asked = forward_request(&mut request, &self.name);
        HopByHopFuture {
            call: self.inner.call(request),
            asked,
            name: self.name.clone(),
        }
    }
}

pin_project! {
    /// The future of [`HopByHop`].
    #[derive(Debug)]
    pub struct HopByHopFuture<F> {
        #[pin]
        call: F,
        // Whether a WebSocket was asked for.
        asked: bool,
        name: Arc<str>,
    }
}

impl<F, B, E> Future for HopByHopFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.call.poll(cx))?;
        forward_response(&mut response, *this.asked, this.name);
        Poll::Ready(Ok(response))
    }
}

/// Makes the request the proxy's own. Returns whether it asks for a WebSocket.
fn forward_request<B: Body>(request: &mut Request<B>, name: &str) -> bool {
    let came_in = std::mem::replace(request.version_mut(), Version::HTTP_11);
    let asks_for_websocket = *request.method() == Method::GET
        && came_in == Version::HTTP_11
        && request.body().is_end_stream()
        && fields::is_websocket(request.headers());
    let has_unknown_length =
        !request.body().is_end_stream() && request.body().size_hint().exact().is_none();

    let headers = request.headers_mut();
    let takes_trailers = fields::takes_trailers(headers);
    fields::remove(headers);
    headers.remove(header::EXPECT);
    if asks_for_websocket {
        fields::insert_websocket(headers);
    } else if takes_trailers {
        fields::insert_te(headers);
    }
    if has_unknown_length && !headers.contains_key(header::CONTENT_LENGTH) {
        let chunked = HeaderValue::from_static("chunked");
        headers.insert(header::TRANSFER_ENCODING, chunked);
    }
    if came_in >= Version::HTTP_2 {
        fields::join_cookies(headers);
    }
    fields::add_via(headers, name, came_in);
    asks_for_websocket
}

/// Makes the response the proxy's own.
fn forward_response<B>(response: &mut Response<B>, asked: bool, name: &str) {
    let came_in = std::mem::replace(response.version_mut(), Version::HTTP_11);
    let is_upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let is_websocket = fields::is_websocket(response.headers());
    if is_upgrade && !(asked && is_websocket) {
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response.headers_mut().clear();
        response.extensions_mut().clear();
        return;
    }
    let headers = response.headers_mut();
    fields::remove(headers);
    if is_upgrade {
        fields::insert_websocket(headers);
    }
    fields::add_via(headers, name, came_in);
}
