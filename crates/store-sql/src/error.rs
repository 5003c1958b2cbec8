//! What can be wrong with a database, or with the way to it.

use std::{sync::Arc, time::Duration};

use sqlx::error::DatabaseError;
use tower_revoke_core::StoreError;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use tower_revoke_core::{BoxError, request_timeout::RequestTimeoutError};

/// Why a store could not be opened. No password is in it.
#[cfg(any(feature = "mysql", feature = "postgres"))]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlStoreError {
    /// A setting is invalid; the text says which one and what would be right.
    #[error("invalid setting: {0}")]
    Setting(&'static str),
    /// `request_timeout` is out of bounds.
    #[error(transparent)]
    RequestTimeout(#[from] RequestTimeoutError),
    /// The address can't be read, or no connection could be made: no such host, nobody listens, a
    /// certificate that is not trusted, TLS that is wanted and not compiled in.
    #[error("the database can't be reached")]
    Unreachable(#[source] BoxError),
    /// It did not answer in time.
    #[error("the database did not answer within {0:?}")]
    TimedOut(Duration),
    /// The user or the password is wrong, or there is no such database, or it may not be used.
    #[error("the database does not accept the login")]
    Login(#[source] BoxError),
    /// It answered with an error.
    #[error("the database answered with an error")]
    Rejected(#[source] BoxError),
    /// It keeps texts in another encoding than UTF-8, and would reject some.
    #[error("the database keeps texts as {0}; it must be UTF8")]
    Encoding(String),
    /// A table is kept by another engine than InnoDB, which alone has transactions.
    #[error("the table {0} is not kept by InnoDB")]
    Engine(String),
    /// The tables are not there, or older, and creating them was left to somebody else.
    #[error("the schema {schema} is at version {found}, not at {known}; run the migration")]
    Older {
        /// The schema's name; in MariaDB and MySQL, the prefix of the tables' names.
        schema: String,
        /// Its version; 0: it is not there.
        found: u32,
        /// The version that this release needs.
        known: u32,
    },
    /// The tables were made by a newer release.
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

/// Why something that was asked of the database got no answer. Given to everybody who waited for
/// the same transaction.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the database did not do what was asked")]
    Database(#[source] Arc<sqlx::Error>),
    #[error("the database did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("the connection broke, and what was asked may have happened")]
    InDoubt(#[source] Arc<sqlx::Error>),
    #[error("the connection broke before anything was written")]
    #[cfg_attr(
        not(feature = "mysql"),
        expect(
            dead_code,
            reason = "others write in one statement, or not over a network"
        )
    )]
    Undone(#[source] Arc<sqlx::Error>),
    #[error("the database has no room")]
    Full,
    #[error("the words are longer than the database takes at once")]
    TooLong,
    #[error("the runtime in which the store was opened has ended")]
    Ended,
    #[error("{0} of the database can't be read")]
    Garbled(&'static str),
    #[error("the system gives no random numbers")]
    Random,
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TimedOut(within) => Self::TimedOut(within),
            // Nobody has counted them.
            Failure::Full => Self::Full(0),
            Failure::TooLong => Self::Unsupported("room for words that are so long"),
            other => Self::Unavailable(Box::new(other)),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

/// What to do about an error of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The connection is lost; the statement may have taken effect.
    Broken,
    /// The statement had no effect, and a retry may succeed.
    Again,
    /// It took too long.
    TimedOut,
    /// The disk or the table is full; the statement had no effect.
    Full,
    /// A retry would fail as well.
    Other,
}

impl Kind {
    /// Sorts an error of the driver, and by `of_answer` one that the database answered with.
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
