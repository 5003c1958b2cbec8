//! Errors of the store.

use std::{error::Error, sync::Arc, time::Duration};

use scylla::errors::{DbError, ExecutionError, NewSessionError, PrepareError, RequestAttemptError};
use tower_revoke_core::{BoxError, StoreError, request_timeout::RequestTimeoutError};

/// An error of opening a store or of creating its tables. Contains no password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CassandraStoreError {
    /// A setting is invalid.
    #[error("invalid setting: {0}")]
    Setting(&'static str),
    /// [`request_timeout`](crate::CassandraStoreBuilder::request_timeout) is out of bounds.
    #[error(transparent)]
    RequestTimeout(#[from] RequestTimeoutError),
    /// The consistency would lose acknowledged writes or allow two winners.
    #[error(
        "the consistency must be QUORUM or LOCAL_QUORUM, not {0}: a read must see what was written"
    )]
    Consistency(String),
    /// A certificate or a key is invalid.
    #[error("TLS can't be set up")]
    Tls(#[source] BoxError),
    /// No node can be reached: the host is unknown, nothing listens, the login is rejected, or the
    /// certificate is not trusted.
    #[error("no node of the cluster can be reached")]
    Unreachable(#[source] BoxError),
    /// The cluster did not answer in time.
    #[error("the cluster did not answer within {0:?}")]
    TimedOut(Duration),
    /// The cluster answered with an error, which is the source. ScyllaDB may reject conditional
    /// writes in a keyspace that uses tablets: create it with `tablets = {'enabled': false}`.
    #[error("the cluster answered with an error")]
    Rejected(#[source] BoxError),
    /// The tables are missing or older: run
    /// [`migrate`](crate::CassandraStoreBuilder::migrate).
    #[error("the keyspace {keyspace} is at version {found}, not at {known}; run the migration")]
    Older {
        /// The keyspace's name.
        keyspace: String,
        /// Its version; 0 if it has no tables.
        found: u32,
        /// The version that this release needs.
        known: u32,
    },
    /// The tables were made by a newer release.
    #[error("the keyspace {keyspace} is at version {found}; this release knows {known}")]
    Newer {
        /// The keyspace's name.
        keyspace: String,
        /// Its version.
        found: u32,
        /// The newest version that this release knows.
        known: u32,
    },
}

/// A failed request.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the request failed")]
    Driver(#[source] Arc<dyn Error + Send + Sync>),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("{0} in the cluster is malformed")]
    Malformed(&'static str),
    #[error("the runtime in which the store was opened was shut down")]
    Ended,
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TimedOut(within) => Self::TimedOut(within),
            other => Self::Unavailable(Box::new(other)),
        }
    }
}

impl Failure {
    pub(crate) fn driver(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Driver(Arc::new(error))
    }
}

/// Whether the same request may succeed if it is repeated.
pub(crate) fn is_worth_repeating(error: &ExecutionError) -> bool {
    let ExecutionError::LastAttemptError(error) = error else {
        return matches!(error, ExecutionError::RequestTimeout(_));
    };
    match error {
        RequestAttemptError::DbError(error, _) => matches!(
            error,
            DbError::WriteTimeout { .. }
                | DbError::ReadTimeout { .. }
                | DbError::WriteFailure { .. }
                | DbError::ReadFailure { .. }
                | DbError::Overloaded
                | DbError::IsBootstrapping
                | DbError::RateLimitReached { .. }
                // The unknown outcome of a conditional write, in protocol 5.
                | DbError::Other(0x1700)
        ),
        RequestAttemptError::BrokenConnectionError(_)
        | RequestAttemptError::UnableToAllocStreamId => true,
        _ => false,
    }
}

/// The driver's error types are not part of our API.
impl CassandraStoreError {
    pub(crate) fn unreachable(error: NewSessionError) -> Self {
        Self::Unreachable(Box::new(error))
    }

    pub(crate) fn rejected(error: PrepareError) -> Self {
        Self::Rejected(Box::new(error))
    }
}

impl From<Failure> for CassandraStoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TimedOut(within) => Self::TimedOut(within),
            other => Self::Rejected(Box::new(other)),
        }
    }
}
