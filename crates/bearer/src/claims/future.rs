//! The response future: a refusal, or the inner service's answer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_revoke_core::RejectionBody;

pin_project! {
    /// The response future of [`RequireClaims`](crate::RequireClaims).
    #[derive(Debug)]
    pub struct RequireClaimsFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Refused { response: Option<Response<Full<Bytes>>> },
        Calling { #[pin] call: F },
    }
}

impl<F> RequireClaimsFuture<F> {
    pub(super) fn refused(response: Response<Full<Bytes>>) -> Self {
        let response = Some(response);
        Self {
            state: State::Refused { response },
        }
    }

    pub(super) fn calling(call: F) -> Self {
        Self {
            state: State::Calling { call },
        }
    }
}

impl<F, B, E> Future for RequireClaimsFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<RejectionBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Refused { response } => {
                let response = response
                    .take()
                    .expect("a future is not polled after it has given its output");
                Poll::Ready(Ok(RejectionBody::rejected(response)))
            }
            StateProj::Calling { call } => {
                let response = ready!(call.poll(cx))?;
                Poll::Ready(Ok(response.map(RejectionBody::inner)))
            }
        }
    }
}
