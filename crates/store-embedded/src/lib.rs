//! Keeps revocations, uses and issued tokens in one local folder, without a server.
//!
//! # Examples
//! ```
//! use tower_revoke_list::RevocationList;
//! use tower_revoke_store_embedded::EmbeddedStore;
//!
//! # let folder = tempfile::tempdir()?;
//! # std::env::set_current_dir(&folder)?;
//! let list = RevocationList::new(EmbeddedStore::open("revocations")?);
//! # drop(list);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! * **Durable** means that a write is in the journal and flushed to the disk (`fdatasync`) before
//!   the call returns. It survives the program, a `kill -9` at any moment, and a power cut, if the
//!   disk keeps what it acknowledged. It does not survive the loss of the disk.
//! * **A use is granted to one caller.** One process at a time can open the folder; a second one
//!   fails with [`EmbeddedStoreError::Locked`]. Several nodes need another store.
//! * **A crash loses nothing that was acknowledged.** The next start reads the journal again, which
//!   is limited in size. If an acknowledged write is missing, it fails with
//!   [`EmbeddedStoreError::Corrupt`].
//! * **A restored backup lacks what came after it.** The feed detects this
//!   ([`HistoryWentBack`](tower_revoke_core::StoreError::HistoryWentBack)), but its only follower is
//!   this process, which has to end before the folder can be replaced. After restoring a backup,
//!   revoke again what was revoked since. Copy the folder only while no process has it open.
//!
//! # The outbox
//!
//! With the feature `outbox`, `EmbeddedStore::outbox` keeps in the same folder which revocations
//! authorization servers are still to be told ([`Outbox`](tower_revoke_core::Outbox)). The tokens are
//! sealed by aws-lc-rs under keys of the user, the only secrets in the folder.
//!
//! # How it works
//!
//! The rows are in a log-structured tree, by [fjall](https://docs.rs/fjall). A single thread
//! executes all waiting writes and commits them as one batch, appended to the journal with one flush
//! (group commit), so that a write gets cheaper the more callers there are. Reads see the last
//! committed state and never wait for a write. They run on threads of their own too: a look-up takes
//! microseconds from memory but milliseconds from a disk, and must not block a thread of the runtime
//! for that long.
//!
//! fjall takes a journal as ended where it becomes unreadable, since that is what a crash in the
//! middle of a write leaves. To tell that from damage, each group has a number, and the number of
//! the last acknowledged group is kept in a file beside the journal. It is written but not flushed:
//! a power cut may leave an older number, which only makes the check weaker. A write that a power cut
//! has torn is dropped, unless the tear is within one row: that is taken for damage. Only rows with a
//! reason or an author of hundreds of bytes are long enough for that.
//!
//! A new journal reserves 64 MiB. It takes no space on the disk before it is written.
//!
//! `purge` removes expired entries. Their space is returned to the disk as the tree is compacted in
//! the background, which `purge` does by itself if less is kept than was removed. The files are
//! removed with the next 16 MiB that are written.
//!
//! # Failures
//!
//! * **The disk is full.** Reads continue. Writes fail with [`Full`] and are tried once a second
//!   until there is space.
//! * **A read fails, or what it reads is damaged.** The call fails with [`Unavailable`].
//! * **A write or a flush fails.** Reads continue. Writes fail with [`Unavailable`] until the
//!   program is started again. After a flush that failed, the kernel may drop what it could not
//!   write and still return it to readers, so the journal can't be continued.
//! * **The disk hangs.** Calls fail with [`TimedOut`] after
//!   [`request_timeout`](EmbeddedStoreBuilder::request_timeout).
//!
//! [`Full`]: tower_revoke_core::StoreError::Full
//! [`TimedOut`]: tower_revoke_core::StoreError::TimedOut
//! [`Unavailable`]: tower_revoke_core::StoreError::Unavailable

mod builder;
mod cursor;
mod error;
mod fault;
mod folder;
mod group;
mod issued;
#[cfg(feature = "outbox")]
mod outbox;
mod reading;
mod rows;
#[cfg(feature = "outbox")]
mod sealed;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod threads;

pub use self::{builder::EmbeddedStoreBuilder, error::EmbeddedStoreError, store::EmbeddedStore};
#[cfg(feature = "outbox")]
pub use self::{outbox::EmbeddedOutbox, sealed::OutboxKeys};
