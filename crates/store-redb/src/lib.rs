//! Keeps revocations and uses of bearer tokens in one local file, by [redb](https://docs.rs/redb).
//!
//! # Examples
//! ```
//! use tower_revoke_list::RevocationList;
//! use tower_revoke_store_redb::RedbStore;
//!
//! # let folder = tempfile::tempdir()?;
//! # std::env::set_current_dir(&folder)?;
//! let list = RevocationList::new(RedbStore::open("revocations.redb")?);
//! # drop(list);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! * **Durable** means that a write is in the file and flushed to the disk (`fdatasync`) before the
//!   call returns. It survives the program, a `kill -9` at any moment, and a power cut, if the disk
//!   keeps what it acknowledged. It does not survive the loss of the disk.
//! * **A use is granted to one caller.** One process at a time can open the file; a second one
//!   fails with [`RedbStoreError::Locked`]. Several nodes need another store.
//! * **A crash loses nothing that was acknowledged.** The next start checks the whole file, at about
//!   half a second per million entries.
//! * **A restored backup lacks what came after it.** The feed detects this
//!   ([`HistoryWentBack`](tower_revoke_core::StoreError::HistoryWentBack)), but its only follower is
//!   this process, which has to end before the file can be replaced. After restoring a backup,
//!   revoke again what was revoked since. Copy the file only while no process has it open.
//!
//! # How it works
//!
//! A single thread executes all waiting writes in one transaction with one flush (group commit), so
//! that a write gets cheaper the more callers there are. Reads see the last committed state and
//! never wait for a write. They run on threads of their own too: a look-up takes microseconds from
//! memory but milliseconds from a disk, and must not block a thread of the runtime for that long.
//!
//! Most writes are first uses of single-use tokens. Token ids are hashes, so each would go to a
//! different page of the sorted table of uses. The store therefore appends them to a staging table,
//! in the order of arrival, and keeps them in memory for look-ups. Later it moves thousands of them
//! to the table of uses in the order of the tokens, where many share a page. Each transaction that
//! stages uses moves a few, so that none takes long. Staged uses are as durable as all others, and
//! a start reads them back into memory in less than 0.1 s. At most about 67,000 uses are staged, at
//! about 100 bytes of memory each, 7 MB in all. Uses of tokens with a higher limit, and uses that
//! are returned or extended, go to the table of uses directly.
//!
//! `purge` removes expired entries. Their space is reused for new ones, and returned to the file
//! system if much of it is free and that is quick. [`RedbStore::compact`] returns it at any time.
//!
//! # Failures
//!
//! * **The disk is full.** Reads continue. Writes fail with [`Full`] and are tried once a second
//!   until there is space.
//! * **A read or a write fails.** Calls fail with [`Unavailable`]. The store opens the file again,
//!   and continues if that succeeds.
//! * **A flush fails.** All calls fail with [`Unavailable`] until the program is started again. The
//!   kernel may drop pages that it could not write and still return them to readers, so the file
//!   can no longer be relied on while it is open.
//! * **The file is damaged.** All calls fail with [`Unavailable`], and the next start with
//!   [`RedbStoreError::Corrupt`].
//! * **The disk hangs.** Calls fail with [`TimedOut`] after
//!   [`request_timeout`](RedbStoreBuilder::request_timeout).
//!
//! [`Full`]: tower_revoke_core::StoreError::Full
//! [`TimedOut`]: tower_revoke_core::StoreError::TimedOut
//! [`Unavailable`]: tower_revoke_core::StoreError::Unavailable

mod builder;
mod cursor;
mod disk;
mod error;
mod fault;
mod file;
mod reading;
mod rows;
mod schema;
mod shared;
mod staged;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod threads;

pub use self::{builder::RedbStoreBuilder, error::RedbStoreError, store::RedbStore};
