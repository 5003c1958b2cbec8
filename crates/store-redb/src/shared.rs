//! The open file that the threads share, and what happens to it when something fails.

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

/// Between two attempts at what has just failed for want of room, or could not be opened.
const PAUSE: Duration = Duration::from_secs(1);

/// Below this, what could be returned is not worth anybody's wait.
const WORTH_COMPACTING: u64 = 16 << 20;

/// What is kept is moved at about 100 MB a second, and all wait meanwhile.
const QUICKLY_COMPACTED: u64 = 32 << 20;

/// In bytes of the file.
const SMALLEST_ENTRY: u64 = 100;

pub(crate) struct Shared {
    pub(crate) place: Place,
    pub(crate) clock: Clock,
    pub(crate) identity: Identity,
    pub(crate) feed_capacity: u64,
    pub(crate) feed_retention: Duration,
    /// The end of the feed, for those who wait for news.
    pub(crate) news: watch::Sender<u64>,
    entries: AtomicU64,
    /// How many uses are staged before they are moved.
    gathered: usize,
    /// Never more than was committed, and all of it before its callers are answered. Taken after
    /// `db`, if both are.
    staged: RwLock<Staged>,
    /// Readers and the writer hold it as long as their transaction; who replaces it, alone.
    db: RwLock<Option<Database>>,
    rejecting: Mutex<Rejecting>,
    /// Faults after which the file is opened again.
    outage: OutageLog,
    bad_rows: LogLimit,
}

/// What is not even tried.
#[derive(Default)]
struct Rejecting {
    /// Until an uptime of the clock.
    writes: Option<(Fault, Duration)>,
    /// Likewise, reads as well; for good, if there is no time.
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

    /// The uses that are staged. Who looks for a use looks here before the transaction begins
    /// in which it reads: one that has left since is found there.
    pub(crate) fn staged(&self) -> RwLockReadGuard<'_, Staged> {
        self.staged.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn staged_mut(&self) -> RwLockWriteGuard<'_, Staged> {
        self.staged.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads one state of the file.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let done = self.with_db(|db| unwound(|| read(&db.begin_read()?)));
        done.map_err(|fault| self.failed(fault, false))
    }

    /// Writes all or nothing, durably, and tells those who wait for news.
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

    /// Moves what is kept to the front of the file, and cuts off the rest; whether anything was
    /// moved. Nothing else can be done meanwhile.
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

    /// Likewise, if a good part of a file that is large can be returned in a short time.
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

    /// redb does nothing more with a file after the first error that it met there. What may pass
    /// is tried again with the file opened anew; what can't be relied on is closed for good.
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
                // If this fails, so do all who ask, until it works.
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
        // Closing writes a little, and redb takes a damaged file at its word there too.
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
        // Only the file knows what became of a transaction that failed.
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

/// How many bytes of the file are in use.
fn used(db: &Database) -> Result<u64, Fault> {
    // What a transaction has returned counts as used until the one after the next.
    for _ in 0..2 {
        db.begin_write()?.commit()?;
    }
    let txn = db.begin_write()?;
    let stats = txn.stats()?;
    txn.abort()?;
    Ok(stats.allocated_pages() * stats.page_size() as u64)
}
