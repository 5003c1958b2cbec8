//! The type-erased engine, with tokio's timer and background tasks.

use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{runtime::Handle, task::AbortHandle};
use tower_revoke_core::{
    BoxFuture, Change, Clock, Cursor, Lift, RecordFilter, RecordPage, Revocation, RevocationKey,
    Revocations, Store, StoreError, TokenStatus, Use, UseOutcome, VerifiedToken,
};

use crate::{
    ListStats,
    engine::{Engine, Timer},
    operators::Inspection,
};

/// The interval between two purges that the list starts by itself.
const PURGE_EVERY: Duration = Duration::from_secs(60);

/// The operations of a list beyond those that layers use.
pub(crate) trait List: Revocations {
    fn lift(self: Arc<Self>, lift: Lift) -> BoxFuture<'static, Result<bool, StoreError>>;
    fn revoke_all(&self, said: Vec<Revocation>) -> BoxFuture<'_, Result<(), StoreError>>;
    fn restore(&self, known: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>>;
    fn page<'a>(
        &'a self,
        wanted: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>>;
    fn inspect(&self, key: RevocationKey) -> BoxFuture<'_, Result<Inspection, StoreError>>;
    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>>;
    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>>;
    fn is_ready(&self) -> bool;
    fn stats(&self) -> ListStats;
}

pub(crate) struct Shared<S> {
    engine: Arc<Engine<S, TokioTimer>>,
    /// The task that follows the store's feed. It keeps the engine alive, so it is aborted on drop.
    follower: Mutex<Option<AbortHandle>>,
    /// When the next purge is due, in seconds of the clock's uptime.
    next_purge: AtomicU64,
}

impl<S: Store> Shared<S> {
    pub(crate) fn new(engine: Engine<S, TokioTimer>) -> Self {
        Self {
            next_purge: AtomicU64::new(engine.clock().uptime().as_secs() + PURGE_EVERY.as_secs()),
            follower: Mutex::new(None),
            engine: Arc::new(engine),
        }
    }

    /// Starts the task that follows the store's feed, if there is a feed and a tokio runtime.
    ///
    /// The task ends with the runtime in which it was spawned, as between two `#[tokio::test]`s. So
    /// every call checks for a running follower, and starts a new one in its own runtime.
    fn start(&self) {
        if !self.engine.wants_a_follower() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        // Another call may have started one before this one took the lock.
        if self.engine.wants_a_follower() {
            let task = runtime.spawn(self.engine.clone().follow());
            *follower = Some(task.abort_handle());
        }
    }

    /// Starts a purge in a separate task, if one is due.
    fn tidy(self: &Arc<Self>) {
        let now = self.engine.clock().uptime().as_secs();
        let due = self.next_purge.load(Ordering::Relaxed);
        if now < due {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let next = now + PURGE_EVERY.as_secs();
        let (won, lost) = (Ordering::Relaxed, Ordering::Relaxed);
        if self
            .next_purge
            .compare_exchange(due, next, won, lost)
            .is_ok()
        {
            let list = self.clone();
            runtime.spawn(async move {
                // The engine logs and counts a failure. The next purge deletes the rest.
                let _ = list.engine.purge().await;
            });
        }
    }
}

impl<S> Drop for Shared<S> {
    fn drop(&mut self) {
        let follower = self
            .follower
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = follower {
            task.abort();
        }
    }
}

impl<S: Store> Revocations for Shared<S> {
    fn max_token_life(&self) -> Option<Duration> {
        self.engine.max_token_life()
    }

    fn clock(&self) -> &Clock {
        self.engine.clock()
    }

    fn known_status(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        self.engine.known_status(token)
    }

    fn status<'a>(
        &'a self,
        token: &'a VerifiedToken,
    ) -> BoxFuture<'a, Result<TokenStatus, StoreError>> {
        self.start();
        Box::pin(self.engine.status(token))
    }

    fn revoke(
        self: Arc<Self>,
        revocation: Revocation,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            self.start();
            self.tidy();
            let (key, by, reason) = (revocation.key(), revocation.said_by(), revocation.reason());
            // An operator makes rules. Single tokens are revoked all the time, by layers.
            if key.is_rule() {
                tracing::info!(?key, by, reason, "revoke");
            } else {
                tracing::debug!(?key, by, reason, "revoke");
            }
            self.engine.revoke(revocation).await
        })
    }

    fn take_use(self: Arc<Self>, use_: Use) -> BoxFuture<'static, Result<UseOutcome, StoreError>> {
        Box::pin(async move {
            self.start();
            self.tidy();
            self.engine.take_use(&use_).await
        })
    }

    fn return_use(self: Arc<Self>, use_: Use) -> BoxFuture<'static, Result<bool, StoreError>> {
        Box::pin(async move { self.engine.return_use(&use_).await })
    }
}

impl<S: Store> List for Shared<S> {
    fn lift(self: Arc<Self>, lift: Lift) -> BoxFuture<'static, Result<bool, StoreError>> {
        Box::pin(async move {
            let Lift {
                key, by, reason, ..
            } = &lift;
            tracing::info!(?key, by, reason, "lift a revocation");
            self.start();
            self.engine.lift(&lift).await
        })
    }

    fn revoke_all(&self, said: Vec<Revocation>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.start();
        Box::pin(self.engine.revoke_all(said))
    }

    fn restore(&self, known: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.start();
        Box::pin(async move { self.engine.restore_all(&known).await })
    }

    fn page<'a>(
        &'a self,
        wanted: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        Box::pin(self.engine.page_of_records(wanted, after, at_most))
    }

    fn inspect(&self, key: RevocationKey) -> BoxFuture<'_, Result<Inspection, StoreError>> {
        Box::pin(self.engine.inspect(key))
    }

    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.engine.purge())
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.start();
        Box::pin(self.engine.ready())
    }

    fn is_ready(&self) -> bool {
        self.engine.is_ready()
    }

    fn stats(&self) -> ListStats {
        self.engine.stats()
    }
}

impl<S> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList").finish_non_exhaustive()
    }
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
