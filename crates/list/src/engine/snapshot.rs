//! Starts the mirror from a snapshot, and writes new ones.

use std::{
    error::Error,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::{JoinHandle, spawn_blocking};
use tower_revoke_core::{Cursor, Store, Use};

use super::source::Source;
use crate::{
    ListStats, MirrorSnapshot, SnapshotError, SnapshotState,
    mirror::{Mirror, Shard, Tables},
    snapshot::Entry,
    timer::Timer,
};

/// How many entries are read between two checks of the mirror's capacity.
const CHECKED_EVERY: u64 = 65_536;

/// The snapshot of a list, and what has become of it.
pub(super) struct Snapshot {
    settings: MirrorSnapshot,
    was_read: AtomicBool,
    /// Up to where in the feed the mirror is complete. `None` before it is.
    position: Mutex<Option<Cursor>>,
    /// The position and the number of own uses that were written last. Locked during a write.
    last: Mutex<Option<(Cursor, usize)>>,
    state: Mutex<SnapshotState>,
    written: AtomicU64,
    failures: AtomicU64,
    rejected: AtomicU64,
}

/// The contents of a file.
struct Saved {
    tables: Tables<Shard>,
    uses: Vec<Use>,
    cursor: Cursor,
}

impl Snapshot {
    pub(super) fn new(settings: MirrorSnapshot) -> Self {
        Self {
            settings,
            was_read: AtomicBool::new(false),
            position: Mutex::default(),
            last: Mutex::default(),
            state: Mutex::default(),
            written: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        }
    }

    pub(super) fn settings(&self) -> &MirrorSnapshot {
        &self.settings
    }

    /// Sets up to where the mirror is complete. `None` while its contents are dropped.
    pub(super) fn moves_to(&self, position: Option<&Cursor>) {
        *locked(&self.position) = position.cloned();
    }

    /// The store has answered, and the mirror continues from the snapshot.
    pub(super) fn is_taken_over(&self) {
        *locked(&self.state) = SnapshotState::TakenOver;
        tracing::info!(
            target: "tower_revoke::list",
            "the mirror of the list continues from its snapshot"
        );
    }

    fn reject(&self, error: SnapshotError) {
        *locked(&self.state) = SnapshotState::Rejected(error);
        self.rejected.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            target: "tower_revoke::list",
            snapshot = ?self.settings,
            error = &error as &dyn Error,
            "the snapshot of the list's mirror is ignored: everything is loaded from the store"
        );
    }

    pub(super) fn report(&self, stats: &mut ListStats) {
        stats.snapshot = *locked(&self.state);
        stats.snapshots_written = self.written.load(Ordering::Relaxed);
        stats.snapshot_failures = self.failures.load(Ordering::Relaxed);
        stats.snapshots_rejected = self.rejected.load(Ordering::Relaxed);
    }

    fn write(&self, mirror: &Mirror) -> Result<(), SnapshotError> {
        let mut last = locked(&self.last);
        let drops = mirror.drops();
        let position = locked(&self.position).clone();
        let position = position.ok_or(SnapshotError::NoMirror)?;
        let uses = mirror.uses(None);
        let state = Some((position.clone(), uses.len()));
        if *last == state {
            return Ok(());
        }
        self.settings.write(&position, |file| {
            // The mirror is followed meanwhile. Whatever is newer than the position is read from the
            // feed again, which has no further effect.
            let mut table = 0;
            while let Some((is_rule, changes)) = mirror.saved(table) {
                let entry = if is_rule { Entry::Rule } else { Entry::Token };
                for change in changes {
                    file.put(&entry(change))?;
                }
                table += 1;
            }
            for use_ in uses {
                file.put(&use_.into())?;
            }
            match mirror.drops() == drops {
                true => Ok(()),
                false => Err(SnapshotError::NoMirror),
            }
        })?;
        *last = state;
        self.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Reads a file, but no more than the mirror may hold.
fn read(settings: &MirrorSnapshot, capacity: u64) -> Result<Option<Saved>, SnapshotError> {
    let (mut tables, mut uses, mut entries) = (Tables::empty(), Vec::new(), 0_u64);
    let is_too_large = |tables: &Tables<Shard>, uses: &[Use]| match tables.len() + uses.len() as u64
    {
        entries if entries > capacity => Err(SnapshotError::TooLarge(capacity)),
        _ => Ok(()),
    };
    let cursor = settings.read(|entry| {
        match entry {
            Entry::Token(change) => tables.put(&change, false),
            Entry::Rule(change) => tables.put(&change, true),
            Entry::Use { .. } => uses.extend(entry.into_use()),
        }
        entries += 1;
        match entries % CHECKED_EVERY {
            0 => is_too_large(&tables, &uses),
            _ => Ok(()),
        }
    })?;
    is_too_large(&tables, &uses)?;
    Ok(cursor.map(|cursor| Saved {
        tables,
        uses,
        cursor,
    }))
}

/// When the next snapshot is due, and the task that writes the last one.
#[derive(Default)]
pub(super) struct Saves {
    next: Option<Duration>,
    running: Option<JoinHandle<Result<(), SnapshotError>>>,
}

impl Saves {
    /// Starts to write a snapshot, if one is due and none is being written. The first one is due
    /// after an interval.
    pub(super) fn save_if_due<S: Store, T: Timer>(
        &mut self,
        source: &Arc<Source<S, T>>,
        every: Duration,
    ) {
        let now = source.clock.uptime();
        let next = *self.next.get_or_insert(now + every);
        let is_running = |task: &JoinHandle<_>| !task.is_finished();
        if next <= now && !self.running.as_ref().is_some_and(is_running) {
            self.next = Some(now + every);
            self.running = source.save_in_background();
        }
    }
}

impl<S: Store, T: Timer> Source<S, T> {
    pub(super) fn reject_snapshot(&self, error: SnapshotError) {
        if let Some(snapshot) = &self.snapshot {
            snapshot.reject(error);
        }
    }

    /// Fills a mirror that has never been loaded from the snapshot. Returns the position in the feed
    /// from which it can be followed, or `None` if it must be loaded.
    pub(super) async fn start_from_snapshot(&self, mirror: &Mirror) -> Option<Cursor> {
        let snapshot = self.snapshot.as_ref()?;
        if snapshot.was_read.swap(true, Ordering::Relaxed) {
            return None;
        }
        let (settings, capacity) = (snapshot.settings.clone(), mirror.capacity);
        let read = spawn_blocking(move || read(&settings, capacity));
        match outcome(read).await {
            Ok(Some(saved)) => {
                mirror.take_over(saved.tables, &saved.uses);
                *locked(&snapshot.state) = SnapshotState::Loaded;
                let entries = mirror.entries();
                tracing::info!(
                    target: "tower_revoke::list",
                    entries,
                    "the mirror of the list starts from its snapshot"
                );
                Some(saved.cursor)
            }
            Ok(None) => None,
            Err(error) => {
                self.reject_snapshot(error);
                None
            }
        }
    }

    /// Writes the snapshot, if there is one, in a task that may block.
    pub(super) fn save_in_background(
        self: &Arc<Self>,
    ) -> Option<JoinHandle<Result<(), SnapshotError>>> {
        self.snapshot.as_ref()?;
        let source = self.clone();
        Some(spawn_blocking(move || {
            let (Some(snapshot), Some(mirror)) = (&source.snapshot, &source.mirror) else {
                return Err(SnapshotError::NoMirror);
            };
            snapshot.write(mirror).inspect_err(|error| {
                snapshot.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    target: "tower_revoke::list",
                    snapshot = ?snapshot.settings,
                    error = error as &dyn Error,
                    "the snapshot of the list's mirror was not written: the last one remains"
                );
            })
        }))
    }
}

/// Waits for a task that reads or writes a file.
pub(super) async fn outcome<R>(
    task: JoinHandle<Result<R, SnapshotError>>,
) -> Result<R, SnapshotError> {
    // It fails only if the runtime shuts down.
    let ended = task.await;
    ended.unwrap_or(Err(SnapshotError::Io(io::ErrorKind::Interrupted)))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
