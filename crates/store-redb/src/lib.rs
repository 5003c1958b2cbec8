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
//!   call returns. It survives the program, a `kill -9` at any moment, and a power cut as far as the
//!   disk keeps what it acknowledged. It does not survive the loss of the disk.
//! * **A use has one winner** among all users of the file, which is one process: a second process
//!   that opens it is rejected ([`RedbStoreError::Locked`]). Several nodes need another store.
//! * **A crash loses nothing that was acknowledged.** The next start checks the whole file, at about
//!   half a second per million entries.
//! * **A restored backup lacks what came after it.** The feed detects this
//!   ([`HistoryWentBack`](tower_revoke_core::StoreError::HistoryWentBack)), but its only follower is
//!   this process, which has to end before the file can be replaced. After restoring a backup,
//!   revoke again what was revoked since. Copy the file only while no process has it open.
//!
//! # How it works
//!
//! A thread of its own executes all writes that wait in one transaction with one flush: the more
//! callers, the cheaper each write. Reads see the last committed state and wait for no write. They
//! have threads of their own as well, because a look-up takes some microseconds from memory but
//! milliseconds from a disk, for which no thread of the runtime should wait.
//!
//! Most writes are first uses of single-use tokens. They are appended to a staging table in the order
//! in which they arrive, and are in memory too, where look-ups see them. Thousands of them at a time
//! are moved to their place in the order of the tokens, where neighbours share a page: a few with each
//! transaction that adds others, so that none takes long. A crash or a restart finds them where they
//! were. At most about 67,000 uses are staged, at about 100 bytes of memory each, 7 MB in all;
//! reading them takes a start less than 0.1 s. Uses of tokens with more uses, and uses that are
//! returned or prolonged, go to their place at once.
//!
//! `purge` removes expired entries. Their space is used again, and returned to the disk if that is
//! worth it ([`RedbStore::compact`]).
//!
//! # Failures
//!
//! | failure | effect |
//! |---|---|
//! | the disk is full | reads continue; writes fail with [`Full`](tower_revoke_core::StoreError::Full), are tried once a second, and continue when there is room |
//! | a read or a write fails | [`Unavailable`](tower_revoke_core::StoreError::Unavailable); the file is opened again, and all continues if that helps |
//! | a flush fails | nothing that the system then reports about the file is reliable: the store rejects everything until the program is started again |
//! | the file is damaged | the same, or [`RedbStoreError::Corrupt`] at the start |
//! | the disk hangs | [`TimedOut`](tower_revoke_core::StoreError::TimedOut) after [`request_timeout`](RedbStoreBuilder::request_timeout) |

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
