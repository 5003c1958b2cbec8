//! The service: decides whether a call spends, and takes what it needs before the inner call.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_revoke_core::{
    Authenticated, BearerChecked, Claim, ClaimId, PathAllowances, Reason, Rejection, RejectionBody,
    end::RequestShape, read_path,
};
use tower_service::Service;

use crate::{
    RevokeBody, RevokeFuture,
    config::{Config, Cost},
    future::Refusing,
    owed::{Account, Claiming, Debt, Remote},
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
        let account = match open_account(&self.config, &request) {
            Ok(account) => account,
            Err(rejection) => {
                let refusing = self.refusing(&request);
                return RevokeFuture::refused(refusing.respond(rejection));
            }
        };
        let Some(account) = account else {
            return RevokeFuture::passing(self.inner.call(request));
        };
        let refusing = self.refusing(&request);
        match self.config.cost {
            Cost::Life => {
                // In debt before the inner service can act, so that no way out is free.
                let debt = Debt::incur(account);
                RevokeFuture::in_debt(self.inner.call(request), debt, refusing)
            }
            Cost::Use(limit) => {
                let id = match random_id() {
                    Ok(id) => id,
                    Err(rejection) => return RevokeFuture::refused(refusing.respond(rejection)),
                };
                let claim = Claim {
                    token: account.token,
                    id,
                    limit,
                    until: account.until,
                };
                // The ready service is kept for the call: a use that was taken and then waited for
                // another permit would be burnt if the client left meanwhile.
                let next = self.inner.clone();
                let ready = mem::replace(&mut self.inner, next);
                RevokeFuture::claiming(Claiming::new(claim, account), ready, request, refusing)
            }
        }
    }
}

impl<S> Revoke<S> {
    fn refusing<B>(&self, request: &Request<B>) -> Refusing {
        Refusing {
            shape: RequestShape::of(request),
            format: BearerChecked::format_of(request.extensions()),
            config: self.config.clone(),
        }
    }
}

/// `None` if this call doesn't spend.
fn open_account<B>(
    config: &Arc<Config>,
    request: &Request<B>,
) -> Result<Option<Account>, Rejection> {
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
        let path = read_path(request.uri().path(), allowed)
            .map_err(|ambiguity| Rejection::from(ambiguity).token(caller.token_id()))?;
        if !when.holds(&Call::new(caller, request, &path)) {
            return Ok(None);
        }
    }
    let token = caller.token();
    let Some(list) = token.revocations() else {
        return Err(
            Rejection::misconfigured("the verifier has no revocation list").token(token.id()),
        );
    };
    let slot = config.slots.reserve().map_err(|none| match none {
        NoSlot::Full => Rejection::new(Reason::Busy).token(token.id()),
        NoSlot::NoRuntime => {
            Rejection::misconfigured("the call is made outside of a tokio runtime")
        }
    })?;
    Ok(Some(Account {
        token: token.id(),
        until: token.usable_until(),
        list: list.clone(),
        slot,
        remote: reserve_remote(config, request)?,
        config: config.clone(),
    }))
}

fn reserve_remote<B>(
    config: &Config,
    request: &Request<B>,
) -> Result<Option<Box<Remote>>, Rejection> {
    if config.remotes.is_empty() {
        return Ok(None);
    }
    let token = BearerChecked::of(request.extensions())
        .and_then(BearerChecked::token)
        .ok_or_else(|| Rejection::layer_missing("RequireBearerLayer"))?;
    let slots = config.remotes.iter().map(|remote| remote.reserve());
    Ok(Some(Box::new(Remote {
        token: token.clone(),
        slots: slots
            .collect::<Result<_, _>>()
            .map_err(|full| Rejection::new(Reason::Busy).source(full))?,
    })))
}

fn random_id() -> Result<ClaimId, Rejection> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(ClaimId::from_bytes(bytes)),
        Err(error) => Err(Rejection::new(Reason::Unavailable).source(error)),
    }
}
