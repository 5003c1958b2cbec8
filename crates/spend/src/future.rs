//! The way of one call: claim, call, and settle before the head where nothing follows it.

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
};
use tower_service::Service;

use crate::{
    NotRecorded, RevokeBody,
    config::Config,
    owed::{Claiming, Debt, Settle, Use},
};

type Answer<B> = Response<RejectionBody<RevokeBody<B>>>;

pin_project! {
    /// The future of [`Revoke`](crate::Revoke).
    pub struct RevokeFuture<S, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>>,
        ResBody: Body,
    {
        #[pin]
        state: State<S, S::Future, ReqBody, ResBody>,
        refusing: Option<Refusing>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, ReqBody, ResBody: Body> {
        Claiming {
            #[pin]
            claiming: Claiming,
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
            answer: Option<Answer<ResBody>>,
        },
        Answered {
            answer: Option<Answer<ResBody>>,
        },
    }
}

/// What the call owes while it is with the inner service.
enum Owed {
    Nothing,
    Life(Debt),
    Use(Use),
}

/// What a refusal, and the judgement of a response, need to know of the request.
#[derive(Debug)]
pub(crate) struct Refusing {
    pub(crate) shape: RequestShape,
    pub(crate) format: Arc<RejectionFormat>,
    pub(crate) config: Arc<Config>,
}

impl Refusing {
    pub(crate) fn respond<B: Body>(&self, rejection: Rejection) -> Answer<B> {
        RejectionBody::rejected(self.format.respond(rejection, self.shape.is_grpc()))
    }
}

impl<S, ReqBody, ResBody> RevokeFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
    ResBody: Body,
{
    pub(crate) fn refused(answer: Answer<ResBody>) -> Self {
        Self {
            state: State::Answered {
                answer: Some(answer),
            },
            refusing: None,
        }
    }

    pub(crate) fn passing(call: S::Future) -> Self {
        Self {
            state: State::Calling {
                call,
                owed: Owed::Nothing,
            },
            refusing: None,
        }
    }

    pub(crate) fn in_debt(call: S::Future, debt: Debt, refusing: Refusing) -> Self {
        Self {
            state: State::Calling {
                call,
                owed: Owed::Life(debt),
            },
            refusing: Some(refusing),
        }
    }

    pub(crate) fn claiming(
        claiming: Claiming,
        ready: S,
        request: Request<ReqBody>,
        refusing: Refusing,
    ) -> Self {
        Self {
            state: State::Claiming {
                claiming,
                ready: Some((ready, request)),
            },
            refusing: Some(refusing),
        }
    }
}

/// What comes after the head.
enum Next<B: Body> {
    Answer(Answer<B>),
    Settle(Settle, Answer<B>),
}

fn after_head<B: Body>(response: Response<B>, owed: Owed, refusing: Option<&Refusing>) -> Next<B> {
    let plain =
        |response: Response<B>| response.map(|body| RejectionBody::inner(RevokeBody::plain(body)));
    let Some(refusing) = refusing else {
        return Next::Answer(plain(response));
    };
    match owed {
        Owed::Nothing => Next::Answer(plain(response)),
        Owed::Use(used) if refusing.config.gives_back(&response) => match used.give_back() {
            Some(settle) => Next::Settle(settle, plain(response)),
            None => Next::Answer(plain(response)),
        },
        Owed::Use(_) => Next::Answer(plain(response)),
        Owed::Life(debt) if refusing.config.gives_back(&response) => {
            debt.spare();
            Next::Answer(plain(response))
        }
        Owed::Life(debt) => match Ending::of(refusing.shape, &response) {
            Ending::WithHead => Next::Settle(debt.pay(), plain(response)),
            ending => Next::Answer(
                response.map(|body| RejectionBody::inner(RevokeBody::owing(body, ending, debt))),
            ),
        },
    }
}

/// The inner service failed without a response: an exception, and nobody is left to wait for.
fn settle_error(owed: Owed, refusing: Option<&Refusing>) {
    if !refusing.is_some_and(|refusing| refusing.config.gives_back_errors()) {
        return;
    }
    match owed {
        Owed::Nothing => {}
        Owed::Life(debt) => debt.spare(),
        Owed::Use(used) => drop(used.give_back()),
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
                StateProj::Claiming { claiming, ready } => {
                    match (ready!(claiming.poll(cx)), ready.take(), &this.refusing) {
                        (Ok(used), Some((mut service, request)), _) => State::Calling {
                            call: service.call(request),
                            owed: Owed::Use(used),
                        },
                        (Err(rejection), _, Some(refusing)) => State::Answered {
                            answer: Some(refusing.respond(rejection)),
                        },
                        _ => return Poll::Pending,
                    }
                }
                StateProj::Calling { call, owed } => {
                    let result = ready!(call.poll(cx));
                    let owed = std::mem::replace(owed, Owed::Nothing);
                    match result {
                        Ok(response) => match after_head(response, owed, this.refusing.as_ref()) {
                            Next::Answer(answer) => State::Answered {
                                answer: Some(answer),
                            },
                            Next::Settle(settle, answer) => State::Settling {
                                settle,
                                answer: Some(answer),
                            },
                        },
                        Err(error) => {
                            settle_error(owed, this.refusing.as_ref());
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                StateProj::Settling { settle, answer } => {
                    let settled = ready!(settle.poll(cx));
                    let answer = match (settled, &this.refusing) {
                        (Err(NotRecorded), Some(refusing)) => {
                            Some(refusing.respond(Reason::NotRecorded.into()))
                        }
                        _ => answer.take(),
                    };
                    State::Answered { answer }
                }
                StateProj::Answered { answer } => {
                    return match answer.take() {
                        Some(answer) => Poll::Ready(Ok(answer)),
                        // Polled after it was done: as a fused future.
                        None => Poll::Pending,
                    };
                }
            };
            this.state.set(next);
        }
    }
}
