//! The error of opening a file.

use std::{io, path::PathBuf};

use tower_revoke_core::{BoxError, request_timeout::RequestTimeoutError};

/// Why [`RedbStore::open`](crate::RedbStore::open) failed.
///
/// An existing file is unchanged. A file that didn't exist may have been created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedbStoreError {
    /// The [`request_timeout`](crate::RedbStoreBuilder::request_timeout) is out of bounds.
    #[error(transparent)]
    RequestTimeout(#[from] RequestTimeoutError),
    /// The file is open in another process, or already in this one.
    #[error("{} is open already, here or in another process: one file serves one process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file or its folder can't be written, because of its permissions or a read-only file
    /// system.
    #[error("{} can't be written", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The disk is full. Opening a file needs some space.
    #[error("there is no room for {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file was written by a newer release. Run that release, or use another file.
    #[error(
        "{} was written by a newer release: its {what} is {found}, and this release knows {known}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is newer: the schema of this store or the file format of redb.
        what: &'static str,
        /// Its version in the file.
        found: u32,
        /// The newest version that this release can read.
        known: u32,
    },
    /// The file is not a store: redb doesn't recognize it, or another program wrote it.
    #[error("{} is no store of revocations", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged. Restore a backup and revoke again what was revoked since, or start with
    /// a new file and revoke everything again.
    #[error("{} is damaged: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
        what: String,
    },
    /// The operating system reported another error.
    #[error("{} can't be opened", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: BoxError,
    },
}
