//! Why a file could not be opened.

use std::{io, path::PathBuf};

use tower_revoke_core::{BoxError, request_timeout::RequestTimeoutError};

/// Why [`RedbStore::open`](crate::RedbStore::open) failed. Nothing was changed in the file, except
/// that one which was not there may be there now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedbStoreError {
    /// [`request_timeout`](crate::RedbStoreBuilder::request_timeout) is out of bounds.
    #[error(transparent)]
    RequestTimeout(#[from] RequestTimeoutError),
    /// Another process has it open, or this one has.
    #[error("{} is open already, here or in another process: one file serves one process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It, or its folder, can't be written: by its permissions, or since its disk is mounted
    /// read-only.
    #[error("{} can't be written", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its disk has no room, and opening needs some.
    #[error("there is no room for {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A newer release wrote it. Start that one, or give this one another file.
    #[error(
        "{} was written by a newer release: its {what} is {found}, and this release knows {known}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is newer: the schema of this store, or redb's file format.
        what: &'static str,
        /// Its version in the file.
        found: u32,
        /// The newest version that this release knows.
        known: u32,
    },
    /// It is something else: no file of redb's, or that of another program.
    #[error("{} is no store of revocations", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged. It takes a backup, or a new file; in the second case all that was revoked
    /// has to be revoked again.
    #[error("{} is damaged: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system rejected, for another reason.
    #[error("{} can't be opened", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: BoxError,
    },
}
