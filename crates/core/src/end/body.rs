//! A body that runs a future before it yields its last frame.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::Ending;
use crate::BoxError;

/// Acts on the end of a body.
pub trait OnEnd {
    /// The future that delays the end.
    type Hold: Future<Output = Result<(), BoxError>>;

    /// Called exactly once, when the body is about to end.
    ///
    /// The last frame is yielded after the returned future has completed. If the future fails, the
    /// body fails with its error in place of that frame, so that the client can't take the response
    /// for complete. For [`BodyEnd::Cancelled`] the future is dropped without being polled.
    fn on_end(self, end: BodyEnd<'_>) -> Self::Hold;
}

/// How a body ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum BodyEnd<'a> {
    /// The body is complete.
    Complete {
        /// The trailers, if there are any.
        trailers: Option<&'a HeaderMap>,
    },
    /// The body failed before its end.
    Failed,
    /// The body was dropped before its end, because the client left or an outer layer gave up.
    Cancelled,
}

pin_project! {
    /// A body that calls an [`OnEnd`] before it yields its last frame. It keeps an exact size hint
    /// and the trailers.
    pub struct WatchedBody<B: Body, W: OnEnd> {
        #[pin]
        inner: B,
        state: State<W>,
        // The last item, until `hold` completes. A server stops polling once it has the last byte,
        // so work that is started after that frame has been yielded might never run.
        held: Option<Held<B::Data>>,
        #[pin]
        hold: Option<W::Hold>,
    }

    impl<B: Body, W: OnEnd> PinnedDrop for WatchedBody<B, W> {
        fn drop(this: Pin<&mut Self>) {
            if let State::Open { watcher, .. } = mem::replace(this.project().state, State::Ended) {
                drop(watcher.on_end(BodyEnd::Cancelled));
            }
        }
    }
}

enum State<W> {
    Open { watcher: W, ending: Ending },
    Ended,
}

/// The next result of [`Body::poll_frame`]: the frame, an error, or `None`.
type Held<D> = Option<Result<Frame<D>, BoxError>>;

impl<B: Body, W: OnEnd> WatchedBody<B, W> {
    /// Makes a body that passes all frames through and calls no [`OnEnd`].
    pub fn unwatched(inner: B) -> Self {
        Self {
            inner,
            state: State::Ended,
            held: None,
            hold: None,
        }
    }

    /// Makes a body that calls `watcher` when `ending` is reached.
    ///
    /// It is meant for responses that don't end with their head. [`Ending::WithHead`] is treated as
    /// [`Ending::WithBody`].
    pub fn new(inner: B, ending: Ending, watcher: W) -> Self {
        Self {
            inner,
            state: State::Open { watcher, ending },
            held: None,
            hold: None,
        }
    }
}

impl<'a> BodyEnd<'a> {
    /// Returns how a body ends whose last item is `last`.
    pub fn of<D, E>(last: &'a Option<Result<Frame<D>, E>>) -> Self {
        match last {
            Some(Err(_)) => Self::Failed,
            Some(Ok(frame)) => Self::Complete {
                trailers: frame.trailers_ref(),
            },
            None => Self::Complete { trailers: None },
        }
    }
}

impl<B, W> Body for WatchedBody<B, W>
where
    B: Body,
    B::Error: Into<BoxError>,
    W: OnEnd,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        loop {
            if let Some(hold) = this.hold.as_mut().as_pin_mut() {
                let result = ready!(hold.poll(cx));
                this.hold.set(None);
                let next = this.held.take().flatten();
                return Poll::Ready(match result {
                    Ok(()) => next,
                    Err(error) => Some(Err(error)),
                });
            }
            let next = ready!(this.inner.as_mut().poll_frame(cx));
            let next = next.map(|frame| frame.map_err(Into::into));
            let at_end = this.inner.is_end_stream();
            let is_last = match this.state {
                State::Open { ending, .. } => ending.is_reached(&next, at_end),
                State::Ended => false,
            };
            if !is_last {
                return Poll::Ready(next);
            }
            if let State::Open { watcher, .. } = mem::replace(this.state, State::Ended) {
                this.hold.set(Some(watcher.on_end(BodyEnd::of(&next))));
                *this.held = Some(next);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended) && self.hold.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.size_hint();
        let held = match &self.held {
            Some(Some(Ok(frame))) => frame.data_ref().map_or(0, |data| data.remaining() as u64),
            _ => 0,
        };
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(held));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

impl<B: Body + fmt::Debug, W: OnEnd> fmt::Debug for WatchedBody<B, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedBody")
            .field("inner", &self.inner)
            .field("ended", &matches!(self.state, State::Ended))
            .finish_non_exhaustive()
    }
}
