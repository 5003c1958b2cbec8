//! The errors of opening a file, and the classification of SQLite's result codes.

use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteError;
use tower_revoke_core::{BoxError, request_timeout::RequestTimeoutError};

use crate::error::Kind;

/// Why [`SqliteStore::open`](crate::SqliteStore::open) failed. An existing file was not changed; a
/// missing one may have been created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteStoreError {
    /// A setting is invalid; the text names it and the values that are valid.
    #[error("invalid setting: {0}")]
    Setting(&'static str),
    /// `request_timeout` is out of bounds.
    #[error(transparent)]
    RequestTimeout(#[from] RequestTimeoutError),
    /// The lock on the file could not be taken in time: another program holds it, or a process with
    /// a store that was stopped while it wrote. A disk that does not respond fails like this too.
    #[error("{} is locked by somebody else", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Two connections held the lock of writers at the same time. The file system has no locks, and
    /// a use could have two winners.
    #[error("{} is on a file system without locks", path.display())]
    NoLocks {
        /// The file.
        path: PathBuf,
    },
    /// The folder of the file does not exist.
    #[error("{} has no folder to stand in", path.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be written, because of its permissions or a file system that is mounted
    /// read-only.
    #[error("{} can't be written", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: BoxError,
    },
    /// The disk is full, and opening the file needs some space.
    #[error("there is no room for {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: BoxError,
    },
    /// The file was written by a newer release. Run that release, or use another file.
    #[error(
        "{} was written by a newer release: its schema is {found}, and this release knows {known}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of the file's schema.
        found: u32,
        /// The newest version that this release knows.
        known: u32,
    },
    /// The file is not a SQLite file, or belongs to another program.
    #[error("{} is no store of revocations", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged. Restore a backup, or start with a new file and revoke again everything
    /// that was revoked.
    #[error("{} is damaged", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: BoxError,
    },
    /// The file can't be opened for another reason.
    #[error("{} can't be opened", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: BoxError,
    },
}

/// SQLite's primary result code: the lowest byte of the extended one, which adds details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Busy,
    ReadOnly,
    Corrupt,
    Full,
    CantOpen,
    NotADatabase,
    Other,
}

impl Code {
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        let reported = match error {
            sqlx::Error::Database(error) => error.try_downcast_ref::<SqliteError>(),
            _ => None,
        };
        reported.map_or(Self::Other, Self::of_sqlite)
    }

    fn of_sqlite(error: &SqliteError) -> Self {
        let code = sqlx::error::DatabaseError::code(error);
        let number = code.and_then(|code| code.parse::<u32>().ok());
        match number.map(|number| number & 0xff) {
            Some(5) => Self::Busy,
            Some(8) => Self::ReadOnly,
            Some(11) => Self::Corrupt,
            Some(13) => Self::Full,
            Some(14) => Self::CantOpen,
            Some(26) => Self::NotADatabase,
            _ => Self::Other,
        }
    }
}

pub(super) fn kind(error: &sqlx::Error) -> Kind {
    Kind::of(error, |_| match Code::of(error) {
        // The whole timeout has passed in waiting for the lock.
        Code::Busy => Kind::TimedOut,
        Code::Full => Kind::Full,
        _ => Kind::Other,
    })
}

impl SqliteStoreError {
    pub(crate) fn of_driver(path: &Path, error: sqlx::Error) -> Self {
        let path = path.to_owned();
        let has_folder = path.parent().is_some_and(Path::is_dir);
        match Code::of(&error) {
            Code::Busy => Self::Locked { path },
            Code::CantOpen if !has_folder => Self::NoFolder { path },
            Code::NotADatabase => Self::Foreign { path },
            code => {
                let source = Box::new(error);
                match code {
                    Code::ReadOnly => Self::ReadOnly { path, source },
                    Code::Full => Self::Full { path, source },
                    Code::Corrupt => Self::Corrupt { path, source },
                    _ => Self::Io { path, source },
                }
            }
        }
    }
}
