//! The way of one call: use, call, and settle before the head where nothing follows it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_revoke_core::{
    Reason, Rejection, RejectionBody, RejectionFormat,
    end::{Ending, RequestShape},
    internal::respond,
};
use tower_service::Service;

use crate::{
    NotRecorded, RevokeBody,
    config::Config,
    owed::{Settle, TakenUse, TakingUse},
    pending::PendingCall,
};

type Answer<B> = Response<RejectionBody<RevokeBody<B>>>;

/// What the caller gets: an answer, or the inner service's error.
type Output<B, E> = Result<Answer<B>, E>;

pin_project! {
    /// The future of [`Revoke`](crate::Revoke).
    pub struct RevokeFuture<S, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>>,
        ResBody: Body,
    {
        #[pin]
        state: State<S, S::Future, S::Error, ReqBody, ResBody>,
        rejecting: Option<Rejecting>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, E, ReqBody, ResBody: Body> {
        TakingUse {
            #[pin]
            taking: TakingUse,
            ready: Option<(S, Request<ReqBody>)>,
        },
        Calling {
            #[pin]
            call: F,
            owed: Owed,
        },
        Settling {
            #[pin]
            settle: Settle,
            output: Option<Output<ResBody, E>>,
        },
        Answered {
            output: Option<Output<ResBody, E>>,
        },
    }
}

/// What the call owes while it is with the inner service.
enum Owed {
    Nothing,
    Revocation(PendingCall),
    TakenUse(TakenUse),
}

/// What a rejection, and the judgement of a response, need to know of the request.
#[derive(Debug)]
pub(crate) struct Rejecting {
    pub(crate) shape: RequestShape,
    pub(crate) format: Arc<RejectionFormat>,
    pub(crate) config: Arc<Config>,
}

impl Rejecting {
    pub(crate) fn respond<B: Body>(&self, rejection: Rejection) -> Answer<B> {
        RejectionBody::rejected(respond(&self.format, rejection, self.shape))
    }
}

impl<S, ReqBody, ResBody> RevokeFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
    ResBody: Body,
{
    pub(crate) fn rejected(answer: Answer<ResBody>) -> Self {
        Self {
            state: State::Answered {
                output: Some(Ok(answer)),
            },
            rejecting: None,
        }
    }

    pub(crate) fn passing(call: S::Future) -> Self {
        Self {
            state: State::Calling {
                call,
                owed: Owed::Nothing,
            },
            rejecting: None,
        }
    }

    pub(crate) fn revoking(call: S::Future, pending: PendingCall, rejecting: Rejecting) -> Self {
        Self {
            state: State::Calling {
                call,
                owed: Owed::Revocation(pending),
            },
            rejecting: Some(rejecting),
        }
    }

    pub(crate) fn taking(
        taking: TakingUse,
        ready: S,
        request: Request<ReqBody>,
        rejecting: Rejecting,
    ) -> Self {
        Self {
            state: State::TakingUse {
                taking,
                ready: Some((ready, request)),
            },
            rejecting: Some(rejecting),
        }
    }
}

/// What comes after the call.
enum Next<B: Body, E> {
    Answer(Output<B, E>),
    Settle(Settle, Output<B, E>),
}

fn after_head<B: Body, E>(
    response: Response<B>,
    owed: Owed,
    rejecting: Option<&Rejecting>,
) -> Next<B, E> {
    let plain = |response: Response<B>| {
        Ok(response.map(|body| RejectionBody::inner(RevokeBody::plain(body))))
    };
    let Some(rejecting) = rejecting else {
        return Next::Answer(plain(response));
    };
    match owed {
        Owed::Nothing => Next::Answer(plain(response)),
        Owed::TakenUse(used) if rejecting.config.gives_back(&response) => {
            match used.return_rule() {
                Some(settle) => Next::Settle(settle, plain(response)),
                None => Next::Answer(plain(response)),
            }
        }
        Owed::TakenUse(_) => Next::Answer(plain(response)),
        Owed::Revocation(pending) if rejecting.config.gives_back(&response) => {
            pending.withdraw();
            Next::Answer(plain(response))
        }
        Owed::Revocation(pending) => match Ending::of(rejecting.shape, &response) {
            Ending::WithHead => Next::Settle(pending.end(), plain(response)),
            ending => Next::Answer(Ok(response
                .map(|body| RejectionBody::inner(RevokeBody::revoking(body, ending, pending))))),
        },
    }
}

/// The inner service failed without a response: an exception. A layer further out may make a
/// response of the error, so that it waits as a head would.
fn after_error<B: Body, E>(error: E, owed: Owed, rejecting: Option<&Rejecting>) -> Next<B, E> {
    let gives_back = rejecting.is_some_and(|rejecting| rejecting.config.gives_back_errors());
    let settle = match owed {
        Owed::Revocation(pending) if gives_back => {
            pending.withdraw();
            None
        }
        Owed::Revocation(pending) => Some(pending.end()),
        Owed::TakenUse(used) if gives_back => used.return_rule(),
        Owed::TakenUse(_) | Owed::Nothing => None,
    };
    match settle {
        Some(settle) => Next::Settle(settle, Err(error)),
        None => Next::Answer(Err(error)),
    }
}

impl<S, ReqBody, ResBody> Future for RevokeFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    type Output = Result<Answer<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::TakingUse { taking, ready } => {
                    match (ready!(taking.poll(cx)), ready.take(), &this.rejecting) {
                        (Ok(used), Some((mut service, request)), _) => State::Calling {
                            call: service.call(request),
                            owed: Owed::TakenUse(used),
                        },
                        (Err(rejection), _, Some(rejecting)) => State::Answered {
                            output: Some(Ok(rejecting.respond(rejection))),
                        },
                        _ => return Poll::Pending,
                    }
                }
                StateProj::Calling { call, owed } => {
                    let result = ready!(call.poll(cx));
                    let owed = std::mem::replace(owed, Owed::Nothing);
                    let next = match result {
                        Ok(response) => after_head(response, owed, this.rejecting.as_ref()),
                        Err(error) => after_error(error, owed, this.rejecting.as_ref()),
                    };
                    match next {
                        Next::Answer(output) => State::Answered {
                            output: Some(output),
                        },
                        Next::Settle(settle, output) => State::Settling {
                            settle,
                            output: Some(output),
                        },
                    }
                }
                StateProj::Settling { settle, output } => {
                    let settled = ready!(settle.poll(cx));
                    let output = match (settled, &this.rejecting) {
                        (Err(NotRecorded), Some(rejecting)) => {
                            Some(Ok(rejecting.respond(Reason::NotRecorded.into())))
                        }
                        _ => output.take(),
                    };
                    State::Answered { output }
                }
                StateProj::Answered { output } => {
                    return match output.take() {
                        Some(output) => Poll::Ready(output),
                        // Polled after it was done: as a fused future.
                        None => Poll::Pending,
                    };
                }
            };
            this.state.set(next);
        }
    }
}
