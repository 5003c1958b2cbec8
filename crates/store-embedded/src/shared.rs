//! The open tree that the threads share, and how it recovers from faults.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fjall::{Database, Keyspace};
use tokio::sync::watch;
use tower_revoke_core::{Clock, StoreError, UnixTime, internal::OutageLog};

use crate::{
    fault::Fault,
    folder::{Folder, random},
    group::Group,
};

/// The pause between two attempts to write to a full disk, or to open the tree again.
const PAUSE: Duration = Duration::from_secs(1);

/// How many entries a purge must have removed to be followed by a compaction.
const WORTH_COMPACTING: u64 = 2_048;

/// The limits of the feed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FeedLimits {
    pub(crate) capacity: u64,
    pub(crate) retention: Duration,
}

/// The state after the last group.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    /// The first group that is kept in the feed.
    pub(crate) first: u64,
    /// How many changes it has.
    pub(crate) first_events: u32,
    /// The last group.
    pub(crate) last: u64,
    /// How many changes there are in all groups, also in those that are no longer kept.
    pub(crate) changes: u64,
    pub(crate) entries: u64,
    /// Entries that expired before this time may have been purged.
    pub(crate) purged_before: Option<UnixTime>,
}

pub(crate) struct Open {
    pub(crate) database: Database,
    pub(crate) rows: Keyspace,
    /// Only the writer thread changes it.
    pub(crate) state: Mutex<State>,
}

pub(crate) struct Shared {
    /// Read-locked for the length of each read and commit. Write-locked to open the tree again.
    open: RwLock<Option<Open>>,
    // Dropped last: it holds the lock.
    pub(crate) folder: Folder,
    pub(crate) clock: Clock,
    feed: FeedLimits,
    /// The random name of this opening of the folder.
    opening: [u8; 8],
    /// The last group with changes, for those that wait for changes.
    pub(crate) news: watch::Sender<u64>,
    entries: AtomicU64,
    /// If set, writes fail with this fault until this uptime of the clock, or for good. Then the
    /// tree is opened again, because after a failed write it rejects all others.
    rejecting: Mutex<Option<(Fault, Option<Duration>)>>,
    outage: OutageLog,
    /// With which error the next commits fail.
    #[cfg(test)]
    pub(crate) harm: Mutex<Option<std::io::ErrorKind>>,
}

impl Shared {
    /// Opens the tree, and writes a first group, which names the opening.
    pub(crate) fn open(folder: Folder, clock: Clock, feed: FeedLimits) -> Result<Arc<Self>, Fault> {
        let shared = Self {
            open: RwLock::new(Some(folder.open()?)),
            folder,
            clock,
            feed,
            opening: random()?,
            news: watch::Sender::default(),
            entries: AtomicU64::default(),
            rejecting: Mutex::default(),
            outage: OutageLog::default(),
            #[cfg(test)]
            harm: Mutex::default(),
        };
        shared.write(|group| group.must_commit = true)?;
        Ok(Arc::new(shared))
    }

