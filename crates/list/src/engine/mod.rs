//! Answers the status of tokens, and writes to the store.

mod follow;
mod load;
mod read;
mod snapshot;
mod source;
#[cfg(test)]
mod tests;
mod versions;
mod watch;
mod write;
mod write_back;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;
use tokio::{runtime::Handle, task::AbortHandle};
use tower_revoke_core::{
    BoxFuture, Change, Clock, Cursor, KeyDigest, Lift, LiftRecord, Listed, RecordFilter,
    RecordPage, Records, Revocation, Revocations, Store, StoreError, TokenId, TokenStatus, Use,
    UseOutcome, VerifiedToken, WatchToken,
};

pub(crate) use self::source::MirrorSettings;
use self::{read::Answer, source::Source};
use crate::{ListStats, SnapshotError, timer::Timer};

/// The interval between two purges that the list starts by itself.
const PURGE_EVERY: Duration = Duration::from_secs(60);

/// How long such a purge may take. If it hangs, the next one deletes the rest.
const PURGE_LIMIT: Duration = Duration::from_secs(3_600);

/// An [`Engine`] over any store: the operations of a list beyond those that layers use.
pub(crate) trait AnyEngine: Revocations {
    fn lift<'a>(&'a self, lift: &'a Lift) -> BoxFuture<'a, Result<bool, StoreError>>;
    fn revoke_all(&self, revocations: Vec<Revocation>) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Restores revocations of which only the digest is known.
    fn restore(&self, known: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Reads one page of the store's records.
    fn page<'a>(
        &'a self,
        filter: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>>;
    /// Reads the last lift of a key from the store's records.
    fn last_lift<'a>(
        &'a self,
        key: &'a KeyDigest,
    ) -> BoxFuture<'a, Result<Option<LiftRecord>, StoreError>>;
    /// Reads from the store itself how one key is listed.
    fn look_up(&self, key: KeyDigest) -> BoxFuture<'_, Result<Option<Listed>, StoreError>>;
    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>>;
    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Writes the snapshot of the mirror, if one is configured.
    fn save(&self) -> BoxFuture<'_, Result<(), SnapshotError>>;
    fn is_ready(&self) -> bool;
    fn stats(&self) -> ListStats;
}

/// The cache of answers over a [`Source`], and the tasks that run for it.
///
/// An answer is valid while it is younger than `max_staleness`, and while nothing that concerns its
/// token was changed through this engine since the look-up (see [`Versions`](versions::Versions)).
/// The cache may drop an answer at any time, and may even hold a stale one: only the version
/// decides. The cache locks each key, which merges concurrent look-ups of one token into one, and
/// keeps its answers in order.
///
/// If the store has a feed, a mirror of everything that it lists comes before the cache
/// (`follow.rs`). While the mirror is young, neither the cache nor the store is used.
pub(crate) struct Engine<S, T> {
    source: Arc<Source<S, T>>,
    answers: Cache<TokenId, Answer>,
    /// The task that follows the store's feed. It keeps the source alive, so it is aborted on drop.
    follower: Mutex<Option<AbortHandle>>,
    /// The task that ends watches, aborted on drop for the same reason.
    tender: Mutex<Option<AbortHandle>>,
    /// When the next purge is due, in seconds of the clock's uptime.
    next_purge: AtomicU64,
    /// Breaks the engine for a test: it reads the version too late. The scheduler must detect it.
    #[cfg(test)]
    stamp_late: bool,
}

impl<S: Store, T: Timer> Engine<S, T> {
    pub(crate) fn new(
        store: S,
        timer: T,
        clock: Clock,
        max_staleness: Duration,
        cache_capacity: u64,
        mirror: MirrorSettings,
        max_token_life: Option<Duration>,
    ) -> Self {
        Self {
            answers: Cache::new(cache_capacity),
            follower: Mutex::default(),
            tender: Mutex::default(),
            next_purge: AtomicU64::new((clock.uptime() + PURGE_EVERY).as_secs()),
            source: Arc::new(Source::new(
                store,
                timer,
                clock,
                max_staleness,
                mirror,
                max_token_life,
            )),
            #[cfg(test)]
            stamp_late: false,
        }
    }

    /// Starts the task that follows the store's feed, if there is a feed and a tokio runtime.
    ///
    /// The task ends with the runtime in which it was spawned, as between two `#[tokio::test]`s. So
    /// every call checks for a running follower, and starts a new one in its own runtime.
    fn start(&self) {
        if !self.source.wants_a_follower() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        // Another call may have started one before this one took the lock.
        if self.source.wants_a_follower() {
            let task = runtime.spawn(self.source.clone().follow());
            *follower = Some(task.abort_handle());
        }
    }

