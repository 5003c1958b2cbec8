//! The body of a response that may be a rejection.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

pin_project! {
    /// The body of the inner service or of a rejection. The inner body's data must be made from
    /// [`Bytes`], as `Bytes` itself is.
    #[derive(Debug)]
    pub struct RejectionBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Rejected { #[pin] body: Full<Bytes> },
    }
}

impl<B> RejectionBody<B> {
    /// Wraps the inner service's body.
    pub fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    /// Wraps the body of a rejection.
    pub fn rejected(response: Response<Full<Bytes>>) -> Response<Self> {
        response.map(|body| Self {
            kind: Kind::Rejected { body },
        })
    }
}

impl<B: Default> Default for RejectionBody<B> {
    fn default() -> Self {
        Self::inner(B::default())
    }
}

impl<B> Body for RejectionBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Rejected { body } => Poll::Ready(
                ready!(body.poll_frame(cx)).map(|Ok(frame)| Ok(frame.map_data(B::Data::from))),
            ),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Rejected { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Rejected { body } => body.size_hint(),
        }
    }
}
