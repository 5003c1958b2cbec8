//! The store in a file of SQLite's.

mod builder;
mod error;
mod file;
mod reading;
mod rows;
#[cfg(test)]
mod tests;
mod writing;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool, sqlite::SqliteConnectOptions,
};
use tokio::sync::{Mutex, watch};
use tower_revoke_core::{KeyDigest, Listed, Record, RecordFilter, UnixTime};

use self::error::Code;
pub(crate) use self::error::kind;
pub use self::{builder::SqliteStoreBuilder, error::SqliteStoreError};
use crate::{
    backend::{Backend, Batch, Digest, Feed, Revoked, Trim, Used, Window},
    error::Failure,
    op::Answer,
    public::is_a_store,
    store::SqlStore,
};

/// How often it is looked for what other processes wrote, while somebody waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A file of SQLite's, as the [`SqlStore`] sees it.
pub(crate) struct Sqlite {
    path: PathBuf,
    /// Of the connections that write.
    options: SqliteConnectOptions,
    pool: SqlitePool,
    connections: u32,
    /// Whoever writes in this process waits here, not in SQLite, which would have to be asked over
    /// and over.
    turn: Mutex<()>,
    purging: Mutex<Option<SqliteConnection>>,
    /// The last event that this process knows of.
    last: watch::Sender<i64>,
}

/// A [`Store`](tower_revoke_core::Store) in a file of SQLite's, which any number of processes of one
/// machine share; a cheap handle, clones are the same store.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_revoke_list::RevocationList;
/// use tower_revoke_store_sql::SqliteStore;
///
/// # let folder = tempfile::tempdir()?;
/// # std::env::set_current_dir(&folder)?;
/// let list = RevocationList::over(SqliteStore::open("revocations.sqlite").await?);
/// # drop(list);
/// # Ok(()) }
/// ```
///
/// # What it promises
///
/// * **Durable** means: written to SQLite's log (`revocations.sqlite-wal`) and flushed to the disk
///   by the system before the call returns (`synchronous=FULL`; on macOS by `fullfsync`). It outlives
///   the program, a `kill -9` at any moment, and a power cut, as far as the disk keeps what it said
///   was kept. It does not outlive the disk.
/// * **A use has one winner** among all processes that have the file open: who writes holds it for
///   himself from the first row that he reads to the commit (`BEGIN IMMEDIATE`).
/// * **A crash loses nothing that was acknowledged.** Who opens the file next reads the log again.
/// * **A process that is stopped while it writes holds up the others**: after
///   [`request_timeout`](SqliteStoreBuilder::request_timeout) they are told
///   [`TimedOut`](tower_revoke_core::StoreError::TimedOut). Reads wait for nobody. When the process ends,
///   its transaction was none.
/// * **A backup that is played back** has forgotten what came after it. Who follows the feed is told
///   so ([`HistoryWentBack`](tower_revoke_core::StoreError::HistoryWentBack)); but all processes end
///   before the file is replaced: after playing back a backup, revoke again what was revoked since.
///   Copy the file only while nobody has it open, and with its `-wal` where there is one, since the
///   log is a part of it; else by `VACUUM INTO` or `.backup` of SQLite's shell. Replace it with its
///   `-wal` and `-shm` gone. The last handle to be dropped takes the log away a moment later, unless
///   its process ends before, or another one at the same time.
/// * **Not over a network**: the processes share memory and locks of the system. On NFS or SMB the
///   file can be damaged, and a use can have two winners.
///
/// # How it works
///
/// What callers of one process write at the same time is one transaction with one flush: the more
/// callers, the cheaper each. The feed is numbered in it, in the order of the commits. Who waits for
/// [`changed`](tower_revoke_core::Store::changed) is woken at once by what this process writes, and
/// within about a tenth of a second by what another one does. SQLite works on threads of its own.
///
/// What has ended leaves with `purge`; its room is used again, and returned to the disk where it
/// is a quarter of the file. Tokens and claims are hashes; the keys of rules, and who revoked and why,
/// are readable in the file.
///
/// When the disk is full, reads go on, and writes fail with
/// [`Full`](tower_revoke_core::StoreError::Full) until there is room; entries are not counted for it.
/// When the disk fails, or what is read is damaged, it is
/// [`Unavailable`](tower_revoke_core::StoreError::Unavailable): what can't be read is never taken for good.
#[derive(Clone, Debug)]
pub struct SqliteStore(SqlStore<Sqlite>);

