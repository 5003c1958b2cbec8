//! The response future of a service that may reject.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::RejectionBody;
use crate::internal::POLLED_AFTER_COMPLETION;

pin_project! {
    /// The future of an inner service, or a rejection that is ready.
    #[derive(Debug)]
    pub struct RejectionFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<F> {
        Inner { #[pin] future: F },
        Rejected { response: Option<Response<Full<Bytes>>> },
    }
}

impl<F> RejectionFuture<F> {
    /// Wraps the inner service's future.
    pub fn inner(future: F) -> Self {
        Self {
            kind: Kind::Inner { future },
        }
    }

    /// Wraps a rejection, as [`RejectionFormat::respond_to`](super::RejectionFormat::respond_to) makes it.
    pub fn rejected(response: Response<Full<Bytes>>) -> Self {
        let response = Some(response);
        Self {
            kind: Kind::Rejected { response },
        }
    }
}

impl<F, B, E> Future for RejectionFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<RejectionBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Inner { future } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(response.map(RejectionBody::inner)))
            }
            KindProj::Rejected { response } => {
                let response = response.take().expect(POLLED_AFTER_COMPLETION);
                Poll::Ready(Ok(RejectionBody::rejected(response)))
            }
        }
    }
}
