//! A service that accepts or rejects each request synchronously.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower_service::Service;

use crate::{RejectionBody, RejectionFuture};

/// Decides which requests pass to an inner service.
pub trait Predicate {
    /// Returns the response that rejects a request, or `None` to let the request pass, with any
    /// changes made to it.
    fn reject<B>(&self, request: &mut Request<B>) -> Option<Response<Full<Bytes>>>;
}

/// Passes on the requests that a [`Predicate`] does not reject. It is ready when its inner service
/// is.
#[derive(Clone, Copy, Debug)]
pub struct Filter<S, P> {
    inner: S,
    predicate: P,
}

impl<S, P> Filter<S, P> {
    /// Wraps a service with a predicate.
    pub fn new(inner: S, predicate: P) -> Self {
        Self { inner, predicate }
    }
}

impl<S, P, ReqBody, ResBody> Service<Request<ReqBody>> for Filter<S, P>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    P: Predicate,
{
    type Response = Response<RejectionBody<ResBody>>;
    type Error = S::Error;
    type Future = RejectionFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        match self.predicate.reject(&mut request) {
            None => RejectionFuture::inner(self.inner.call(request)),
            Some(response) => RejectionFuture::rejected(response),
        }
    }
}
