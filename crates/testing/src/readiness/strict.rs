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

/// Records a call without readiness and fails it.
///
/// The inner service would panic on such a call, perhaps in a spawned task where the panic goes
/// unnoticed.
#[derive(Debug)]
pub(super) struct Strict<S> {
    inner: S,
    ready: bool,
    /// Set if this service or a clone was called without being ready.
    called_unready: Arc<AtomicBool>,
}

impl<S> Strict<S> {
    pub(super) fn new(inner: S, called_unready: Arc<AtomicBool>) -> Self {
        Self {
            inner,
            ready: false,
            called_unready,
        }
    }
}

/// A clone is not ready, as `Service` demands.
impl<S: Clone> Clone for Strict<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.called_unready.clone())
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
            self.called_unready.store(true, Ordering::Release);
            return Box::pin(async { Err("the service was not made ready".into()) });
        }
        let call = self.inner.call(request);
        Box::pin(async move { call.await.map_err(Into::into) })
    }
}
