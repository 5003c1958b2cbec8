//! What can be wrong with a cluster, or with the way to it.

use std::{error::Error, sync::Arc, time::Duration};

use scylla::errors::{DbError, ExecutionError, NewSessionError, PrepareError, RequestAttemptError};
use tower_revoke_core::{BoxError, StoreError, request_timeout::RequestTimeoutError};

/// Why a store could not be opened, or its tables not be made. No password is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CassandraStoreError {
    /// A setting can't be used.
    #[error("the setting can't be used: {0}")]
    Setting(&'static str),
    /// [`request_timeout`](crate::CassandraStoreBuilder::request_timeout) is out of bounds.
    #[error(transparent)]
    RequestTimeout(#[from] RequestTimeoutError),
    /// The consistency would lose what was acknowledged, or have two winners.
    #[error(
        "the consistency {0} is none of QUORUM and LOCAL_QUORUM: a read must see what was written"
    )]
    Consistency(String),
    /// The certificates that were given can't be used.
    #[error("TLS can't be set up")]
    Tls(#[source] BoxError),
    /// No node could be reached: no such host, nobody listens, a login that is rejected, a
    /// certificate that is not trusted.
    #[error("no node of the cluster can be reached")]
    Unreachable(#[source] BoxError),
    /// The cluster did not answer in time.
    #[error("the cluster did not answer within {0:?}")]
    TimedOut(Duration),
    /// It answered with an error; what it said is the source. A keyspace of ScyllaDB whose tables
    /// are spread as tablets may reject conditional writes: create it with
    /// `tablets = {'enabled': false}`.
    #[error("the cluster answered with an error")]
    Rejected(#[source] BoxError),
    /// The tables are not there, or older: run
    /// [`migrate`](crate::CassandraStoreBuilder::migrate).
    #[error("the keyspace {keyspace} is at version {found}, not at {known}; run the migration")]
    Older {
        /// The keyspace's name.
        keyspace: String,
        /// Its version; 0: its tables are not there.
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

/// Why a question got no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no node did what was asked")]
    Driver(#[source] Arc<dyn Error + Send + Sync>),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("{0} of the cluster can't be read")]
    Malformed(&'static str),
    #[error("the runtime in which the store was opened has ended")]
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

/// Whether the very same question may be answered when it is asked again.
pub(crate) fn is_worth_repeating(error: &ExecutionError) -> bool {
    let ExecutionError::LastAttemptError(error) = error else {
        return matches!(error, ExecutionError::RequestTimeout(_));
    };
    match error {
        RequestAttemptError::DbError(said, _) => matches!(
            said,
            DbError::WriteTimeout { .. }
                | DbError::ReadTimeout { .. }
                | DbError::WriteFailure { .. }
                | DbError::ReadFailure { .. }
                | DbError::Overloaded
                | DbError::IsBootstrapping
                | DbError::RateLimitReached { .. }
                // Of writes under conditions that nobody knows the outcome of, in protocol 5.
                | DbError::Other(0x1700)
        ),
        RequestAttemptError::BrokenConnectionError(_)
        | RequestAttemptError::UnableToAllocStreamId => true,
        _ => false,
    }
}

/// The driver's types stay behind ours.
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
