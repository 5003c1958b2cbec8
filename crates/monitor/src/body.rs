//! The response body: its end is the end of the call.

use std::future::{Ready, ready};

use tower_revoke_core::{
    BoxError, ByStatus, Classify, Outcome,
    end::{BodyEnd, OnEnd, WatchedBody},
};

use crate::{counters::End, in_flight::InFlight};

/// The body of a response of [`MonitorService`](crate::MonitorService): the inner service's, whose
/// end is counted. Frames, size hint and trailers are its own.
pub type MonitorBody<B, C = ByStatus> = WatchedBody<B, CountOnEnd<C>>;

/// Counts the call when its body ends.
#[derive(Debug)]
pub struct CountOnEnd<C> {
    call: InFlight,
    /// What the head said, if that was all. Only a success still depends on the body's end.
    head: Option<End>,
    classify: C,
}

impl<C> CountOnEnd<C> {
    pub(crate) fn new(mut call: InFlight, head: Option<End>, classify: C) -> Self {
        // A failure in the head stands, whatever becomes of the body.
        if let Some(end) = head.filter(|head| head.outcome != Outcome::Success) {
            call.end_as(end);
        }
        Self {
            call,
            head,
            classify,
        }
    }
}

impl<C: Classify> OnEnd for CountOnEnd<C> {
    type Hold = Ready<Result<(), BoxError>>;

    fn on_end(mut self, end: BodyEnd<'_>) -> Self::Hold {
        let is_open = self
            .head
            .is_none_or(|head| head.outcome == Outcome::Success);
        match end {
            BodyEnd::Complete { trailers } if is_open => {
                let end = self.head;
                let end = end.unwrap_or_else(|| self.classify.of_trailers(trailers).into());
                self.call.end_as(end);
            }
            BodyEnd::Failed if is_open => self.call.end_as(Outcome::Exception.into()),
            // A dropped body: the drop of the call tells a panic from a client that left.
            _ => {}
        }
        ready(Ok(()))
    }
}
