//! Errors of the store.

use std::{error::Error, io, sync::Arc, time::Duration};

use redis::{ErrorKind, ServerErrorKind};
use tower_revoke_core::{StoreError, request_timeout::RequestTimeoutError};

/// An error of opening a store; also the source of
/// [`StoreError::Unavailable`](tower_revoke_core::StoreError::Unavailable). Contains no password.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisStoreError {
    /// A setting is invalid.
    #[error("invalid setting: {0}")]
    Setting(&'static str),
    /// [`request_timeout`](crate::RedisStoreBuilder::request_timeout) is out of bounds.
    #[error(transparent)]
    RequestTimeout(#[from] RequestTimeoutError),
    /// A certificate or a key is invalid.
    #[error("TLS can't be set up")]
    Tls(#[source] Arc<dyn Error + Send + Sync>),
    /// The server can't be reached: the host is unknown, nothing listens, it doesn't speak TLS, its
    /// certificate is not trusted, or the connection broke.
    #[error("{node} can't be reached")]
    Unreachable {
        /// The server, as `host:port`.
        node: String,
        /// The cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// The connection was not established in time.
    #[error("{node} did not answer within {timeout:?}")]
    TimedOut {
        /// The server, as `host:port`.
        node: String,
        /// The limit.
        timeout: Duration,
    },
    /// The user or the password is wrong or missing.
    #[error("{node} rejects the login")]
    Login {
        /// The server, as `host:port`.
        node: String,
        /// The answer of the server.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The login lacks a permission. The store reads, writes and runs scripts.
    #[error("the login on {node} lacks a permission that the store needs")]
    Forbidden {
        /// The address of the server.
        node: String,
        /// The server's answer, which names the command or key.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The server answered with an error.
    #[error("{node} answered with an error")]
    Rejected {
        /// The server, as `host:port`.
        node: String,
        /// The answer of the server.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The server may evict revocations when its memory is full.
    #[error("{node} evicts keys (maxmemory-policy {policy}); it must be noeviction")]
    Evicts {
        /// The server, as `host:port`.
        node: String,
        /// Its `maxmemory-policy`.
        policy: String,
    },
    /// The server does not tell whether it may evict revocations: `CONFIG GET` is forbidden.
    #[error(
        "{node} does not tell its maxmemory-policy; if it is noeviction, set \
         `skip_eviction_check`"
    )]
    EvictionUnknown {
        /// The server, as `host:port`.
        node: String,
        /// The answer of the server.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The server is older than Redis 6.2.
    #[error("{node} runs Redis {version}; at least 6.2 is needed")]
    TooOld {
        /// The server, as `host:port`.
        node: String,
        /// Its version.
        version: String,
    },
    /// The server is not the primary, or no longer.
    #[error("{node} is not the primary")]
    NotPrimary {
        /// The server, as `host:port`.
        node: String,
    },
    /// No sentinel knows a primary of this name.
    #[error("no sentinel knows a primary named {name}")]
    NoPrimary {
        /// The name.
        name: String,
    },
    /// The servers are not a cluster, or not all of its slots are served.
    #[error("the cluster names no owner of slot {slot}")]
    NoOwner {
        /// The slot.
        slot: u16,
    },
    /// The keys of this prefix have the layout of another version, or that of a cluster on a single
    /// server, or the other way round.
    #[error("the layout of the keys is {found}, not {wanted}")]
    OtherLayout {
        /// Their layout.
        found: String,
        /// The layout of this release.
        wanted: String,
    },
    /// The write was made, but too few replicas acknowledged it in time.
    #[error("{acknowledged} of {wanted} replicas acknowledged the write")]
    TooFewReplicas {
        /// The number that did.
        acknowledged: u32,
        /// The number that was required.
        wanted: u32,
    },
    /// An answer or a stored value is malformed.
    #[error("{0} is malformed")]
    Malformed(&'static str),
}

/// A failed request. Callers that share a request get the same one.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Unavailable(RedisStoreError),
    TimedOut(Duration),
    Full,
}

impl From<RedisStoreError> for Failure {
    fn from(error: RedisStoreError) -> Self {
        Self::Unavailable(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable(error) => Self::Unavailable(Box::new(error)),
            Failure::TimedOut(within) => Self::TimedOut(within),
            // `Inner::error` fills in the number of entries.
            Failure::Full => Self::Full(0),
        }
    }
}

impl RedisStoreError {
    /// Classifies an error of the driver, whose types are not part of our API.
    pub(crate) fn of_driver(node: &str, error: redis::RedisError) -> Self {
        let node = node.to_owned();
        if error.is_io_error() {
            let kind = (error.source())
                .and_then(|source| source.downcast_ref::<io::Error>())
                .map_or(io::ErrorKind::Other, io::Error::kind);
            return Self::Unreachable {
                node,
                source: Arc::new(io::Error::new(kind, error)),
            };
        }
        let needs_login = |code| matches!(code, "NOAUTH" | "WRONGPASS");
        if error.kind() == ErrorKind::AuthenticationFailed || error.code().is_some_and(needs_login)
        {
            return Self::Login {
                node,
                source: Arc::new(error),
            };
        }
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::NotPrimary { node },
            _ if error.code() == Some("NOPERM") => Self::Forbidden {
                node,
                source: Arc::new(error),
            },
            _ => Self::Rejected {
                node,
                source: Arc::new(error),
            },
        }
    }
}

/// The error of a stored value that can't be read.
pub(crate) fn malformed() -> StoreError {
    Failure::from(RedisStoreError::Malformed("what is stored")).into()
}
