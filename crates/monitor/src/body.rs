//! The response body: its end is the end of the call.

use std::{
    future::{Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_revoke_core::{
    BoxError, ByStatus, Classify,
    end::{BodyEnd, Ending, OnEnd, WatchedBody},
};

use crate::{counters::Verdict, guard::InFlight};

pin_project! {
    /// The inner service's body, whose end is counted. Frames, size hint and trailers are its own.
    #[derive(Debug)]
    pub struct MonitorBody<B: Body, C: Classify = ByStatus> {
        #[pin]
        body: WatchedBody<B, Watcher<C>>,
    }
}

impl<B: Body, C: Classify> MonitorBody<B, C> {
    /// A body whose call is counted already.
    pub(crate) fn plain(body: B) -> Self {
        Self {
            body: WatchedBody::unwatched(body),
        }
    }

    pub(crate) fn watched(body: B, ending: Ending, watcher: Watcher<C>) -> Self {
        Self {
            body: WatchedBody::new(body, ending, watcher),
        }
    }
}

impl<B, C> Body for MonitorBody<B, C>
where
    B: Body,
    B::Error: Into<BoxError>,
    C: Classify,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Counts the call when its body ends.
#[derive(Debug)]
pub(crate) struct Watcher<C> {
    call: InFlight,
    /// What the head said, if it said all. Only a success still depends on the body's end.
    head: Option<Verdict>,
    classify: C,
}

impl<C> Watcher<C> {
    pub(crate) fn new(mut call: InFlight, head: Option<Verdict>, classify: C) -> Self {
        // What is ill stays so, whatever becomes of the body.
        if let Some(verdict) = head.filter(|head| *head != Verdict::Success) {
            call.judge(verdict);
        }
        Self {
            call,
            head,
            classify,
        }
    }
}

impl<C: Classify> OnEnd for Watcher<C> {
    type Hold = Ready<Result<(), BoxError>>;

    fn on_end(mut self, end: BodyEnd<'_>) -> Self::Hold {
        let open = matches!(self.head, None | Some(Verdict::Success));
        match end {
            BodyEnd::Complete { trailers } if open => {
                let verdict = self
                    .head
                    .unwrap_or_else(|| self.classify.of_trailers(trailers).into());
                self.call.judge(verdict);
            }
            BodyEnd::Failed if open => self.call.judge(Verdict::Exception),
            // A body that is dropped: the call's own end says whether by a panic.
            _ => {}
        }
        ready(Ok(()))
    }
}
