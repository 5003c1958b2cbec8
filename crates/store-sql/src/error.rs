//! What can be wrong with a database, or with the way to it.

use std::{sync::Arc, time::Duration};

#[cfg(any(feature = "mysql", feature = "postgres"))]
use tower_revoke_core::BoxError;
use tower_revoke_core::StoreError;

/// Why a store could not be opened. No password is in it.
#[cfg(any(feature = "mysql", feature = "postgres"))]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlStoreError {
    /// A setting can't be used.
    #[error("the setting can't be used: {0}")]
    Setting(&'static str),
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

/// What can be done about an error of the driver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The connection is of no use any more; what was asked may have happened.
    Broken,
    /// Nothing has happened, and the next attempt may do.
    Again,
    /// It took too long.
    TimedOut,
    /// There is no room, and nothing has happened.
    Full,
    /// It won't get better by asking again.
    Other,
}

impl Kind {
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self::Broken
            }
            sqlx::Error::PoolTimedOut => Self::TimedOut,
            sqlx::Error::Database(said) => Self::of_database(&**said),
            _ => Self::Other,
        }
    }

    fn of_database(said: &(dyn sqlx::error::DatabaseError + 'static)) -> Self {
        #[cfg(feature = "mysql")]
        if let Some(said) = said.try_downcast_ref() {
            return crate::mysql::kind(said);
        }
        #[cfg(feature = "sqlite")]
        if let Some(said) = said.try_downcast_ref() {
            return crate::sqlite::kind(said);
        }
        match said.code().as_deref() {
            // Ended by an administrator, by a crash of a neighbour; or it starts up.
            Some("57P01" | "57P02" | "57P03" | "57P05") => Self::Broken,
            // It has become a standby: the primary is elsewhere by now.
            Some("25006") => Self::Broken,
            Some("40001" | "40P01") => Self::Again,
            Some("57014") => Self::TimedOut,
            Some("53100") => Self::Full,
            _ => Self::Other,
        }
    }
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
impl SqlStoreError {
    /// Sorts an error of PostgreSQL's; the driver's types stay behind ours.
    #[cfg(feature = "postgres")]
    pub(crate) fn of_driver(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(said) => said.code().map(|code| code.into_owned()),
            _ => None,
        };
        match (code.as_deref(), Kind::of(&error)) {
            (Some("28000" | "28P01" | "3D000" | "42501"), _) => Self::Login(Box::new(error)),
            (Some("57P03"), _) | (None, _) => Self::Unreachable(Box::new(error)),
            _ => Self::Rejected(Box::new(error)),
        }
    }
}