is_a_store!(SqliteStore);

impl SqliteStore {
    /// Opens the file, or creates it, with the default settings; see [`SqliteStoreBuilder::open`].
    ///
    /// # Errors
    /// Any [`SqliteStoreError`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, SqliteStoreError> {
        Self::builder(path).open().await
    }

    /// The store in a file, with other settings.
    pub fn builder(path: impl AsRef<Path>) -> SqliteStoreBuilder {
        SqliteStoreBuilder::new(path.as_ref().to_owned())
    }
}

impl Backend for Sqlite {
    type Link = SqliteConnection;

    async fn open(&self) -> Result<SqliteConnection, Failure> {
        loop {
            match self.options.connect().await {
                // For as long as the caller waits for this, as in `begin`.
                Err(error) if Code::of(&error) == Code::Busy => tokio::task::yield_now().await,
                opened => return Ok(opened?),
            }
        }
    }

    async fn close(&self, link: Option<SqliteConnection>) {
        // The last one to close the file puts the log into it, and two that close it at the same
        // time each leave that to the other: one after the other, then. If it fails, the next one
        // to open it does that.
        while self.pool.size() > 0 {
            // It leaves open what is returned in the last moment.
            self.pool.close().await;
        }
        let purging = self.purging.lock().await.take();
        for link in [purging, link].into_iter().flatten() {
            let _ = link.close().await;
        }
    }

    async fn apply(
        &self,
        link: &mut SqliteConnection,
        batch: &Batch<'_>,
    ) -> Result<Vec<Answer>, Failure> {
        let (answers, last) = {
            let _turn = self.turn.lock().await;
            writing::apply(link, batch).await?
        };
        self.tell(last);
        Ok(answers)
    }

    async fn trim(&self, link: &mut SqliteConnection, trim: Trim) -> Result<(), Failure> {
        let _turn = self.turn.lock().await;
        writing::trim(link, trim).await
    }

    async fn purge(&self, before: UnixTime, at_once: i64) -> Result<(u64, bool), Failure> {
        let mut kept = self.purging.lock().await;
        // Taken out: a call that is cut off leaves a connection of no use.
        let mut link = match kept.take() {
            Some(link) => link,
            None => self.open().await?,
        };
        let purged = {
            let _turn = self.turn.lock().await;
            writing::purge(&mut link, before, at_once).await?
        };
        *kept = Some(link);
        Ok(purged)
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, Failure> {
        reading::look_up(&self.pool, keys).await
    }

    async fn feed(&self, after: i64, at_most: usize) -> Result<Feed, Failure> {
        reading::feed(&self.pool, after, at_most).await
    }

    async fn revoked(
        &self,
        after: Option<Digest>,
        at_most: usize,
    ) -> Result<Vec<Revoked>, Failure> {
        reading::revoked(&self.pool, after, at_most).await
    }

    async fn uses(&self, after: Option<Digest>, at_most: usize) -> Result<Vec<Used>, Failure> {
        reading::uses(&self.pool, after, at_most).await
    }

    async fn record(&self, key: &KeyDigest) -> Result<Option<Record>, Failure> {
        reading::record(&self.pool, key).await
    }

    async fn records(
        &self,
        wanted: &RecordFilter,
        after: Option<Digest>,
        window: usize,
        at_most: usize,
    ) -> Result<Window, Failure> {
        reading::records(&self.pool, wanted, after, window, at_most).await
    }

    fn readers(&self) -> u32 {
        self.connections
    }

    async fn listen(&self, news: &watch::Sender<i64>) {
        let mut last = self.last.subscribe();
        loop {
            news.send_replace(*last.borrow_and_update());
            if tokio::time::timeout(LOOK_EVERY, last.changed())
                .await
                .is_err()
                && let Ok(seq) = reading::last_event(&self.pool).await
            {
                self.tell(seq);
            }
        }
    }
}

impl Sqlite {
    /// Whoever waits for an event after those that were known is woken.
    fn tell(&self, seq: i64) {
        self.last.send_if_modified(|last| {
            let is_news = *last < seq;
            *last = seq.max(*last);
            is_news
        });
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