    /// Starts a purge in a separate task, if one is due and none is running.
    fn tidy(&self) {
        let now = self.source.clock.uptime().as_secs();
        let due = self.next_purge.load(Ordering::Relaxed);
        if now < due {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let next = now + PURGE_EVERY.as_secs();
        let (won, lost) = (Ordering::Relaxed, Ordering::Relaxed);
        let won = self.next_purge.compare_exchange(due, next, won, lost);
        if won.is_ok() {
            let source = self.source.clone();
            runtime.spawn(async move {
                let purge = source.purge_unless_running();
                if tokio::time::timeout(PURGE_LIMIT, purge).await.is_err() {
                    source.failed(&StoreError::TimedOut(PURGE_LIMIT));
                }
            });
        }
    }
}

impl<S, T> Drop for Engine<S, T> {
    fn drop(&mut self) {
        for task in [&mut self.follower, &mut self.tender] {
            if let Some(task) = task.get_mut().unwrap_or_else(PoisonError::into_inner) {
                task.abort();
            }
        }
    }
}

impl<S: Store, T: Timer> Revocations for Engine<S, T> {
    fn max_token_life(&self) -> Option<Duration> {
        self.source.max_token_life
    }

    fn clock(&self) -> &Clock {
        &self.source.clock
    }

    fn known_status(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        self.find_status(token)
    }

    fn status<'a>(
        &'a self,
        token: &'a VerifiedToken,
    ) -> BoxFuture<'a, Result<TokenStatus, StoreError>> {
        self.start();
        Box::pin(self.check(token))
    }

    fn revoke(
        self: Arc<Self>,
        revocation: Revocation,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            self.tidy();
            let (key, by, reason) = (revocation.key(), revocation.author(), revocation.reason());
            // What operators revoke is logged for audit by what they call.
            tracing::debug!(target: "tower_revoke::list", ?key, by, reason, "revoke");
            self.revoke_all(vec![revocation]).await
        })
    }

    fn take_use(self: Arc<Self>, use_: Use) -> BoxFuture<'static, Result<UseOutcome, StoreError>> {
        Box::pin(async move {
            self.start();
            self.tidy();
            self.write_use(&use_).await
        })
    }

    fn return_use(self: Arc<Self>, use_: Use) -> BoxFuture<'static, Result<bool, StoreError>> {
        Box::pin(async move { self.write_return(&use_).await })
    }

    fn watch(
        self: Arc<Self>,
        token: &VerifiedToken,
        unknown_timeout: Option<Duration>,
    ) -> Box<dyn WatchToken> {
        self.start();
        self.start_tending();
        Box::new(self.begin_watch(token, unknown_timeout))
    }
}

impl<S: Store, T: Timer> Engine<S, T> {
    fn records(&self) -> Result<&dyn Records, StoreError> {
        let records = self.source.store.records();
        records.ok_or(StoreError::Unsupported("records"))
    }
}

impl<S: Store, T: Timer> AnyEngine for Engine<S, T> {
    fn lift<'a>(&'a self, lift: &'a Lift) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.start();
        Box::pin(self.write_lift(lift))
    }

    fn revoke_all(&self, revocations: Vec<Revocation>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.start();
        Box::pin(self.write_revocations(revocations))
    }

    fn restore(&self, known: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.start();
        Box::pin(self.write_changes(known))
    }

    fn page<'a>(
        &'a self,
        filter: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        Box::pin(async move {
            let page = self.records()?.page(filter, after, at_most);
            let page = self.source.in_time(page).await;
            page.inspect_err(|error| self.source.failed(error))
        })
    }

    fn last_lift<'a>(
        &'a self,
        key: &'a KeyDigest,
    ) -> BoxFuture<'a, Result<Option<LiftRecord>, StoreError>> {
        Box::pin(async move {
            let lift = self.records()?.last_lift(key);
            let lift = self.source.in_time(lift).await;
            lift.inspect_err(|error| self.source.failed(error))
        })
    }

    fn look_up(&self, key: KeyDigest) -> BoxFuture<'_, Result<Option<Listed>, StoreError>> {
        Box::pin(self.source.look_up(key))
    }

    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.source.purge())
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.start();
        Box::pin(self.source.ready())
    }

    fn save(&self) -> BoxFuture<'_, Result<(), SnapshotError>> {
        Box::pin(async move {
            match self.source.save_in_background() {
                Some(saving) => snapshot::outcome(saving).await,
                None => Ok(()),
            }
        })
    }

    fn is_ready(&self) -> bool {
        self.start();
        self.source.is_ready()
    }

    fn stats(&self) -> ListStats {
        self.source.stats(self.answers.entry_count())
    }
}

impl<S, T> fmt::Debug for Engine<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList").finish_non_exhaustive()
    }
}
