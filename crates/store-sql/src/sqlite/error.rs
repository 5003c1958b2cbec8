//! Why a file could not be opened, and what the numbers of SQLite's errors mean.

use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteError;
use tower_revoke_core::{BoxError, request_timeout::RequestTimeoutError};

use crate::error::Kind;

/// Why [`SqliteStore::open`](crate::SqliteStore::open) failed. Nothing was changed in the file, except
/// that one which was not there may be there now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteStoreError {
    /// A setting is invalid; the text says which one and what would be right.
    #[error("invalid setting: {0}")]
    Setting(&'static str),
    /// `request_timeout` is out of bounds.
    #[error(transparent)]
    RequestTimeout(#[from] RequestTimeoutError),
    /// Somebody held it for himself for too long: another program, or a process of ours that was
    /// stopped while it wrote. Or the disk did not answer.
    #[error("{} is locked by somebody else", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The folder in which it is to stand is not there.
    #[error("{} has no folder to stand in", path.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// It can't be written: by its permissions, or since its disk is mounted read-only.
    #[error("{} can't be written", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: BoxError,
    },
    /// Its disk has no room, and opening needs some.
    #[error("there is no room for {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: BoxError,
    },
    /// A newer release wrote it. Start that one, or give this one another file.
    #[error(
        "{} was written by a newer release: its schema is {found}, and this release knows {known}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: u32,
        /// The newest version that this release knows.
        known: u32,
    },
    /// It is something else: no file of SQLite's, or that of another program.
    #[error("{} is no store of revocations", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged. It takes a backup, or a new file; in the second case all that was revoked
    /// has to be revoked again.
    #[error("{} is damaged", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: BoxError,
    },
    /// The system rejected, for another reason.
    #[error("{} can't be opened", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: BoxError,
    },
}

/// The first byte of SQLite's numbers for what went wrong; the rest says where.
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
        let said = match error {
            sqlx::Error::Database(said) => said.try_downcast_ref::<SqliteError>(),
            _ => None,
        };
        said.map_or(Self::Other, Self::of_sqlite)
    }

    fn of_sqlite(said: &SqliteError) -> Self {
        let code = sqlx::error::DatabaseError::code(said);
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
        // The store has waited for it already.
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
