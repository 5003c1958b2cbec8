//! The request body, which returns to the layer if it is dropped before its end.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::oneshot;

pin_project! {
    /// The request body that the inner service of [`DrainUpload`](crate::DrainUpload) gets: the
    /// server's own, with its frames, hints and trailers.
    #[derive(Debug)]
    pub struct DrainUploadBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<B> {
        Direct { #[pin] body: B },
        Watched { guard: Guard<B> },
    }
}

type NextFrame<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

/// What is left of an upload.
#[derive(Debug)]
pub(crate) struct Rest<B> {
    body: Pin<Box<B>>,
    /// The bytes that are still to come by `Content-Length`. `None` if more have come than that.
    left: Option<u64>,
}

impl<B: Body> Rest<B> {
    /// Returns how many bytes are to be drained. `None` if there is nothing to wait for.
    pub(crate) fn to_drain(&self) -> Option<u64> {
        self.left.filter(|_| !self.body.is_end_stream())
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<NextFrame<B>> {
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let len = data.remaining() as u64;
            self.left = self.left.and_then(|left| left.checked_sub(len));
        }
        Poll::Ready(frame)
    }
}

/// Receives what is left of an upload that was dropped before its end.
pub(crate) type Returned<B> = oneshot::Receiver<Rest<B>>;

/// Holds the upload until its end, and returns it when dropped before.
#[derive(Debug)]
struct Guard<B> {
    upload: Option<(Rest<B>, oneshot::Sender<Rest<B>>)>,
}

impl<B> Drop for Guard<B> {
    fn drop(&mut self) {
        if let Some((rest, returned)) = self.upload.take() {
            // The receiver is gone once the response is on its way.
            let _ = returned.send(rest);
        }
    }
}

impl<B> DrainUploadBody<B> {
    /// A body that the layer doesn't watch.
    pub(crate) fn direct(body: B) -> Self {
        Self {
            kind: Kind::Direct { body },
        }
    }

    /// A body of `len` bytes, and the receiver to which it returns.
    pub(crate) fn watched(body: B, len: u64) -> (Self, Returned<B>) {
        let (returned, receiver) = oneshot::channel();
        let rest = Rest {
            body: Box::pin(body),
            left: Some(len),
        };
        let guard = Guard {
            upload: Some((rest, returned)),
        };
        let kind = Kind::Watched { guard };
        (Self { kind }, receiver)
    }
}

impl<B: Body> Body for DrainUploadBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Direct { body } => body.poll_frame(cx),
            KindProj::Watched { guard } => {
                let Some((rest, _)) = &mut guard.upload else {
                    return Poll::Ready(None);
                };
                let frame = ready!(rest.poll_frame(cx));
                if !matches!(frame, Some(Ok(_))) {
                    guard.upload = None;
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Direct { body } => body.is_end_stream(),
            Kind::Watched { guard } => {
                let upload = guard.upload.as_ref();
                upload.is_none_or(|(rest, _)| rest.body.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Direct { body } => body.size_hint(),
            Kind::Watched { guard } => match &guard.upload {
                Some((rest, _)) => rest.body.size_hint(),
                None => SizeHint::with_exact(0),
            },
        }
    }
}
