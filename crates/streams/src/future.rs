//! The response future: wraps the body, or rejects an upgrade whose lifetime was not taken.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_revoke_core::{
    Rejection, RejectionBody, RejectionFormat,
    end::{Ending, RequestShape},
    internal::{POLLED_AFTER_COMPLETION, respond},
};

use crate::{TokenLifetimeBody, lifetime::Watchable};

pin_project! {
    /// The response future of [`TokenLifetimeService`](crate::TokenLifetimeService).
    pub struct TokenLifetimeFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Calling { #[pin] call: F, watched: Option<Watched> },
        Rejected { response: Option<Response<Full<Bytes>>> },
    }
}

/// What the response needs to know of the request.
pub(crate) struct Watched {
    pub(crate) watchable: Watchable,
    pub(crate) request: RequestShape,
    pub(crate) is_taken: Option<Arc<AtomicBool>>,
    pub(crate) format: Arc<RejectionFormat>,
}

impl Watched {
    fn is_unwatched_upgrade(&self, status: StatusCode) -> bool {
        let upgrades = status == StatusCode::SWITCHING_PROTOCOLS
            || self.request.is_connect() && status.is_success();
        let is_taken = self.is_taken.as_ref();
        upgrades && !is_taken.is_some_and(|is_taken| is_taken.load(Ordering::Acquire))
    }

    fn watch<B: Body>(
        self,
        mut response: Response<B>,
    ) -> Response<RejectionBody<TokenLifetimeBody<B>>> {
        if self.is_unwatched_upgrade(response.status()) {
            let rejection = Rejection::misconfigured(
                "the handler upgrades the connection and did not take the TokenLifetime of its \
                 request, so that the connection would outlive its token",
            );
            return RejectionBody::rejected(respond(&self.format, rejection, self.request));
        }
        // A proxy may have copied the version of its upstream, and the server would then end the
        // body by closing the connection. Over HTTP/1.0, that is so whatever the response says.
        if response.version() < Version::HTTP_11 {
            *response.version_mut() = Version::HTTP_11;
        }
        match Ending::of(self.request.at_least_http_11(), &response) {
            Ending::WithHead => response.map(TokenLifetimeBody::direct),
            ending => TokenLifetimeBody::response(response, self.request, ending, self.watchable),
        }
        .map(RejectionBody::inner)
    }
}

impl<F> TokenLifetimeFuture<F> {
    pub(crate) fn calling(call: F, watched: Option<Watched>) -> Self {
        Self {
            state: State::Calling { call, watched },
        }
    }

    pub(crate) fn rejected(response: Response<Full<Bytes>>) -> Self {
        let response = Some(response);
        Self {
            state: State::Rejected { response },
        }
    }
}

impl<F, B, E> Future for TokenLifetimeFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<RejectionBody<TokenLifetimeBody<B>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Calling { call, watched } => {
                let response = ready!(call.poll(cx))?;
                Poll::Ready(Ok(match watched.take() {
                    Some(watched) => watched.watch(response),
                    None => {
                        response.map(|body| RejectionBody::inner(TokenLifetimeBody::direct(body)))
                    }
                }))
            }
            StateProj::Rejected { response } => {
                let response = response.take().expect(POLLED_AFTER_COMPLETION);
                Poll::Ready(Ok(RejectionBody::rejected(response)))
            }
        }
    }
}

impl<F> fmt::Debug for TokenLifetimeFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenLifetimeFuture")
            .finish_non_exhaustive()
    }
}
