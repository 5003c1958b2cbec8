//! Timeouts and pauses.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use tokio::runtime::Handle;
use tower_revoke_core::StoreError;

/// Applies a timeout to calls. It is a parameter, so that the engine itself needs no runtime.
pub(crate) trait Timer: Send + Sync + 'static {
    /// Returns the output of the call, or [`StoreError::TimedOut`].
    fn within<F>(&self, call: F) -> impl Future<Output = Result<F::Output, StoreError>> + Send
    where
        F: Future<Output: Send> + Send;

    /// Waits for `wake`, for at most that time.
    fn pause<F>(&self, at_most: Duration, wake: F) -> impl Future<Output = ()> + Send
    where
        F: Future<Output = ()> + Send;
}

/// Bounds every call by the same timeout.
pub(crate) struct TokioTimer(pub(crate) Duration);

impl Timer for TokioTimer {
    async fn within<F>(&self, call: F) -> Result<F::Output, StoreError>
    where
        F: Future<Output: Send> + Send,
    {
        let mut call = pin!(call);
        // A store in memory completes on the first poll, which needs no timer and no runtime.
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
            return Ok(output);
        }
        if Handle::try_current().is_err() {
            return Ok(call.await);
        }
        tokio::time::timeout(self.0, call)
            .await
            .map_err(|_| StoreError::TimedOut(self.0))
    }

    async fn pause<F>(&self, at_most: Duration, wake: F)
    where
        F: Future<Output = ()> + Send,
    {
        // Both outcomes end the pause.
        let _ = tokio::time::timeout(at_most, wake).await;
    }
}
