//! The service: puts the slot into the request, and calls on.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_revoke_core::{ByStatus, Classify, end::RequestShape};
use tower_service::Service;

use crate::{
    MonitorBody, MonitorFuture, composite,
    in_flight::{InComposite, InFlight},
    layer::Shared,
};

/// The service of [`MonitorLayer`](crate::MonitorLayer). It is as ready as its inner service.
#[derive(Clone, Debug)]
pub struct MonitorService<S, C = ByStatus> {
    inner: S,
    shared: Arc<Shared>,
    classify: C,
}

impl<S, C> MonitorService<S, C> {
    pub(crate) fn new(inner: S, shared: Shared, classify: C) -> Self {
        Self {
            inner,
            shared: Arc::new(shared),
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
        let shared = &self.shared;
        let is_counted = shared.is_on();
        let composite = match composite::exist() {
            true => InComposite::enter(shared, is_counted, &mut request),
            false => None,
        };
        let mut call = match is_counted {
            true => Some(InFlight::start(
                shared.clone(),
                shape,
                &mut request,
                composite,
            )),
            false => composite.map(|it| InFlight::uncounted(shared.clone(), it)),
        };
        let inner = self.inner.call(request);
        // A token that was seen before is verified by now.
        call.iter_mut().for_each(InFlight::begin);
        MonitorFuture::new(inner, shape, call, self.classify.clone())
    }
}
