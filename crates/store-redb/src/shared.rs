//! The open file that the threads share, and how it recovers from faults.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redb::{Database, ReadTransaction, ReadableTableMetadata};
use tokio::sync::watch;
use tower_revoke_core::{
    Clock, StoreError,
    internal::{LogLimit, OutageLog},
};

use crate::{
    fault::Fault,
    file::{Place, unwound},
    schema::{FEED, Identity, META, REVOKED, USES, feed_end},
    staged::Staged,
    tables::Tables,
};

/// The pause between two attempts to write to a full disk, or to open the file again.
const PAUSE: Duration = Duration::from_secs(1);

/// Smaller files are not compacted after a purge: what they could return isn't worth the wait.
const WORTH_COMPACTING: u64 = 16 << 20;

/// The most bytes in use at which a purge compacts. They are moved at about 100 MB a second, and
/// all calls wait meanwhile.
const QUICKLY_COMPACTED: u64 = 32 << 20;

/// The least bytes of the file that an entry takes.
const SMALLEST_ENTRY: u64 = 100;

pub(crate) struct Shared {
    pub(crate) place: Place,
    pub(crate) clock: Clock,
    pub(crate) identity: Identity,
    pub(crate) feed_capacity: u64,
    pub(crate) feed_retention: Duration,
    /// The end of the feed, for those that wait for changes.
    pub(crate) news: watch::Sender<u64>,
    entries: AtomicU64,
    /// How many uses are gathered before they are moved.
    gathered: usize,
    /// The staged uses in memory, which mirror the committed rows.
    ///
    /// Updated after the commit, so that a look-up never sees a use that a crash could undo, and
    /// before callers are answered, so that it sees every acknowledged one. Lock order: `db` first.
    staged: RwLock<Staged>,
    /// Read-locked for the length of each transaction, reading or writing. Write-locked to close,
    /// reopen or compact the file, which thereby waits for all transactions.
    db: RwLock<Option<Database>>,
    rejecting: Mutex<Rejecting>,
    /// Limits the logging of faults after which the file is opened again.
    outage: OutageLog,
    bad_rows: LogLimit,
}

/// Operations that fail without an attempt.
#[derive(Default)]
struct Rejecting {
    /// Writes fail with this fault until this uptime of the clock.
    writes: Option<(Fault, Duration)>,
    /// Reads and writes fail with this fault until this uptime, or for good if it is `None`.
    all: Option<(Fault, Option<Duration>)>,
}

impl Shared {
    pub(crate) fn new(
        place: Place,
        clock: Clock,
        db: Database,
        identity: Identity,
        (feed_capacity, feed_retention): (u64, Duration),
        gathered: usize,
    ) -> Result<Self, Fault> {
        let txn = db.begin_read()?;
        let end = feed_end(&txn.open_table(META)?, &txn.open_table(FEED)?)?;
        let staged = Staged::read(&txn)?;
        let listed = txn.open_table(REVOKED)?.len()? + txn.open_table(USES)?.len()?;
        drop(txn);
        Ok(Self {
            place,
            clock,
            identity,
            feed_capacity,
            feed_retention,
            news: watch::Sender::new(end),
            entries: AtomicU64::new(listed + staged.len() as u64),
            gathered,
            staged: RwLock::new(staged),
            db: RwLock::new(Some(db)),
            rejecting: Mutex::default(),
            outage: OutageLog::default(),
            bad_rows: LogLimit::default(),
        })
    }

