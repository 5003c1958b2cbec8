//! The public type of the store.

use super::database::Sqlite;
use crate::{public::is_a_store, store::SqlStore};

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
/// let list = RevocationList::new(SqliteStore::open("revocations.sqlite").await?);
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
pub struct SqliteStore(pub(super) SqlStore<Sqlite>);

is_a_store!(SqliteStore);
