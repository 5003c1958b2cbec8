//! The service: puts the slot into the request, and calls on.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_revoke_core::{ByStatus, Classify, end::RequestShape};
use tower_service::Service;

use crate::{MonitorBody, MonitorFuture, in_flight::InFlight, layer::Config};

/// The service of [`MonitorLayer`](crate::MonitorLayer). It is as ready as its inner service.
#[derive(Clone, Debug)]
pub struct MonitorService<S, C = ByStatus> {
    inner: S,
    config: Arc<Config>,
    classify: C,
}

impl<S, C> MonitorService<S, C> {
    pub(crate) fn new(inner: S, config: Arc<Config>, classify: C) -> Self {
        Self {
            inner,
            config,
            classify,
        }
    }
}

impl<S, C, ReqBody, ResBody> Service<Request<ReqBody>> for MonitorService<S, C>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
    C: Classify,
{
    type Response = Response<MonitorBody<ResBody, C>>;
    type Error = S::Error;
    type Future = MonitorFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let shape = RequestShape::of(&request);
        let mut call = InFlight::start(self.config.clone(), request.extensions_mut());
        let inner = self.inner.call(request);
        // A token that was seen before is verified by now.
        call.begin();
        MonitorFuture::new(inner, shape, call, self.classify.clone())
    }
}
