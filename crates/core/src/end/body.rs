//! A body whose end is watched, before its last frame is handed on.

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
    /// The future that holds the end back.
    type Hold: Future<Output = Result<(), BoxError>>;

    /// Called once, when the body is about to end. The frame that ends it is handed on when the returned
    /// future has completed. If the future fails, so does the body, so that the client can't take it
    /// for complete. For [`BodyEnd::Cancelled`] the future is dropped without being polled.
    fn on_end(self, end: BodyEnd<'_>) -> Self::Hold;
}

/// How a body ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum BodyEnd<'a> {
    /// It is complete.
    Complete {
        /// The trailers, if there are any.
        trailers: Option<&'a HeaderMap>,
    },
    /// It failed before its end.
    Failed,
    /// It was dropped before its end: the client left, or a layer further out gave up.
    Cancelled,
}

pin_project! {
    /// A body whose end is watched. Its size hint stays exact, and its trailers are kept.
    pub struct WatchedBody<B: Body, W: OnEnd> {
        #[pin]
        inner: B,
        state: State<W>,
        // The next item, while `hold` holds it back.
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
    /// Makes a body that is handed on as it is.
    pub fn unwatched(inner: B) -> Self {
        Self {
            inner,
            state: State::Ended,
            held: None,
            hold: None,
        }
    }

    /// Watches a body that doesn't end with its head. [`Ending::WithHead`] is treated as
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

/// Whether `next` ends a body that ends at `ending`; counts a promised length down.
fn ends<D: Buf>(next: &Held<D>, ending: &mut Ending, at_end: bool) -> bool {
    let Some(Ok(frame)) = next else {
        return true;
    };
    let Some(data) = frame.data_ref() else {
        return true;
    };
    match ending {
        Ending::AfterBytes(left) => {
            *left = left.saturating_sub(data.remaining() as u64);
            *left == 0 || at_end
        }
        Ending::WithBody | Ending::WithHead => at_end,
    }
}

fn body_end<D>(next: &Held<D>) -> BodyEnd<'_> {
    match next {
        Some(Err(_)) => BodyEnd::Failed,
        Some(Ok(frame)) => BodyEnd::Complete {
            trailers: frame.trailers_ref(),
        },
        None => BodyEnd::Complete { trailers: None },
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
                State::Open { ending, .. } => ends(&next, ending, at_end),
                State::Ended => false,
            };
            if !is_last {
                return Poll::Ready(next);
            }
            if let State::Open { watcher, .. } = mem::replace(this.state, State::Ended) {
                this.hold.set(Some(watcher.on_end(body_end(&next))));
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
