//! The service that takes a use before the inner call.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_revoke_core::{Rejection, RejectionBody, internal::PreparedUse};
use tower_service::Service;

use super::{
    UseLimitLayer,
    uses::{ReservedUse, TakeUse},
};
use crate::{SpendBody, SpendFuture, future::Cost};

/// The service that [`UseLimitLayer`] makes.
#[derive(Clone, Debug)]
pub struct UseLimit<S> {
    inner: S,
    config: Arc<UseLimitLayer>,
}

impl<S> UseLimit<S> {
    pub(super) fn new(inner: S, config: Arc<UseLimitLayer>) -> Self {
        Self { inner, config }
    }

    /// `None` if the call doesn't spend.
    fn take_use<B>(&self, request: &Request<B>) -> Result<Option<TakeUse>, Rejection> {
        let settings = &self.config.settings;
        let Some(token) = settings.spent_token(request)? else {
            return Ok(None);
        };
        let (reservation, notice) = settings.reserve(request, token)?;
        let reserved = ReservedUse {
            prepared: PreparedUse::new(token, settings.list_of(token)?, self.config.limit)?,
            reservation,
            notice,
            config: self.config.clone(),
        };
        Ok(Some(reserved.take()))
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for UseLimit<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: Body,
{
    type Response = Response<RejectionBody<SpendBody<ResBody>>>;
    type Error = S::Error;
    type Future = SpendFuture<S, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let take = self.take_use(&request);
        match self.config.settings.enforced(take, &request) {
            Ok(None) => SpendFuture::calling(self.inner.call(request), Cost::Nothing),
            Ok(Some(take)) => {
                // The ready service is kept for the call: a use that was taken and then waited for
                // another permit would be lost if the client left meanwhile.
                let next = self.inner.clone();
                let ready = mem::replace(&mut self.inner, next);
                SpendFuture::taking(take, self.config.clone(), ready, request)
            }
            Err(rejection) => SpendFuture::rejected(rejection, &request),
        }
    }
}
