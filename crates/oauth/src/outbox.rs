//! What the queue keeps in an outbox, and reads from it at the start.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::ready;
use tokio::{
    runtime::Handle,
    sync::OnceCell,
    time::{Instant, sleep, timeout},
};
use tower_revoke_core::{
    BoxError, BoxFuture, Outbox, OutboxError, OwedRevocation, StoreError, TokenId, UnixTime,
    internal::OutageLog,
};

use crate::worker::Shared;

/// The pause before the outbox is asked again after it has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// An outbox, and the name under which the server's entries are in it.
#[derive(Debug)]
pub(crate) struct ServerOutbox {
    outbox: Arc<dyn Outbox>,
    server: String,
    /// Set once the entries of earlier processes are queued: the first that can't be read.
    recovered: OnceCell<Option<OutboxError>>,
    outage: OutageLog,
}

impl ServerOutbox {
    pub(crate) fn new(outbox: Arc<dyn Outbox>, server: String) -> Self {
        Self {
            outbox,
            server,
            recovered: OnceCell::new(),
            outage: OutageLog::default(),
        }
    }
}

/// A token that is to be queued, and is when this is dropped.
pub(crate) struct Owing {
    pub(crate) shared: Arc<Shared>,
    pub(crate) owed: Option<OwedRevocation>,
    pub(crate) deadline: Instant,
    pub(crate) runtime: Option<Handle>,
}

impl Owing {
    /// Keeps the token in the outbox, if there is one, and queues it.
    pub(crate) fn keep(mut self) -> BoxFuture<'static, ()> {
        let (Some(_), Some(owed)) = (&self.shared.outbox, self.owed.clone()) else {
            self.queue();
            return Box::pin(ready(()));
        };
        Box::pin(async move {
            // Kept before it is queued, or it might be delivered and removed before it is kept.
            let is_kept = self.shared.keep(&owed).await;
            self.queue();
            if !is_kept {
                self.shared.keep_while_queued(&owed).await;
            }
        })
    }

    fn queue(&mut self) {
        if let Some(owed) = self.owed.take() {
            let mut state = self.shared.lock();
            state.queue.put(owed, self.deadline, Instant::now());
            drop(state);
            self.shared.wake(self.runtime.as_ref());
        }
    }
}

impl Drop for Owing {
    fn drop(&mut self) {
        self.queue();
    }
}

impl Shared {
    /// Returns the time by which tokens expire. The wall clock alone may have been set ahead, and may be
    /// set back again.
    pub(crate) fn now(&self) -> UnixTime {
        self.clock.now().min(self.clock.steady_now())
    }

    /// Returns whether entries of earlier processes may not be queued yet.
    pub(crate) fn is_recovering(&self) -> bool {
        let outbox = self.outbox.as_ref();
        outbox.is_some_and(|outbox| !outbox.recovered.initialized())
    }

    /// Queues the entries of earlier processes, once.
    ///
    /// # Errors
    /// The outbox doesn't answer, or has an entry that can't be read.
    pub(crate) async fn recovered(&self) -> Result<(), BoxError> {
        let Some(outbox) = &self.outbox else {
            return Ok(());
        };
        let recover = || self.recover(outbox);
        match outbox.recovered.get_or_try_init(recover).await? {
            Some(unreadable) => Err(unreadable.clone().into()),
            None => Ok(()),
        }
    }

    /// Queues the entries of earlier processes, however long the outbox doesn't answer.
    pub(crate) async fn recover_at_last(&self) {
        while self.is_recovering() {
            if self.recovered().await.is_err() && self.is_recovering() {
                sleep(PAUSE).await;
            }
        }
    }

    async fn recover(&self, outbox: &ServerOutbox) -> Result<Option<OutboxError>, StoreError> {
        let entries = outbox.outbox.owed(&outbox.server).await;
        self.log(outbox, entries.as_ref().err());
        let (mut unreadable, mut first) = (0, None);
        let (instant, now) = (Instant::now(), self.now());
        let mut state = self.lock();
        for entry in entries? {
            match entry {
                Ok(owed) => {
                    let left = owed.until.as_secs().saturating_sub(now.as_secs());
                    let left = Duration::from_secs(left).min(state.queue.settings().retry_timeout);
                    state.queue.recover(owed, instant + left, instant);
                }
                Err(error) => {
                    unreadable += 1;
                    first.get_or_insert(error);
                }
            }
        }
        state.queue.set_unreadable(unreadable);
        if let Some(error) = &first {
            state.log.unreadable(unreadable, error);
        }
        drop(state);
        self.changed.notify_waiters();
        Ok(first)
    }

    async fn keep(&self, owed: &OwedRevocation) -> bool {
        let Some(outbox) = &self.outbox else {
            return true;
        };
        let kept = outbox.outbox.put(&outbox.server, owed).await;
        self.log(outbox, kept.as_ref().err());
        kept.is_ok()
    }

    /// Tries again until the token is kept, or not queued any more.
    async fn keep_while_queued(&self, owed: &OwedRevocation) {
        while timeout(PAUSE, self.settled(owed.id)).await.is_err() {
            if self.keep(owed).await {
                return;
            }
        }
    }

    /// Waits until the token is not queued any more.
    async fn settled(&self, token: TokenId) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if !self.lock().queue.is_queued(token) {
                return;
            }
            changed.await;
        }
    }

    /// Removes a token that is no longer owed. If that fails it is sent again after a restart, unless it
    /// has expired.
    pub(crate) async fn forget(&self, token: TokenId) {
        if let Some(outbox) = &self.outbox {
            let removed = outbox.outbox.remove(&outbox.server, token).await;
            self.log(outbox, removed.as_ref().err());
        }
    }

    fn log(&self, outbox: &ServerOutbox, error: Option<&StoreError>) {
        let uptime = self.clock.uptime();
        match error {
            None => {
                if outbox.outage.works() {
                    tracing::info!(target: "tower_revoke::oauth", "the outbox works again");
                }
            }
            Some(error) => {
                if let Some(count) = outbox.outage.failed(uptime) {
                    let error = error as &dyn std::error::Error;
                    tracing::error!(
                        target: "tower_revoke::oauth",
                        error,
                        count,
                        "the outbox fails; what is owed to the authorization server is kept in memory"
                    );
                }
            }
        }
    }
}
