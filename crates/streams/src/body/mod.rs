//! The body that ends with its token.

mod framing;
mod grpc;
mod sse;

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_revoke_core::{
    BoxError, Clock, Rejection, TokenEnd,
    end::{Ending, RequestShape},
};

use self::framing::Framing;
use crate::{TokenEndedError, TokenLifetime, lifetime::Watchable};

/// How long an event or a message that has begun may take to its end, after the token has ended.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

pin_project! {
    /// A body that ends with its token, see [`TokenLifetimeLayer`](crate::TokenLifetimeLayer). It has
    /// the frames, trailers and hints of the inner body.
    pub struct TokenLifetimeBody<B> {
        // Dropped as soon as the token has ended, so that nothing is produced for nobody.
        #[pin]
        inner: Option<B>,
        state: State,
    }
}

// In place rather than boxed: most bodies are one frame, and are never watched.
enum State {
    /// The body is not watched, or no longer.
    Direct,
    /// Nothing has been asked for yet.
    Unread(Unread),
    Live(Live),
    /// Of a request that no bearer layer has seen.
    Misconfigured(Option<Rejection>),
    /// The body has ended with its token.
    Ended,
}

struct Unread {
    watchable: Watchable,
    framing: Framing,
}

struct Live {
    lifetime: TokenLifetime,
    framing: Framing,
    timers: Option<Box<Timers>>,
}

/// The timers that few bodies have.
enum Timers {
    /// When the event before the expiry is due.
    Notice(Pin<Box<Sleep>>),
    /// The token has ended within an event or a message, which may take so long to its end.
    Rest(TokenEnd, Pin<Box<Sleep>>),
}

type Polled<D> = Poll<Option<Result<Frame<D>, BoxError>>>;

impl<B> TokenLifetimeBody<B> {
    /// A body that is not watched.
    pub(crate) fn direct(inner: B) -> Self {
        Self {
            inner: Some(inner),
            state: State::Direct,
        }
    }

    /// The body of a response, which ends as its protocol says.
    pub(crate) fn response(
        response: Response<B>,
        request: RequestShape,
        ending: Ending,
        watchable: Watchable,
    ) -> Response<Self> {
        let framing = Framing::of(request, &response, ending);
        response.map(|body| Self::unread(body, watchable, framing))
    }

    /// The body of a request, which ends with an error.
    pub(crate) fn request(body: B, watchable: Watchable) -> Self {
        Self::unread(body, watchable, Framing::unknown_length())
    }

    pub(crate) fn misconfigured(inner: B, rejection: Rejection) -> Self {
        Self {
            inner: Some(inner),
            state: State::Misconfigured(Some(rejection)),
        }
    }

    fn unread(inner: B, watchable: Watchable, framing: Framing) -> Self {
        Self {
            inner: Some(inner),
            state: State::Unread(Unread { watchable, framing }),
        }
    }
}

impl Unread {
    /// Returns whether a body has nothing to come after its first item.
    fn is_over<D: Buf>(&self, item: &Option<Result<Frame<D>, BoxError>>, at_end: bool) -> bool {
        let Some(Ok(frame)) = item else {
            return true;
        };
        match frame.data_ref() {
            Some(data) => at_end || self.framing.would_be_all(data.remaining()),
            None => true,
        }
    }

    fn watch(self) -> Live {
        let Self { watchable, framing } = self;
        let token = watchable.token();
        let before_expiry = &watchable.settings().before_expiry;
        let timers = match (before_expiry, token.usable_until(), &framing) {
            (Some((before, _)), Some(until), Framing::Events(_)) => {
                let clock = token.revocations().map(|list| list.clock().clone());
                let now = clock.unwrap_or_else(Clock::system).now();
                let left = until.as_secs().saturating_sub(now.as_secs());
                let due = Duration::from_secs(left).saturating_sub(*before);
                Some(Box::new(Timers::Notice(Box::pin(sleep(due)))))
            }
            _ => None,
        };
        Live {
            lifetime: watchable.watch(),
            framing,
            timers,
        }
    }
}

impl Live {
    /// Records a frame that is passed on. Returns it, and whether it is the last.
    fn passes<D: Buf + From<Bytes>>(&mut self, frame: Frame<D>) -> (Frame<D>, bool) {
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return (trailers, true),
        };
        let is_last = self.framing.is_all(data.remaining());
        if self.framing.reads_data() {
            // Data in several pieces can't be read without taking it.
            if data.chunk().len() != data.remaining() {
                data = D::from(data.copy_to_bytes(data.remaining()));
            }
            self.framing.passed(data.chunk());
        }
        (Frame::data(data), is_last)
    }

    /// Returns the part of a frame that ends what has begun.
    fn finishes<D: Buf + From<Bytes>>(&mut self, frame: Frame<D>) -> Frame<D> {
        frame.map_data(|mut data| {
            let bytes = data.copy_to_bytes(data.remaining());
            let length = self.framing.finish(&bytes);
            D::from(bytes.slice(..length))
        })
    }

    /// Returns whether the token has ended. Cheap while it has not.
    fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        self.lifetime.is_ending() && self.lifetime.poll_end(cx).is_ready()
    }

    /// Returns the event before the expiry, if it is due and no other has begun.
    fn poll_notice<D: Buf + From<Bytes>>(&mut self, cx: &mut Context<'_>) -> Polled<D> {
        let Some(Timers::Notice(timer)) = self.timers.as_deref_mut() else {
            return Poll::Pending;
        };
        if !timer.is_elapsed() {
            ready!(timer.as_mut().poll(cx));
        }
        if self.framing.is_midway() {
            return Poll::Pending;
        }
        self.timers = None;
        let Some((before, event)) = &self.lifetime.settings().before_expiry else {
            return Poll::Pending;
        };
        let event = event.with_data(&before.as_secs().to_string());
        Poll::Ready(Some(Ok(Frame::data(D::from(Bytes::from(event))))))
    }
}

