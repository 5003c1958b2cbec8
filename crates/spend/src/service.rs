//! The service: decides whether a call spends, and takes what it needs before the inner call.

use std::{
    mem,
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_revoke_core::{
    Authenticated, BearerContext, PathAllowances, Reason, Rejection, RejectionBody,
    RejectionFormat, TokenCopy, Use, UseId, VerifiedToken, end::RequestShape, read_path_as_written,
    read_request_path,
};
use tower_service::Service;

use crate::{
    RevokeBody, RevokeFuture,
    config::{Config, Cost},
    future::Rejecting,
    owed::{Account, Remote, TakingUse},
    pending::{Key, PendingCall},
    slots::NoSlot,
    when::Call,
};

/// The service that [`RevokeLayer`](crate::RevokeLayer) makes.
#[derive(Clone, Debug)]
pub struct Revoke<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> Revoke<S> {
    pub(crate) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Revoke<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: Body,
{
    type Response = Response<RejectionBody<RevokeBody<ResBody>>>;
    type Error = S::Error;
    type Future = RevokeFuture<S, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let reserved = match reserve(&self.config, &request) {
            Ok(Some(reserved)) => reserved,
            Ok(None) => return RevokeFuture::passing(self.inner.call(request)),
            Err(rejection) => {
                let rejecting = self.rejecting(&request);
                return RevokeFuture::rejected(rejecting.respond(rejection));
            }
        };
        let rejecting = self.rejecting(&request);
        match reserved {
            // Pending before the inner service can act, so that no way out is free.
            Reserved::Revocation(pending) => {
                RevokeFuture::revoking(self.inner.call(request), pending, rejecting)
            }
            Reserved::Use(limit, account) => {
                let id = match random_id() {
                    Ok(id) => id,
                    Err(rejection) => return RevokeFuture::rejected(rejecting.respond(rejection)),
                };
                let use_ = Use::new(account.token, id, limit, account.exp);
                // The ready service is kept for the call: a use that was taken and then waited for
                // another permit would be burnt if the client left meanwhile.
                let next = self.inner.clone();
                let ready = mem::replace(&mut self.inner, next);
                RevokeFuture::taking(TakingUse::new(use_, account), ready, request, rejecting)
            }
        }
    }
}

impl<S> Revoke<S> {
    fn rejecting<B>(&self, request: &Request<B>) -> Rejecting {
        Rejecting {
            shape: RequestShape::of(request),
            format: RejectionFormat::of(request.extensions()),
            config: self.config.clone(),
        }
    }
}

/// What a call takes before the inner service sees it.
enum Reserved {
    Revocation(PendingCall),
    Use(NonZeroU32, Account),
}

/// `None` if this call doesn't spend.
fn reserve<B>(config: &Arc<Config>, request: &Request<B>) -> Result<Option<Reserved>, Rejection> {
    let caller = Authenticated::of(request.extensions());
    if config.except.contains(request.method()) {
        // Nobody need be there, but a bearer layer must have looked.
        return match caller {
            Err(rejection) if rejection.reason() == Reason::Misconfigured => Err(rejection),
            _ => Ok(None),
        };
    }
    let caller = caller?;
    if let Some(when) = &config.when {
        let allowed = PathAllowances::of(request.extensions());
        let path = read_request_path(request, allowed)
            .map_err(|ambiguity| Rejection::from(ambiguity).token(caller.token_id()))?;
        let holds = |path: &str| when.holds(&Call::new(caller, request, path));
        let as_written = || read_path_as_written(request.uri().path());
        if !holds(&path) && !as_written().is_some_and(|path| holds(&path)) {
            return Ok(None);
        }
    }
    let token = caller.token();
    let Some(list) = token.revocations() else {
        return Err(
            Rejection::misconfigured("the verifier has no revocation list").token(token.id()),
        );
    };
    let exp = token.claims().expires_at();
    let key = Key {
        token: token.id(),
        list: list.clone(),
        servers: config.servers.clone(),
    };
    if config.cost == Cost::Life
        && let Some(pending) = PendingCall::join(config, &key, exp)
    {
        return Ok(Some(Reserved::Revocation(pending)));
    }
    let slot = config
        .slots
        .reserve(token.holder())
        .map_err(|none| match none {
            NoSlot::Full => Rejection::new(Reason::Busy).token(token.id()),
            NoSlot::NoRuntime => {
                Rejection::misconfigured("the call is made outside of a tokio runtime")
            }
        })?;
    let remote = reserve_remote(config, request, token)?;
    Ok(Some(match config.cost {
        Cost::Life => Reserved::Revocation(PendingCall::begin(config, key, exp, slot, remote)),
        Cost::Use(limit) => Reserved::Use(
            limit,
            Account {
                token: key.token,
                exp,
                list: key.list,
                slot,
                remote,
                config: config.clone(),
            },
        ),
    }))
}

fn reserve_remote<B>(
    config: &Config,
    request: &Request<B>,
    token: &VerifiedToken,
) -> Result<Option<Box<Remote>>, Rejection> {
    if config.servers.is_empty() {
        return Ok(None);
    }
    let presented = BearerContext::of(request.extensions())
        .and_then(BearerContext::token)
        .ok_or_else(|| Rejection::layer_missing("RequireBearerLayer"))?;
    let (id, holder) = (token.id(), token.holder());
    let slots = config
        .servers
        .iter()
        .map(|server| server.clone().reserve(id, holder));
    let slots = slots.collect::<Result<_, _>>();
    Ok(Some(Box::new(Remote {
        slots: slots.map_err(|full| Rejection::new(Reason::Busy).source(full).token(id))?,
        token: TokenCopy::from(presented),
    })))
}

fn random_id() -> Result<UseId, Rejection> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(UseId::from_bytes(bytes)),
        Err(error) => Err(Rejection::new(Reason::Unavailable).source(error)),
    }
}
