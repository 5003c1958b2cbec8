//! The error of opening a folder.

use std::{io, path::PathBuf};

use tower_revoke_core::{BoxError, request_timeout::RequestTimeoutError};

/// Why [`EmbeddedStore::open`](crate::EmbeddedStore::open) failed.
///
/// A folder that belongs to another program or a newer release is unchanged. A folder that didn't
/// exist may have been created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedStoreError {
    /// The [`request_timeout`](crate::EmbeddedStoreBuilder::request_timeout) is out of bounds.
    #[error(transparent)]
    RequestTimeout(#[from] RequestTimeoutError),
    /// The folder is open in another process, or already in this one.
    #[error("{} is open already, here or in another process: one folder serves one process", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder can't be written, because of its permissions or a read-only file system.
    #[error("{} can't be written", path.display())]
    ReadOnly {
        /// The folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The disk is full. Opening a folder needs some space.
    #[error("there is no room for {}", path.display())]
    Full {
        /// The folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The folder was written by a newer release. Run that release, or use another folder.
    #[error(
        "{} was written by a newer release: its {what} is {found}, and this release knows {known}",
        path.display()
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// What is newer: the schema of this store or the format of fjall's files.
        what: &'static str,
        /// Its version in the folder.
        found: u32,
        /// The newest version that this release can read.
        known: u32,
    },
    /// The path is a file, or a folder with files of another program.
    #[error("{} is no store of revocations", path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
    },
    /// The folder is damaged: something can't be read, or an acknowledged write is missing. Restore
    /// a backup and revoke again what was revoked since, or start with a new folder and revoke
    /// everything again.
    #[error("{} is damaged: {what}", path.display())]
    Corrupt {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The operating system reported another error.
    #[error("{} can't be opened", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The error of the operating system.
        source: BoxError,
    },
}
