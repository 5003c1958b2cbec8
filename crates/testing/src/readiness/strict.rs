//! A service that detects calls without readiness.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tower::{BoxError, Service};
use tower_revoke_core::BoxFuture;

/// Whether a service was called that was not ready. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<AtomicBool>);

impl Watch {
    pub(super) fn called_unready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Records a call without readiness and fails it.
///
/// The inner service would panic on such a call, perhaps in a spawned task where the panic goes
/// unnoticed.
#[derive(Debug)]
pub(super) struct Strict<S> {
    inner: S,
    ready: bool,
    watch: Watch,
}

impl<S> Strict<S> {
    pub(super) fn new(inner: S, watch: Watch) -> Self {
        Self {
            inner,
            ready: false,
            watch,
        }
    }
}

/// A clone is not ready, as `Service` demands.
impl<S: Clone> Clone for Strict<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.watch.clone())
    }
}

impl<S, T> Service<T> for Strict<S>
where
    S: Service<T>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let poll = self.inner.poll_ready(cx).map_err(Into::into);
        self.ready = matches!(poll, Poll::Ready(Ok(())));
        poll
    }

    fn call(&mut self, request: T) -> Self::Future {
        if !std::mem::take(&mut self.ready) {
            self.watch.0.store(true, Ordering::Release);
            return Box::pin(async { Err("the service was not made ready".into()) });
        }
        let call = self.inner.call(request);
        Box::pin(async move { call.await.map_err(Into::into) })
    }
}