    /// Reads from the tree.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Open) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with_open(|open| read(open?))
    }

    /// Lets calls work on a group, and commits it. Durable when it returns. Wakes those that wait
    /// for changes.
    ///
    /// The group takes effect completely or not at all. If the commit fails, which of the two is
    /// only known once the tree is opened again.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&mut Group<'_>) -> T) -> Result<T, Fault> {
        self.resume();
        let written = self.with_open(|open| {
            let open = open?;
            let state = *locked(&open.state);
            let mut group = Group::new(&open.rows, state, self.feed, self.clock.now());
            let done = work(&mut group);
            let committed = catch_unwind(AssertUnwindSafe(|| self.commit(open, group)));
            committed.unwrap_or_else(|panic| Err(Fault::of_panic(panic.as_ref())))?;
            Ok(done)
        });
        written.inspect_err(|fault| self.failed(fault))
    }

    fn commit(&self, open: &Open, group: Group<'_>) -> Result<(), Fault> {
        let finished = group.finish(&open.database, self.opening)?;
        let Some((batch, after)) = finished else {
            return Ok(());
        };
        if let Some((fault, _)) = &*locked(&self.rejecting) {
            return Err(fault.clone());
        }
        #[cfg(test)]
        self.fail_if_harmed()?;
        batch.commit().map_err(not_durable)?;
        let before = std::mem::replace(&mut *locked(&open.state), after);
        self.entries.store(after.entries, Ordering::Relaxed);
        self.folder.acknowledge(after.last)?;
        if after.changes != before.changes {
            self.news.send_replace(after.last);
        }
        Ok(())
    }

    /// Compacts the tree after a purge if less is kept than was removed.
    pub(crate) fn compact_if_worth_it(&self, open: &Open, removed: u64) -> Result<(), Fault> {
        if removed > self.entries().max(WORTH_COMPACTING) {
            open.rows.rotate_memtable_and_wait()?;
            open.rows.major_compact()?;
        }
        Ok(())
    }

    /// Converts a fault to the error of the contract.
    pub(crate) fn tell(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Full(_) => StoreError::Full(self.entries()),
            other => other.into(),
        }
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    fn with_open<T>(&self, act: impl FnOnce(Result<&Open, Fault>) -> T) -> T {
        if let Some(open) = &*self.open.read().unwrap_or_else(PoisonError::into_inner) {
            return act(Ok(open));
        }
        self.resume();
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        act(open.as_ref().ok_or_else(|| {
            let rejecting = locked(&self.rejecting).clone();
            rejecting.map_or(Fault::Ended, |(fault, _)| fault)
        }))
    }

    /// Opens the tree again if it rejects writes and the pause is over.
    fn resume(&self) {
        let is_due = |uptime| matches!(&*locked(&self.rejecting), Some((_, Some(until))) if uptime >= *until);
        if !is_due(self.clock.uptime()) {
            return;
        }
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have opened it meanwhile.
        if !is_due(self.clock.uptime()) {
            return;
        }
        *open = None;
        match self.folder.open() {
            Ok(again) => {
                // A group whose commit failed may have reached the journal all the same.
                let state = *locked(&again.state);
                self.entries.store(state.entries, Ordering::Relaxed);
                *open = Some(again);
                *locked(&self.rejecting) = None;
                self.news.send_replace(state.last);
                if self.outage.works() {
                    tracing::info!(
                        target: "tower_revoke::store_embedded",
                        folder = %self.folder.path.display(),
                        "the store is open again"
                    );
                }
            }
            Err(fault) => {
                *locked(&self.rejecting) = Some((fault, Some(self.clock.uptime() + PAUSE)));
            }
        }
    }

    /// Rejects writes for a while, or for good.
    fn failed(&self, fault: &Fault) {
        let mut rejecting = locked(&self.rejecting);
        if rejecting.is_some() {
            return;
        }
        let is_for_good = matches!(fault, Fault::NotDurable(_));
        let until = (!is_for_good).then(|| self.clock.uptime() + PAUSE);
        *rejecting = Some((fault.clone(), until));
        if let Some(count) = self.outage.failed(self.clock.uptime()) {
            tracing::error!(
                target: "tower_revoke::store_embedded",
                folder = %self.folder.path.display(),
                error = fault as &dyn std::error::Error,
                count,
                "the store can't write"
            );
        }
    }
}

/// Converts the error of a commit: only if the disk is full, or if the tree has failed before, the
/// journal can be continued.
pub(crate) fn not_durable(error: fjall::Error) -> Fault {
    match error {
        fjall::Error::Io(error) => match Fault::from(error) {
            Fault::Storage(error) => Fault::NotDurable(error),
            other => other,
        },
        other => other.into(),
    }
}

/// Locks a mutex, ignoring poison: what it guards is replaced as a whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
