//! The response future: the inner call, then the rest of the upload.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_revoke_core::internal::POLLED_AFTER_COMPLETION;

use crate::{
    DrainUploadLayer,
    body::{Rest, Returned},
    budget::Reserved,
};

pin_project! {
    /// The response future of [`DrainUpload`](crate::DrainUpload). It stops reading when it is dropped.
    pub struct DrainUploadFuture<F, B, ResBody> {
        #[pin]
        state: State<F, B, ResBody>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B, ResBody> {
        Calling { #[pin] call: F, watch: Option<(Returned<B>, DrainUploadLayer)> },
        // Boxed, since most requests don't come here.
        Draining { drain: Pin<Box<Drain<B>>>, response: Option<Response<ResBody>> },
        Done,
    }
}

impl<F, B, ResBody> DrainUploadFuture<F, B, ResBody> {
    pub(crate) fn new(call: F, watch: Option<(Returned<B>, DrainUploadLayer)>) -> Self {
        Self {
            state: State::Calling { call, watch },
        }
    }
}

impl<F, B, ResBody, E> Future for DrainUploadFuture<F, B, ResBody>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    B: Body,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Calling { call, watch } => {
                    let response = ready!(call.poll(cx))?;
                    let watch = watch.take();
                    // Drops the inner future first, with a body or a permit that it still holds.
                    state.set(State::Done);
                    let drain = watch.and_then(|(mut returned, config)| {
                        Drain::of(returned.try_recv().ok()?, &config)
                    });
                    let Some(drain) = drain else {
                        return Poll::Ready(Ok(response));
                    };
                    state.set(State::Draining {
                        drain: Box::pin(drain),
                        response: Some(response),
                    });
                }
                StateProj::Draining { drain, response } => {
                    ready!(drain.as_mut().poll(cx));
                    let response = response.take().expect(POLLED_AFTER_COMPLETION);
                    // What is left unread is dropped before the head is sent, as without this layer.
                    state.set(State::Done);
                    return Poll::Ready(Ok(response));
                }
                #[allow(clippy::panic, reason = "a caller's bug, as in every future")]
                StateProj::Done => panic!("{POLLED_AFTER_COMPLETION}"),
            }
        }
    }
}

pin_project! {
    /// Reads and drops the rest of an upload, or as much as comes in time.
    struct Drain<B> {
        rest: Rest<B>,
        #[pin]
        limit: Sleep,
        _reserved: Reserved,
    }
}

impl<B: Body> Drain<B> {
    /// `None` if nothing is left to come, or if the budget is used up.
    fn of(rest: Rest<B>, config: &DrainUploadLayer) -> Option<Self> {
        let reserved = config.budget.reserve(rest.to_drain()?)?;
        Some(Self {
            rest,
            limit: sleep(config.timeout),
            _reserved: reserved,
        })
    }
}

impl<B: Body> Future for Drain<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut drain = self.project();
        while drain.rest.to_drain().is_some() && drain.limit.as_mut().poll(cx).is_pending() {
            // There is nothing more to read at the end, or from a client that has left.
            if !matches!(ready!(drain.rest.poll_frame(cx)), Some(Ok(_))) {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<F, B, ResBody> fmt::Debug for DrainUploadFuture<F, B, ResBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainUploadFuture").finish_non_exhaustive()
    }
}
