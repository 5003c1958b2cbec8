//! The response body: its end is the end of the call.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_revoke_core::{
    ByStatus, Classify, Outcome,
    end::{BodyEnd, Ending},
};

use crate::{counters::End, in_flight::InFlight};

pin_project! {
    /// The body of a response of [`MonitorService`](crate::MonitorService): the inner service's, whose
    /// end is counted. Frames, errors, size hint and trailers are its own.
    #[derive(Debug)]
    pub struct MonitorBody<B, C = ByStatus> {
        #[pin]
        inner: B,
        // `None` once the call is counted.
        open: Option<Open<C>>,
    }
}

/// A call whose body has not ended. If it is dropped, the call is counted as what it ends as so far.
#[derive(Debug)]
struct Open<C> {
    call: InFlight,
    ending: Ending,
    /// What the head said, if that was all. Only a success still depends on the body's end.
    head: Option<End>,
    classify: C,
}

impl<B, C> MonitorBody<B, C> {
    /// Makes the body of a call that is counted already.
    pub(crate) fn counted(inner: B) -> Self {
        Self { inner, open: None }
    }

    pub(crate) fn counting(
        inner: B,
        ending: Ending,
        mut call: InFlight,
        head: Option<End>,
        classify: C,
    ) -> Self {
        // A failure in the head stands, whatever becomes of the body.
        if let Some(end) = head.filter(|head| head.outcome != Outcome::Success) {
            call.end_as(end);
        }
        Self {
            inner,
            open: Some(Open {
                call,
                ending,
                head,
                classify,
            }),
        }
    }
}

impl<C: Classify> Open<C> {
    fn end(mut self, end: BodyEnd<'_>) {
        if self
            .head
            .is_some_and(|head| head.outcome != Outcome::Success)
        {
            return;
        }
        match end {
            BodyEnd::Complete { trailers } => {
                let end = self.head;
                let end = end.unwrap_or_else(|| self.classify.of_trailers(trailers).into());
                self.call.end_as(end);
            }
            BodyEnd::Failed => self.call.end_as(Outcome::Exception.into()),
            _ => {}
        }
    }
}

impl<B: Body, C: Classify> Body for MonitorBody<B, C> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let next = ready!(this.inner.as_mut().poll_frame(cx));
        if let Some(open) = this.open {
            if let Some(Ok(frame)) = &next
                && let Some(data) = frame.data_ref()
            {
                open.call.add_bytes(data.remaining() as u64);
            }
            if open.ending.is_reached(&next, this.inner.is_end_stream())
                && let Some(open) = this.open.take()
            {
                open.end(BodyEnd::of(&next));
            }
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
