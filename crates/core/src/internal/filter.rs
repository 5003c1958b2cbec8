//! The service of the layers that decide on a request at once.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower_service::Service;

use crate::{RejectionBody, RejectionFuture};

/// Decides which requests an inner service sees.
pub trait Predicate {
    /// Returns the response that rejects a request. `None` lets it pass, as it is by then.
    fn reject<B>(&self, request: &mut Request<B>) -> Option<Response<Full<Bytes>>>;
}

/// Passes the requests on that a [`Predicate`] does not reject. It is as ready as its inner service.
#[derive(Clone, Copy, Debug)]
pub struct Filter<S, P> {
    inner: S,
    predicate: P,
}

impl<S, P> Filter<S, P> {
    /// Puts the predicate before a service.
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
