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
    owed::{Claiming, Settle, Use},
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
        refusing: Option<Refusing>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, E, ReqBody, ResBody: Body> {
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
        RejectionBody::rejected(self.format.respond(rejection, self.shape))
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
                output: Some(Ok(answer)),
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

    pub(crate) fn revoking(call: S::Future, pending: PendingCall, refusing: Refusing) -> Self {
        Self {
            state: State::Calling {
                call,
                owed: Owed::Revocation(pending),
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

/// What comes after the call.
enum Next<B: Body, E> {
    Answer(Output<B, E>),
    Settle(Settle, Output<B, E>),
}

fn after_head<B: Body, E>(
    response: Response<B>,
    owed: Owed,
    refusing: Option<&Refusing>,
) -> Next<B, E> {
    let plain = |response: Response<B>| {
        Ok(response.map(|body| RejectionBody::inner(RevokeBody::plain(body))))
    };
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
        Owed::Revocation(pending) if refusing.config.gives_back(&response) => {
            pending.withdraw();
            Next::Answer(plain(response))
        }
        Owed::Revocation(pending) => match Ending::of(refusing.shape, &response) {
            Ending::WithHead => Next::Settle(pending.end(), plain(response)),
            ending => Next::Answer(Ok(response
                .map(|body| RejectionBody::inner(RevokeBody::revoking(body, ending, pending))))),
        },
    }
}

/// The inner service failed without a response: an exception. A layer further out may make a
/// response of the error, so that it waits as a head would.
fn after_error<B: Body, E>(error: E, owed: Owed, refusing: Option<&Refusing>) -> Next<B, E> {
    let gives_back = refusing.is_some_and(|refusing| refusing.config.gives_back_errors());
    let settle = match owed {
        Owed::Revocation(pending) if gives_back => {
            pending.withdraw();
            None
        }
        Owed::Revocation(pending) => Some(pending.end()),
        Owed::Use(used) if gives_back => used.give_back(),
        Owed::Use(_) | Owed::Nothing => None,
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
                StateProj::Claiming { claiming, ready } => {
                    match (ready!(claiming.poll(cx)), ready.take(), &this.refusing) {
                        (Ok(used), Some((mut service, request)), _) => State::Calling {
                            call: service.call(request),
                            owed: Owed::Use(used),
                        },
                        (Err(rejection), _, Some(refusing)) => State::Answered {
                            output: Some(Ok(refusing.respond(rejection))),
                        },
                        _ => return Poll::Pending,
                    }
                }
                StateProj::Calling { call, owed } => {
                    let result = ready!(call.poll(cx));
                    let owed = std::mem::replace(owed, Owed::Nothing);
                    let next = match result {
                        Ok(response) => after_head(response, owed, this.refusing.as_ref()),
                        Err(error) => after_error(error, owed, this.refusing.as_ref()),
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
                    let output = match (settled, &this.refusing) {
                        (Err(NotRecorded), Some(refusing)) => {
                            Some(Ok(refusing.respond(Reason::NotRecorded.into())))
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