    /// Locks the staged uses.
    ///
    /// Must be read before the transaction that reads the tables begins. A use that is moved in
    /// between is then found in both places; in the other order it would be found in neither.
    pub(crate) fn staged(&self) -> RwLockReadGuard<'_, Staged> {
        self.staged.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn staged_mut(&self) -> RwLockWriteGuard<'_, Staged> {
        self.staged.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from one snapshot of the file.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let done = self.with_db(|db| unwound(|| read(&db.begin_read()?)));
        done.map_err(|fault| self.failed(fault, false))
    }

    /// Runs a write transaction, and returns when it is durable. Wakes those that wait for changes.
    ///
    /// The write takes effect completely or not at all. If the commit itself fails, which of the
    /// two is only known once the file is opened again. A transaction that changed nothing is
    /// aborted, which saves the flush.
    pub(crate) fn write<T>(
        &self,
        write: impl FnOnce(&mut Tables<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.may_write()?;
        let now = self.clock.now();
        let done = self.with_db(|db| {
            unwound(|| {
                let txn = db.begin_write()?;
                let staged = self.staged();
                let mut tables = Tables::open(&txn, now, &staged)?;
                let done = write(&mut tables)?;
                if !tables.has_written() {
                    drop(tables);
                    txn.abort()?;
                    return Ok((done, None));
                }
                let since = now.saturating_sub(self.feed_retention);
                tables.trim(self.feed_capacity, since)?;
                tables.move_staged(self.gathered)?;
                let after = (tables.feed_end(), tables.entries()?);
                let changes = tables.into_staged();
                drop(staged);
                txn.commit()?;
                self.staged_mut().apply(changes);
                Ok((done, Some(after)))
            })
        });
        match done {
            Ok((done, after)) => {
                if let Some((end, entries)) = after {
                    self.entries.store(entries, Ordering::Relaxed);
                    self.news.send_if_modified(|news| {
                        let is_new = *news != end;
                        *news = end;
                        is_new
                    });
                }
                Ok(done)
            }
            Err(fault) => {
                let told = fault.clone();
                self.failed(fault, true);
                Err(told)
            }
        }
    }

    /// Compacts the file, and returns whether anything was moved. Blocks all other transactions.
    pub(crate) fn compact(&self) -> Result<bool, StoreError> {
        let done = self.may_write().and_then(|()| {
            let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
            match &mut *db {
                Some(db) => unwound(|| Ok(db.compact()?)),
                None => Ok(false),
            }
        });
        done.map_err(|fault| self.failed(fault, true))
    }

    /// Compacts the file if that is quick and returns most of it.
    pub(crate) fn compact_if_worth_it(&self) -> Result<bool, StoreError> {
        let size = self.place.bytes().unwrap_or(0);
        let at_least = self.entries.load(Ordering::Relaxed) * SMALLEST_ENTRY;
        if size < WORTH_COMPACTING || at_least > QUICKLY_COMPACTED {
            return Ok(false);
        }
        let used = self
            .may_write()
            .and_then(|()| self.with_db(|db| unwound(|| used(db))));
        let used = used.map_err(|fault| self.failed(fault, true))?;
        if used > size / 4 || used > QUICKLY_COMPACTED {
            return Ok(false);
        }
        self.compact()
    }

    pub(crate) fn tell(&self, fault: Fault) -> StoreError {
        fault.tell(self.entries.load(Ordering::Relaxed))
    }

    fn may_write(&self) -> Result<(), Fault> {
        match &self.rejecting().writes {
            Some((fault, until)) if self.clock.uptime() < *until => Err(fault.clone()),
            _ => Ok(()),
        }
    }

    fn with_db<T>(&self, act: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, Fault> {
        if let Some(db) = &*self.db() {
            return act(db);
        }
        self.open_again()?;
        match &*self.db() {
            Some(db) => act(db),
            None => Err(Fault::Ended),
        }
    }

    fn db(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.db.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn rejecting(&self) -> MutexGuard<'_, Rejecting> {
        self.rejecting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles a fault, and converts it to the error for the caller.
    ///
    /// After an I/O error redb rejects all further work on an open file. If the fault may be
    /// temporary, the file is opened again. If its contents are no longer reliable, it is closed
    /// for good.
    fn failed(&self, fault: Fault, in_write: bool) -> StoreError {
        let fault = match self.place.health.sync_failed() {
            true => Fault::NotDurable,
            false => fault,
        };
        match fault {
            Fault::Full(_) | Fault::Storage(_) => {
                self.log_outage(&fault);
                if in_write {
                    let until = self.clock.uptime() + PAUSE;
                    self.rejecting().writes = Some((fault.clone(), until));
                }
                self.close();
                // If this fails, the next call tries again.
                let _ = self.open_again();
            }
            Fault::NotDurable | Fault::Damaged(_) => {
                let is_known = matches!(self.rejecting().all, Some((_, None)));
                if !is_known {
                    self.log(&fault, 1);
                    self.rejecting().all = Some((fault.clone(), None));
                    self.close();
                }
            }
            Fault::Row(_) => {
                if let Some(count) = self.bad_rows.count(self.clock.uptime(), 1) {
                    self.log(&fault, count);
                }
            }
            Fault::Closed(_) | Fault::Ended => {}
        }
        self.tell(fault)
    }

    fn log_outage(&self, fault: &Fault) {
        if let Some(count) = self.outage.failed(self.clock.uptime()) {
            self.log(fault, count);
        }
    }

    fn log(&self, fault: &Fault, count: u64) {
        tracing::error!(
            file = %self.place.path.display(),
            error = fault as &dyn std::error::Error,
            count,
            "the store's file failed"
        );
    }

    fn close(&self) {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        // Closing writes a little, and redb may panic over a damaged file there too.
        let _ = catch_unwind(AssertUnwindSafe(|| *db = None));
    }

    fn open_again(&self) -> Result<(), Fault> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        if db.is_some() {
            return Ok(());
        }
        let mut rejecting = self.rejecting();
        match &rejecting.all {
            Some((fault, None)) => return Err(fault.clone()),
            Some((fault, Some(until))) if self.clock.uptime() < *until => {
                return Err(fault.clone());
            }
            _ => {}
        }
        let open = self.place.open();
        let open = open.map_err(|error| Fault::Closed(Arc::new(error)));
        // A transaction whose commit failed may have reached the disk: memory follows the file.
        let open = open.and_then(|db| unwound(move || Ok((Staged::read(&db.begin_read()?)?, db))));
        match open {
            Ok((staged, open)) => {
                if self.outage.works() {
                    let file = self.place.path.display();
                    tracing::info!(%file, "the store's file is open again");
                }
                *self.staged_mut() = staged;
                *db = Some(open);
                rejecting.all = None;
                Ok(())
            }
            Err(fault) => {
                self.log_outage(&fault);
                let until = self.clock.uptime() + PAUSE;
                rejecting.all = Some((fault.clone(), Some(until)));
                Err(fault)
            }
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("path", &self.place.path)
            .finish_non_exhaustive()
    }
}

/// Returns how many bytes of the file are in use.
fn used(db: &Database) -> Result<u64, Fault> {
    // Pages that a transaction frees count as allocated until two more transactions have committed.
    for _ in 0..2 {
        db.begin_write()?.commit()?;
    }
    let txn = db.begin_write()?;
    let stats = txn.stats()?;
    txn.abort()?;
    Ok(stats.allocated_pages() * stats.page_size() as u64)
}
