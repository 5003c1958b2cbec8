//! The response future: a rejection, a token being verified, or the inner service's answer.

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
use tower_revoke_core::{
    Authenticated, BearerContext, BearerToken, BoxFuture, Rejection, RejectionBody, TokenVerifier,
    internal::{HeadGuard, POLLED_AFTER_COMPLETION, PreparedUse},
};
use tower_service::Service;

use crate::{
    candidates::{Asked, choose},
    service::Shared,
    source::keep_private,
};

pin_project! {
    /// The response future of [`RequireBearer`](crate::RequireBearer). It is `Send` if the inner
    /// service, its future and the request are.
    pub struct RequireBearerFuture<S, V, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, V, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, V, B>
    where
        S: Service<Request<B>>,
    {
        // Boxed, so that the future of a request whose token is cached stays small.
        Verifying { verdict: Verdict, waiting: Option<Box<Waiting<S, V, B>>> },
        // Admitted, until the inner service is ready.
        Admitted { token: Option<BearerToken>, has_waited: bool, waiting: Option<Box<Waiting<S, V, B>>> },
        // The use of a token that is good for one request is being taken.
        Taking { taken: BoxFuture<'static, Result<u32, Rejection>>, waiting: Option<Box<Waiting<S, V, B>>> },
        // The guard is dropped when the head passes.
        Calling { #[pin] call: S::Future, in_query: bool, head: Option<HeadGuard> },
        Rejected { response: Option<Response<Full<Bytes>>> },
    }
}

/// The verifier's answer, and the token that it is about, if there is one.
type Verdict = BoxFuture<'static, (Result<Authenticated, Rejection>, Option<BearerToken>)>;

/// A request that waits, and the service to call.
struct Waiting<S, V, B> {
    service: S,
    is_ready: bool,
    request: Request<B>,
    shared: Arc<Shared<V>>,
    in_query: bool,
    /// `None` until the request is admitted.
    head: Option<HeadGuard>,
}

impl<S, V: TokenVerifier, B> Waiting<S, V, B> {
    fn verdict(&self, asked: Asked) -> Verdict {
        let verifier = self.shared.verifier.clone();
        match asked {
            Asked::One(token) => {
                Box::pin(async move { (verifier.verify(&token).await, Some(token)) })
            }
            Asked::OneOf(candidates) => Box::pin(choose(verifier, candidates)),
        }
    }

    /// Returns the state after the verifier's answer.
    fn after(
        mut self: Box<Self>,
        answer: Result<Authenticated, Rejection>,
        token: Option<BearerToken>,
    ) -> State<S, V, B>
    where
        S: Service<Request<B>>,
    {
        let policy = &self.shared.policy;
        let answer = policy.despite_the_list(answer, token.as_ref());
        // A layer that only observes admits a rejected token too, which needs no second verdict.
        let to_verify_again = token.clone().filter(|_| answer.is_ok());
        match policy.admit(answer.map(Some), token, self.request.extensions_mut()) {
            Ok(head) => self.head = Some(head),
            Err(rejection) => {
                let response = Some(policy.reject(rejection, &self.request));
                return State::Rejected { response };
            }
        }
        if self.is_ready {
            return self.call_once();
        }
        State::Admitted {
            token: to_verify_again,
            has_waited: false,
            waiting: Some(self),
        }
    }

    /// Calls the inner service, once the use of a token is taken that is good for one request.
    fn call_once(self: Box<Self>) -> State<S, V, B>
    where
        S: Service<Request<B>>,
    {
        let caller = Authenticated::of(self.request.extensions()).ok();
        match caller.and_then(|caller| PreparedUse::single(caller.token())) {
            None => self.call(),
            Some(prepared) => State::Taking {
                taken: Box::pin(async move { prepared?.take_or_return().await }),
                waiting: Some(self),
            },
        }
    }

    /// Returns the state after the use was taken, or not.
    fn after_use(mut self, taken: Result<u32, Rejection>) -> State<S, V, B>
    where
        S: Service<Request<B>>,
    {
        let Err(rejection) = taken else {
            return self.call();
        };
        let policy = &self.shared.policy;
        let extensions = self.request.extensions_mut();
        let token = BearerContext::of(extensions).and_then(|context| context.token().cloned());
        match policy.admit(Err(rejection), token, extensions) {
            Ok(head) => {
                self.head = Some(head);
                self.call()
            }
            Err(rejection) => {
                let response = Some(policy.reject(rejection, &self.request));
                State::Rejected { response }
            }
        }
    }

    fn call(self) -> State<S, V, B>
    where
        S: Service<Request<B>>,
    {
        let Self {
            mut service,
            request,
            in_query,
            head,
            ..
        } = self;
        State::Calling {
            call: service.call(request),
            in_query,
            head,
        }
    }
}

impl<S, V, B> RequireBearerFuture<S, V, B>
where
    S: Service<Request<B>>,
{
    pub(crate) fn calling(call: S::Future, in_query: bool, head: HeadGuard) -> Self {
        let head = Some(head);
        Self {
            state: State::Calling {
                call,
                in_query,
                head,
            },
        }
    }

    pub(crate) fn rejected(response: Response<Full<Bytes>>) -> Self {
        let response = Some(response);
        Self {
            state: State::Rejected { response },
        }
    }

    /// `service` has not been made ready.
    pub(crate) fn verifying(
        service: S,
        shared: Arc<Shared<V>>,
        asked: Asked,
        request: Request<B>,
        in_query: bool,
    ) -> Self
    where
        V: TokenVerifier,
    {
        let waiting = Box::new(Waiting {
            service,
            is_ready: false,
            request,
            shared,
            in_query,
            head: None,
        });
        Self {
            state: State::Verifying {
                verdict: waiting.verdict(asked),
                waiting: Some(waiting),
            },
        }
    }
}

impl<S, V, B, ResBody> Future for RequireBearerFuture<S, V, B>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    V: TokenVerifier,
{
    type Output = Result<Response<RejectionBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Verifying { verdict, waiting } => {
                    let (answer, token) = ready!(verdict.as_mut().poll(cx));
                    let waiting = waiting.take().expect(POLLED_AFTER_COMPLETION);
                    waiting.after(answer, token)
                }
                StateProj::Admitted {
                    token,
                    has_waited,
                    waiting: boxed,
                } => {
                    let waiting = boxed.as_mut().expect(POLLED_AFTER_COMPLETION);
                    let Poll::Ready(ready) = waiting.service.poll_ready(cx) else {
                        *has_waited = true;
                        return Poll::Pending;
                    };
                    ready?;
                    let mut waiting = boxed.take().expect(POLLED_AFTER_COMPLETION);
                    waiting.is_ready = true;
                    if let Some(token) = token.take().filter(|_| *has_waited) {
                        // The token may have been revoked meanwhile. If the verifier has to wait again,
                        // this request keeps its ready service: it would never be served where every
                        // verdict takes longer than the inner service stays ready.
                        match waiting.shared.verifier.verify_cached(&token) {
                            Some(answer) => waiting.after(answer, Some(token)),
                            None => State::Verifying {
                                verdict: waiting.verdict(Asked::One(token)),
                                waiting: Some(waiting),
                            },
                        }
                    } else {
                        waiting.call_once()
                    }
                }
                StateProj::Taking { taken, waiting } => {
                    let taken = ready!(taken.as_mut().poll(cx));
                    let waiting = waiting.take().expect(POLLED_AFTER_COMPLETION);
                    waiting.after_use(taken)
                }
                StateProj::Calling {
                    call,
                    in_query,
                    head,
                } => {
                    let result = ready!(call.poll(cx));
                    // Before the head is handed on: from now on no use can be returned.
                    drop(head.take());
                    let mut response = result?;
                    if *in_query {
                        keep_private(&mut response);
                    }
                    return Poll::Ready(Ok(response.map(RejectionBody::inner)));
                }
                StateProj::Rejected { response } => {
                    let response = response.take().expect(POLLED_AFTER_COMPLETION);
                    return Poll::Ready(Ok(RejectionBody::rejected(response)));
                }
            };
            state.set(next);
        }
    }
}

impl<S, V, B> fmt::Debug for RequireBearerFuture<S, V, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireBearerFuture")
            .finish_non_exhaustive()
    }
}
