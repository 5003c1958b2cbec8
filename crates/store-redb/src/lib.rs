//! Revocations and uses in one file of this machine, by [redb](https://docs.rs/redb).
//!
//! ```
//! use tower_revoke_list::RevocationList;
//! use tower_revoke_store_redb::RedbStore;
//!
//! # let folder = tempfile::tempdir()?;
//! # std::env::set_current_dir(&folder)?;
//! let list = RevocationList::over(RedbStore::open("revocations.redb")?);
//! # drop(list);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it promises
//!
//! * **Durable** means: written to the file and flushed to the disk by the system (`fdatasync`)
//!   before the call returns. It outlives the program, a `kill -9` at any moment, and a power cut,
//!   as far as the disk keeps what it said was kept. It does not outlive the disk.
//! * **A use has one winner** among all who use this file, and that is one process: a second one
//!   that opens it is rejected ([`RedbStoreError::Locked`]). For several nodes take another store.
//! * **A crash loses nothing that was acknowledged.** The next start checks the whole file, about
//!   half a second for a million entries.
//! * **A backup that is played back** has forgotten what came after it. Who follows the feed is told
//!   so ([`HistoryWentBack`](tower_revoke_core::StoreError::HistoryWentBack)); but that is this
//!   process itself, and it ends before the file is replaced: after playing back a backup, revoke
//!   again what was revoked since. Copy the file only while no process has it open.
//!
//! # How it works
//!
//! Writes go to a thread of their own, which does all that wait at once in one transaction with one
//! flush: the more callers, the cheaper each. Reads see the last state that was committed and wait
//! for no write. They have threads of their own too: a look-up takes some microseconds from memory,
//! but milliseconds from a disk, for which no thread of the runtime should wait.
//!
//! The first use of a single-use token, which is what most writes are, is appended to a table of
//! uses in the order in which they came, and is in memory too, where look-ups see it. Thousands of
//! them at a time go to their places in the order of the tokens, where neighbours share a page: a
//! few with each transaction that adds others, so that none takes long. A crash or a restart finds
//! them where they were. At most about 67,000 uses wait like that, in about 100 bytes of memory
//! each, 7 MB in all; reading them takes a start less than 0.1 s. Claims of tokens with more uses,
//! and what is taken again with a longer life or returned, go to their places at once.
//!
//! What has ended leaves with `purge`; its room is used again, and returned to the disk where
//! that is worth it ([`RedbStore::compact`]).
//!
//! # When something fails
//!
//! | | |
//! |---|---|
//! | the disk is full | reads go on; writes fail with [`Full`](tower_revoke_core::StoreError::Full), are tried again once a second, and go on when there is room |
//! | a read or a write fails | [`Unavailable`](tower_revoke_core::StoreError::Unavailable); the file is opened anew, and all goes on if that helps |
//! | a flush fails | nothing that the system then says about the file can be relied on: the store rejects all until the program is started again |
//! | the file is damaged | likewise, or [`RedbStoreError::Corrupt`] at the start |
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
