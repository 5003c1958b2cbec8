//! The public type of the store.

use super::database::Sqlite;
use crate::{public::is_a_store, store::SqlStore};

/// A [`Store`](tower_revoke_core::Store) in a SQLite file, which any number of processes on one
/// machine can share. Cheap to clone; clones are handles of the same store.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_revoke_list::RevocationList;
/// use tower_revoke_store_sql::SqliteStore;
///
/// # let folder = tempfile::tempdir()?;
/// # std::env::set_current_dir(&folder)?;
/// let list = RevocationList::new(SqliteStore::open("revocations.sqlite").await?);
/// # drop(list);
/// # Ok(()) }
/// ```
///
/// # Guarantees
///
/// * **An acknowledged write is durable**: it is in SQLite's log (`revocations.sqlite-wal`), and
///   the system has flushed that to disk (`synchronous=FULL`, on macOS with `fullfsync`). It
///   survives the end of the program, a `kill -9` at any moment, and a power cut if the disk keeps
///   what it acknowledged as flushed. It does not survive the loss of the disk.
/// * **A use has one winner** among all processes that have the file open. A writer holds the lock
///   on the file from before its first read to its commit (`BEGIN IMMEDIATE`).
/// * **A crash loses no acknowledged write.** The next process to open the file recovers the log.
/// * **A process that is stopped while it writes blocks the other writers.** Their calls fail with
///   [`TimedOut`](tower_revoke_core::StoreError::TimedOut) after
///   [`request_timeout`](crate::SqliteStoreBuilder::request_timeout). Reads don't wait for writers. When
///   the process ends, its transaction is rolled back.
/// * **Restoring a backup loses what was written after it.** The feed then fails with
///   [`HistoryWentBack`](tower_revoke_core::StoreError::HistoryWentBack). See
///   [below](#backups) for how to make and restore one.
/// * **Not over a network**: the processes share memory and locks of the operating system. On NFS
///   or SMB the file can be damaged, and a use can have two winners.
///
/// # Backups
///
/// Copy the file only while no process has it open, and together with its `-wal` if there is one,
/// since the log is part of the data. While a process has it open, use `VACUUM INTO`, or `.backup`
/// of SQLite's shell.
///
/// To restore a backup, end all processes, replace the file, and delete its `-wal` and `-shm`. Then
/// revoke again what was revoked after the backup was made.
///
/// The log is deleted a moment after the last handle is dropped, unless the process ends before
/// that or another process closes the file at the same time.
///
/// # How it works
///
/// Concurrent writes of one process share a transaction and its flush to disk (group commit), so a
/// write costs less the more callers there are. The events of the feed are numbered in the
/// transaction, and so in the order of the commits. Callers of
/// [`changed`](tower_revoke_core::ChangeFeed::changed) are woken at once by the writes of their own
/// process, and within about a tenth of a second by those of other processes. SQLite works on
/// threads of its own.
///
/// [`purge`](tower_revoke_core::Store::purge) removes expired entries. Their space is reused, and
/// returned to the file system once it is a quarter of the file. Tokens are stored as hashes, and
/// uses under random ids; the keys of rules, and who revoked and why, are readable in the file.
///
/// If the disk is full, reads still work, and writes fail with
/// [`Full`](tower_revoke_core::StoreError::Full) until there is space; the number in that error is
/// 0, since entries are not counted. If the disk fails or a page is damaged, calls fail with
/// [`Unavailable`](tower_revoke_core::StoreError::Unavailable): an entry that can't be read is
/// never taken for absent.
#[derive(Clone, Debug)]
pub struct SqliteStore(pub(super) SqlStore<Sqlite>);

is_a_store!(SqliteStore);