impl<B> TokenLifetimeBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
    B::Error: Into<BoxError>,
{
    /// Ends the body, cleanly if its protocol can.
    fn end(self: Pin<&mut Self>, end: TokenEnd) -> Polled<B::Data> {
        let mut this = self.project();
        let state = mem::replace(this.state, State::Ended);
        this.inner.set(None);
        tracing::debug!(target: "tower_revoke::streams", %end, "a stream ends with its token");
        let State::Live(mut live) = state else {
            return Poll::Ready(None);
        };
        live.lifetime.cut(end);
        if matches!(live.framing, Framing::Opaque(_)) || live.framing.is_midway() {
            return Poll::Ready(Some(Err(TokenEndedError::new(end).into())));
        }
        let event = live.lifetime.settings().end_event.as_ref();
        Poll::Ready(live.framing.last_frame(end, event).map(Ok))
    }

    /// Ends the body after the event or message that has begun.
    fn poll_rest(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<B::Data> {
        let mut this = self.as_mut().project();
        let State::Live(live) = this.state else {
            return Poll::Ready(None);
        };
        let Some(Timers::Rest(end, timer)) = live.timers.as_deref_mut() else {
            return Poll::Ready(None);
        };
        let end = *end;
        if !live.framing.is_midway() || timer.as_mut().poll(cx).is_ready() {
            return self.end(end);
        }
        let inner = this.inner.as_mut().as_pin_mut();
        match inner.map_or(Poll::Ready(None), |inner| inner.poll_frame(cx)) {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                Poll::Ready(Some(Ok(live.finishes(frame))))
            }
            Poll::Ready(_) => self.end(end),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_live(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<B::Data> {
        loop {
            let mut this = self.as_mut().project();
            let State::Live(live) = this.state else {
                return Poll::Ready(None);
            };
            if matches!(live.timers.as_deref(), Some(Timers::Rest(..))) {
                return self.poll_rest(cx);
            }
            if live.lifetime.is_ending()
                && let Poll::Ready(end) = live.lifetime.poll_end(cx)
            {
                if !live.framing.is_midway() {
                    return self.end(end);
                }
                let rest = Timers::Rest(end, Box::pin(sleep(REST_TIMEOUT)));
                live.timers = Some(Box::new(rest));
                continue;
            }
            let Some(inner) = this.inner.as_mut().as_pin_mut() else {
                return Poll::Ready(None);
            };
            match inner.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let (frame, is_last) = live.passes(frame);
                    if is_last
                        || this
                            .inner
                            .as_ref()
                            .get_ref()
                            .as_ref()
                            .is_none_or(B::is_end_stream)
                    {
                        *this.state = State::Direct;
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(other) => {
                    *this.state = State::Direct;
                    return Poll::Ready(other.map(|frame| frame.map_err(Into::into)));
                }
                Poll::Pending => {
                    if live.lifetime.poll_end(cx).is_pending() {
                        return live.poll_notice(cx);
                    }
                }
            }
        }
    }
}

impl<B> Body for TokenLifetimeBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.as_mut().project();
        match this.state {
            State::Live(_) => return self.poll_live(cx),
            State::Ended => return Poll::Ready(None),
            State::Misconfigured(rejection) => {
                this.inner.set(None);
                return Poll::Ready(rejection.take().map(|it| Err(it.into())));
            }
            State::Direct | State::Unread(_) => {}
        }
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let polled = inner.poll_frame(cx).map_err(Into::into);
        let State::Unread(unread) = mem::replace(this.state, State::Direct) else {
            return polled;
        };
        let at_end = this
            .inner
            .as_ref()
            .get_ref()
            .as_ref()
            .is_none_or(B::is_end_stream);
        match polled {
            Poll::Ready(item) if unread.is_over(&item, at_end) => Poll::Ready(item),
            Poll::Ready(Some(Ok(frame))) => {
                let mut live = unread.watch();
                if live.has_ended(cx) {
                    // The frame is dropped, and the body ends as if it had not been produced.
                    *this.state = State::Live(live);
                    return self.poll_live(cx);
                }
                let (frame, _) = live.passes(frame);
                *this.state = State::Live(live);
                Poll::Ready(Some(Ok(frame)))
            }
            _ => {
                *this.state = State::Live(unread.watch());
                self.poll_live(cx)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.state {
            State::Ended => true,
            _ => self.inner.as_ref().is_none_or(B::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for TokenLifetimeBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenLifetimeBody")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
