//! The response future of both layers.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_revoke_core::{
    Reason, Rejection, RejectionBody, RejectionFormat,
    end::{Ending, RequestShape, WatchedBody},
    internal::{POLLED_AFTER_COMPLETION, respond},
};
use tower_service::Service;

use crate::{
    UseLimitLayer,
    commit::Commit,
    pending::PendingCall,
    use_limit::{TakeUse, TakenUse},
};

/// The inner service's body. After a call that revokes its token, the end of the body waits until the
/// revocation is recorded.
pub type SpendBody<B> = WatchedBody<B, PendingCall>;

/// A response or the inner service's error.
type Output<B, E> = Result<Response<RejectionBody<SpendBody<B>>>, E>;

pin_project! {
    /// The response future of [`UseLimit`](crate::UseLimit) and
    /// [`RevokeAfterResponse`](crate::RevokeAfterResponse). It is `Send` if the inner service, its
    /// future, the request and the response are.
    pub struct SpendFuture<S, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>>,
        ResBody: Body,
    {
        #[pin]
        state: State<S, S::Future, S::Error, ReqBody, ResBody>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, E, ReqBody, ResBody: Body> {
        Taking {
            #[pin]
            take: TakeUse,
            config: Arc<UseLimitLayer>,
            // Until it is called.
            ready: Option<(S, Request<ReqBody>)>,
        },
        Calling {
            #[pin]
            call: F,
            cost: Cost,
        },
        Committing {
            #[pin]
            commit: Commit,
            context: Option<RejectionContext>,
            output: Option<Output<ResBody, E>>,
        },
        Done {
            output: Option<Output<ResBody, E>>,
        },
    }
}

/// What becomes of the token when the inner service has answered.
#[derive(Default)]
pub(crate) enum Cost {
    #[default]
    Nothing,
    /// With the context if the response may have to wait.
    Use(TakenUse, Option<RejectionContext>),
    Revocation(PendingCall, RejectionContext),
}

/// What a rejection needs to know of the request.
#[derive(Debug)]
pub(crate) struct RejectionContext {
    shape: RequestShape,
    format: Arc<RejectionFormat>,
}

impl RejectionContext {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self {
            shape: RequestShape::of(request),
            format: RejectionFormat::of(request.extensions()),
        }
    }

    fn reject<B: Body, E>(&self, rejection: Rejection) -> Option<Output<B, E>> {
        let response = respond(&self.format, rejection, self.shape);
        Some(Ok(RejectionBody::rejected(response)))
    }
}

impl<S, ReqBody, ResBody> SpendFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
    ResBody: Body,
{
    pub(crate) fn rejected(rejection: Rejection, request: &Request<ReqBody>) -> Self {
        let output = RejectionContext::of(request).reject(rejection);
        Self {
            state: State::Done { output },
        }
    }

    pub(crate) fn calling(call: S::Future, cost: Cost) -> Self {
        Self {
            state: State::Calling { call, cost },
        }
    }

    pub(crate) fn taking(
        take: TakeUse,
        config: Arc<UseLimitLayer>,
        ready: S,
        request: Request<ReqBody>,
    ) -> Self {
        let ready = Some((ready, request));
        Self {
            state: State::Taking {
                take,
                config,
                ready,
            },
        }
    }
}

/// Settles the cost of a call, and wraps the inner service's answer.
///
/// An error of the inner service waits for the store as a head does that nothing follows: a layer
/// further out may make a whole response of it.
fn after_call<S, F, ReqBody, B: Body, E>(
    result: Result<Response<B>, E>,
    cost: Cost,
) -> State<S, F, E, ReqBody, B> {
    let (commit, context) = match cost {
        Cost::Nothing => (None, None),
        Cost::Use(taken, context) => (taken.settle(&result), context),
        Cost::Revocation(pending, context) => match (pending.settle(&result), &result) {
            (None, _) => (None, None),
            (Some(pending), Err(_)) => (Some(pending.end()), Some(context)),
            (Some(pending), Ok(response)) => match Ending::of(context.shape, response) {
                Ending::WithHead => (Some(pending.end()), Some(context)),
                ending => {
                    let revoking = |body| SpendBody::new(body, ending, pending);
                    return State::done(result, revoking);
                }
            },
        },
    };
    match (commit, State::done(result, SpendBody::unwatched)) {
        (Some(commit), State::Done { output }) => State::Committing {
            commit,
            context,
            output,
        },
        (_, done) => done,
    }
}

impl<S, F, E, ReqBody, B: Body> State<S, F, E, ReqBody, B> {
    fn done(result: Result<Response<B>, E>, wrap: impl FnOnce(B) -> SpendBody<B>) -> Self {
        let wrap = |response: Response<B>| response.map(|body| RejectionBody::inner(wrap(body)));
        let output = Some(result.map(wrap));
        Self::Done { output }
    }
}

impl<S, ReqBody, ResBody> Future for SpendFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    type Output = Output<ResBody, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Taking {
                    take,
                    config,
                    ready,
                } => {
                    let taken = ready!(take.poll(cx));
                    let (mut service, request) = ready.take().expect(POLLED_AFTER_COMPLETION);
                    let cost = taken.map(|taken| {
                        let is_owed = taken.is_owed();
                        let context = is_owed.then(|| RejectionContext::of(&request));
                        Some(Cost::Use(taken, context))
                    });
                    match config.settings.enforced(cost, &request) {
                        Ok(cost) => State::Calling {
                            call: service.call(request),
                            cost: cost.unwrap_or_default(),
                        },
                        Err(rejection) => State::Done {
                            output: RejectionContext::of(&request).reject(rejection),
                        },
                    }
                }
                StateProj::Calling { call, cost } => {
                    let result = ready!(call.poll(cx));
                    after_call(result, mem::take(cost))
                }
                StateProj::Committing {
                    commit,
                    context,
                    output,
                } => State::Done {
                    output: match (ready!(commit.poll(cx)), context) {
                        (Err(_), Some(context)) => context.reject(Reason::NotRecorded.into()),
                        _ => output.take(),
                    },
                },
                StateProj::Done { output } => {
                    return Poll::Ready(output.take().expect(POLLED_AFTER_COMPLETION));
                }
            };
            state.set(next);
        }
    }
}
