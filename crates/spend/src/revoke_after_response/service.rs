//! The service that has a revocation pending before the inner call.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_revoke_core::{Reason, Rejection, RejectionBody, TokenStatus};
use tower_service::Service;

use super::RevokeAfterResponseLayer;
use crate::{
    SpendBody, SpendFuture,
    future::{Cost, RejectionContext},
    pending::{Key, PendingCall},
};

/// The service that [`RevokeAfterResponseLayer`] makes.
#[derive(Clone, Debug)]
pub struct RevokeAfterResponse<S> {
    inner: S,
    config: Arc<RevokeAfterResponseLayer>,
}

impl<S> RevokeAfterResponse<S> {
    pub(super) fn new(inner: S, config: Arc<RevokeAfterResponseLayer>) -> Self {
        Self { inner, config }
    }

    /// `None` if the call doesn't spend.
    fn pending_call<B>(&self, request: &Request<B>) -> Result<Option<PendingCall>, Rejection> {
        let settings = &self.config.settings;
        let Some(token) = settings.spent_token(request)? else {
            return Ok(None);
        };
        let exp = token.claims().expires_at();
        let list = settings.list_of(token)?;
        // Where this is enforced, the bearer layer rejects a token that has ended.
        if settings.is_observing() && list.known_status(token) == Some(TokenStatus::Spent) {
            return Err(Rejection::new(Reason::Spent).token(token.id()));
        }
        let key = Key {
            token: token.id(),
            list,
            // No server is told of a call with a ticket, so one with its token must not join it.
            servers: match token.is_single_use() {
                true => Arc::new([]),
                false => settings.servers.clone(),
            },
        };
        if let Some(joined) = PendingCall::join(&self.config, &key, exp) {
            return Ok(Some(joined));
        }
        let (reservation, notice) = settings.reserve(request, token)?;
        let begun = PendingCall::begin(&self.config, key, exp, reservation, notice);
        Ok(Some(begun))
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RevokeAfterResponse<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    type Response = Response<RejectionBody<SpendBody<ResBody>>>;
    type Error = S::Error;
    type Future = SpendFuture<S, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let pending = self.pending_call(&request);
        match self.config.settings.enforced(pending, &request) {
            Ok(None) => SpendFuture::calling(self.inner.call(request), Cost::Nothing),
            // Pending before the inner service can act: from now on the token is revoked whatever
            // becomes of the call.
            Ok(Some(pending)) => {
                let cost = Cost::Revocation(pending, RejectionContext::of(&request));
                SpendFuture::calling(self.inner.call(request), cost)
            }
            Err(rejection) => SpendFuture::rejected(rejection, &request),
        }
    }
}
