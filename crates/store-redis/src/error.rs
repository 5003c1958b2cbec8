//! What can be wrong with a Redis server, or with the way to it.

use std::{error::Error, io, sync::Arc, time::Duration};

use redis::{ErrorKind, ServerErrorKind};
use tower_revoke_core::{StoreError, request_timeout::RequestTimeoutError};

/// Why a store could not be opened; also the source of
/// [`StoreError::Unavailable`](tower_revoke_core::StoreError::Unavailable). No password is in it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisStoreError {
    /// A setting can't be used.
    #[error("the setting can't be used: {0}")]
    Setting(&'static str),
    /// [`request_timeout`](crate::RedisStoreBuilder::request_timeout) is out of bounds.
    #[error(transparent)]
    RequestTimeout(#[from] RequestTimeoutError),
    /// The certificates or keys that were given can't be used.
    #[error("TLS can't be set up")]
    Tls(#[source] Arc<dyn Error + Send + Sync>),
    /// No connection could be made, or it broke: no such host, nobody listens, an answer in
    /// another language than TLS, a certificate that is not trusted.
    #[error("{node} can't be reached")]
    Unreachable {
        /// The server, as `host:port`.
        node: String,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// The connection was not ready in time.
    #[error("{node} did not answer within {timeout:?}")]
    TimedOut {
        /// The server, as `host:port`.
        node: String,
        /// The limit.
        timeout: Duration,
    },
    /// The user or the password is wrong, or one is needed.
    #[error("{node} does not accept the login")]
    Login {
        /// The server, as `host:port`.
        node: String,
        /// What it said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The server answered with an error.
    #[error("{node} answered with an error")]
    Rejected {
        /// The server, as `host:port`.
        node: String,
        /// What it said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The server may throw revocations away when its memory is full.
    #[error("{node} evicts keys (maxmemory-policy {policy}); it must be noeviction")]
    Evicts {
        /// The server, as `host:port`.
        node: String,
        /// Its `maxmemory-policy`.
        policy: String,
    },
    /// The server does not say whether it may throw revocations away: `CONFIG GET` is forbidden.
    #[error(
        "{node} does not tell its maxmemory-policy; if it is noeviction, say so by \
         `skip_eviction_check`"
    )]
    EvictionUnknown {
        /// The server, as `host:port`.
        node: String,
        /// What it said.
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
    /// The server is not the primary, or not any more.
    #[error("{node} is not the primary")]
    NotPrimary {
        /// The server, as `host:port`.
        node: String,
    },
    /// None of the sentinels knows a primary of this name.
    #[error("no sentinel knows a primary named {name}")]
    NoPrimary {
        /// The name.
        name: String,
    },
    /// The servers are no cluster, or one that does not serve all slots.
    #[error("the cluster does not say who serves the slot {slot}")]
    NoOwner {
        /// The slot.
        slot: u16,
    },
    /// What is under this prefix was laid out by another version, or for a cluster and this is
    /// none, or the other way round.
    #[error("the entries are laid out as {found}, not as {wanted}")]
    OtherLayout {
        /// As they are.
        found: String,
        /// As they would have to be.
        wanted: String,
    },
    /// The write was made, but too few replicas said in time that they have it.
    #[error("{acknowledged} of {wanted} replicas acknowledged the write")]
    TooFewReplicas {
        /// How many did.
        acknowledged: u32,
        /// How many had to.
        wanted: u32,
    },
    /// An answer or a stored value has not the shape that it must have.
    #[error("{0} can't be read")]
    Malformed(&'static str),
}

/// Why a request got no answer; many callers may get the same.
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
            // How many it holds is filled in by who can ask.
            Failure::Full => Self::Full(0),
        }
    }
}

impl RedisStoreError {
    /// Sorts an error of the driver; its types stay behind ours.
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
            _ => Self::Rejected {
                node,
                source: Arc::new(error),
            },
        }
    }
}

/// What is stored can't be read.
pub(crate) fn malformed() -> StoreError {
    Failure::from(RedisStoreError::Malformed("what is stored")).into()
}
