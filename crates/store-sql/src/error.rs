//! The errors of opening a store on a server, and of its calls.

use std::{sync::Arc, time::Duration};

use sqlx::error::DatabaseError;
use tower_revoke_core::StoreError;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use tower_revoke_core::{BoxError, request_timeout::RequestTimeoutError};

#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::unfit::UnfitServer;

/// Why a store on a server could not be opened. Its texts never contain the password.
#[cfg(any(feature = "mysql", feature = "postgres"))]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlStoreError {
    /// A setting of the store or of the server is invalid.
    #[error("invalid setting: {0}")]
    Setting(&'static str),
    /// `request_timeout` is out of bounds.
    #[error(transparent)]
    RequestTimeout(#[from] RequestTimeoutError),
    /// The URL can't be parsed, or no connection could be made: the host is unknown, the connection
    /// is refused, the certificate is not trusted, or TLS is required and not compiled in.
    #[error("the database can't be reached")]
    Unreachable(#[source] BoxError),
    /// The database did not answer in time.
    #[error("the database did not answer within {0:?}")]
    TimedOut(Duration),
    /// The user or the password is wrong, the database does not exist, or a privilege is missing.
    #[error("the database rejected the login")]
    Login(#[source] BoxError),
    /// The database answered with an error.
    #[error("the database answered with an error")]
    Rejected(#[source] BoxError),
    /// The server is a standby, a replica or read-only. What it returns may be older than what the
    /// primary has acknowledged, and nothing can be written to it.
    #[error("the database is a standby or read-only; the URL must lead to the primary")]
    ReadOnly,
    /// The server is of a kind that is known not to be fit for the store.
    #[error("the database is {server}, which lacks {lacks}; `allow_server` opens it all the same")]
    Unfit {
        /// What the server is.
        server: UnfitServer,
        /// What the store relies on and does not find there.
        lacks: &'static str,
    },
    /// Sessions don't have the isolation level that the store sets.
    #[error("sessions of the database run at the isolation level {found:?}, not {needed:?}")]
    Isolation {
        /// The level of a new session.
        found: String,
        /// The level that the store relies on.
        needed: &'static str,
    },
    /// Two connections that contended for one use both got it. The database, or a proxy in front of
    /// it, does not give the locks or the isolation that the store relies on.
    #[error("two connections took the same use: the database lacks locks or isolation")]
    TwoWinners,
    /// The use for which two connections contend can't be read back after it was written, as on a
    /// proxy that reads elsewhere.
    #[error("what was written to the database can't be read back")]
    Probe,
    /// The encoding of the database is not UTF-8, so it could not store every text.
    #[error("the encoding of the database is {0}; it must be UTF8")]
    Encoding(String),
    /// A table does not use InnoDB, the only engine with the transactions that the store needs.
    #[error("the table {0} must use the engine InnoDB")]
    Engine(String),
    /// The tables are missing or from an older release, and `migrate_on_connect` is off.
    #[error("the schema {schema} is at version {found}, not at {known}; run the migration")]
    Older {
        /// The schema's name; in MariaDB and MySQL, the prefix of the tables' names.
        schema: String,
        /// Its version; 0 if it is missing.
        found: u32,
        /// The version that this release needs.
        known: u32,
    },
    /// The tables are from a newer release.
    #[error("the schema {schema} is at version {found}; this release knows {known}")]
    Newer {
        /// The schema's name; in MariaDB and MySQL, the prefix of the tables' names.
        schema: String,
        /// Its version.
        found: u32,
        /// The newest version that this release knows.
        known: u32,
    },
}

/// Why a call failed. Cloned for each caller whose write was in the transaction.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the database answered with an error, or can't be reached")]
    Database(#[source] Arc<sqlx::Error>),
    #[error("the database did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("the connection broke, and the write may have taken effect")]
    InDoubt(#[source] Arc<sqlx::Error>),
    #[error("the connection broke before anything was written")]
    Undone(#[source] Arc<sqlx::Error>),
    #[error("the database is full")]
    Full,
    #[error("the database has become a standby or read-only")]
    ReadOnly,
    #[error("the texts are longer than the database takes at once")]
    TooLong,
    #[error("the tokio runtime in which the store was opened has ended")]
    Ended,
    #[error("{0} in the database can't be read")]
    Garbled(&'static str),
    #[error("the system provides no random numbers")]
    Random,
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TimedOut(within) => Self::TimedOut(within),
            // These stores don't count their entries.
            Failure::Full => Self::Full(0),
            Failure::TooLong => Self::Unsupported("room for texts of this length"),
            other => Self::Unavailable(Box::new(other)),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

/// The class of a driver's error, which decides how it is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The connection is lost; the statement may have taken effect.
    Broken,
    /// A serialization conflict, a deadlock or a lock that was not granted in time: the statement
    /// had no effect, and a retry may succeed.
    #[cfg_attr(
        not(any(feature = "mysql", feature = "postgres")),
        expect(dead_code, reason = "writers of SQLite wait for each other")
    )]
    Again,
    /// The statement, or the wait for a connection or a lock, took too long.
    TimedOut,
    /// The disk or the table is full; the statement had no effect.
    Full,
    /// A retry would fail as well.
    Other,
}

impl Kind {
    /// Classifies an error of the driver; `of_answer` classifies those that the database returned.
    pub(crate) fn of(
        error: &sqlx::Error,
        of_answer: impl Fn(&(dyn DatabaseError + 'static)) -> Self,
    ) -> Self {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self::Broken
            }
            sqlx::Error::PoolTimedOut => Self::TimedOut,
            sqlx::Error::Database(error) => of_answer(&**error),
            _ => Self::Other,
        }
    }
}
