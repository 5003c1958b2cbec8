//! The response future: a refusal, a token being verified, or the inner service's answer.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_revoke_core::{Authenticated, BearerToken, BoxFuture, Rejection, RejectionBody};
use tower_service::Service;

use crate::{policy::Policy, source::keep_private};

pin_project! {
    /// The response future of [`RequireBearer`](crate::RequireBearer). It is `Send` if the inner
    /// service, its future and the request are.
    pub struct RequireBearerFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Refused { response: Option<Response<Full<Bytes>>> },
        // Boxed, so that a request whose token is known doesn't carry its room about.
        Verifying { verdict: Verdict, waiting: Option<Box<Waiting<S, B>>> },
        Calling { #[pin] call: S::Future, in_query: bool },
    }
}

/// What the verifier says, and of which token.
type Verdict = BoxFuture<'static, (Result<Authenticated, Rejection>, BearerToken)>;

/// What waits for the verdict: the request, and the service that was made ready for it.
struct Waiting<S, B> {
    service: S,
    request: Request<B>,
    policy: Arc<Policy>,
    in_query: bool,
}

impl<S, B> RequireBearerFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(crate) fn refused(response: Response<Full<Bytes>>) -> Self {
        let response = Some(response);
        Self {
            state: State::Refused { response },
        }
    }

    pub(crate) fn verifying(
        verdict: Verdict,
        service: S,
        request: Request<B>,
        policy: Arc<Policy>,
        in_query: bool,
    ) -> Self {
        let waiting = Some(Box::new(Waiting {
            service,
            request,
            policy,
            in_query,
        }));
        Self {
            state: State::Verifying { verdict, waiting },
        }
    }

    pub(crate) fn calling(call: S::Future, in_query: bool) -> Self {
        Self {
            state: State::Calling { call, in_query },
        }
    }
}

impl<S, B, ResBody> Future for RequireBearerFuture<S, B>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
{
    type Output = Result<Response<RejectionBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const POLLED_AGAIN: &str = "a future is not polled after it has given its output";
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Refused { response } => {
                    let response = response.take().expect(POLLED_AGAIN);
                    return Poll::Ready(Ok(RejectionBody::rejected(response)));
                }
                StateProj::Verifying { verdict, waiting } => {
                    let (answer, token) = ready!(verdict.as_mut().poll(cx));
                    let Waiting {
                        mut service,
                        mut request,
                        policy,
                        in_query,
                    } = *waiting.take().expect(POLLED_AGAIN);
                    let answer = answer.map(Some);
                    let next = match policy.admit(answer, Some(token), request.extensions_mut()) {
                        Ok(()) => State::Calling {
                            call: service.call(request),
                            in_query,
                        },
                        Err(rejection) => State::Refused {
                            response: Some(policy.refuse(rejection, &request)),
                        },
                    };
                    state.set(next);
                }
                StateProj::Calling { call, in_query } => {
                    let mut response = ready!(call.poll(cx))?;
                    if *in_query {
                        keep_private(&mut response);
                    }
                    return Poll::Ready(Ok(response.map(RejectionBody::inner)));
                }
            }
        }
    }
}

impl<S, B> fmt::Debug for RequireBearerFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Refused { .. } => "refused",
            State::Verifying { .. } => "verifying",
            State::Calling { .. } => "calling",
        };
        f.debug_struct("RequireBearerFuture")
            .field("state", &state)
            .finish()
    }
}
