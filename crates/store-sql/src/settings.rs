//! The settings that the stores have in common.

use std::time::Duration;

use tower_revoke_core::{Clock, request_timeout};

#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::error::SqlStoreError;

/// How many times the request timeout opening may take: it makes several requests, and may create
/// tables.
pub(crate) const REQUESTS_TO_OPEN: u32 = 5;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) max_connections: Option<u32>,
    pub(crate) request_timeout: Duration,
    pub(crate) feed_capacity: u64,
    pub(crate) feed_retention: Duration,
    pub(crate) clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: None,
            request_timeout: request_timeout::DEFAULT,
            feed_capacity: 100_000,
            feed_retention: Duration::from_secs(86_400),
            clock: Clock::system(),
        }
    }
}

impl Settings {
    /// How long opening may take.
    pub(crate) fn opening_timeout(&self) -> Duration {
        self.request_timeout.saturating_mul(REQUESTS_TO_OPEN)
    }
}

/// Defines the setters that all builders have, in the `impl` of a builder with `settings`.
macro_rules! common_setters {
    () => {
        /// Sets how long one call may take, including a new connection and the wait for other
        /// writers; longer ones fail with [`TimedOut`](tower_revoke_core::StoreError::TimedOut). A
        /// purge may take as long for each of its steps, and opening the store five times as long.
        /// Defaults to 2 s.
        pub fn request_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.request_timeout = timeout;
            self
        }

        /// Sets how many changes the feed keeps, about: the oldest are removed from time to time,
        /// while the store is written to. A node that falls further behind loads everything again.
        /// Defaults to 100,000.
        pub fn feed_capacity(mut self, changes: u64) -> Self {
            self.settings.feed_capacity = changes;
            self
        }

        /// Sets how long the feed keeps changes, within its capacity. Defaults to one day.
        pub fn feed_retention(mut self, retention: std::time::Duration) -> Self {
            self.settings.feed_retention = retention;
            self
        }

        /// Sets the clock by which tokens expire and changes age. Defaults to that of the machine.
        pub fn clock(mut self, clock: tower_revoke_core::Clock) -> Self {
            self.settings.clock = clock;
            self
        }
    };
}

pub(crate) use common_setters;

/// How a server is reached: by a URL, with a pool of our own, or by the pool `P` of the user.
#[cfg(any(feature = "mysql", feature = "postgres"))]
#[derive(Clone)]
pub(crate) enum Source<P> {
    Url(String),
    Pool(P),
}

/// The settings of a database server.
#[cfg(any(feature = "mysql", feature = "postgres"))]
#[derive(Clone)]
pub(crate) struct Server<P> {
    pub(crate) source: Source<P>,
    pub(crate) migrate_on_connect: bool,
    pub(crate) credentials: Option<(String, String)>,
    pub(crate) tls_roots: Option<Vec<u8>>,
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
impl<P> Server<P> {
    pub(crate) fn new(source: Source<P>) -> Self {
        Self {
            source,
            migrate_on_connect: true,
            credentials: None,
            tls_roots: None,
        }
    }

    /// Checks what the driver does not: it takes any scheme for its own, and what is set beside a
    /// pool would have no effect.
    pub(crate) fn check(
        &self,
        settings: &Settings,
        schemes: [&str; 2],
        other_scheme: &'static str,
    ) -> Result<(), SqlStoreError> {
        request_timeout::check(settings.request_timeout)?;
        if settings.max_connections == Some(0) {
            return Err(SqlStoreError::Setting("max_connections must be at least 1"));
        }
        let is_set = settings.max_connections.is_some()
            || self.credentials.is_some()
            || self.tls_roots.is_some();
        match &self.source {
            Source::Pool(_) if is_set => Err(SqlStoreError::Setting(
                "max_connections, credentials and tls_roots are settings of the pool",
            )),
            Source::Url(url) if !schemes.iter().any(|scheme| url.starts_with(scheme)) => {
                Err(SqlStoreError::Setting(other_scheme))
            }
            _ => Ok(()),
        }
    }
}

/// Runs the opening of a store in bounded time.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) async fn open_in_time<T>(
    settings: &Settings,
    opening: impl Future<Output = Result<T, SqlStoreError>>,
) -> Result<T, SqlStoreError> {
    let limit = settings.opening_timeout();
    let opened = tokio::time::timeout(limit, opening).await;
    opened.unwrap_or(Err(SqlStoreError::TimedOut(limit)))
}

/// Defines the setters of the stores on a server, in the `impl` of a builder with `server` and
/// `settings`.
#[cfg(any(feature = "mysql", feature = "postgres"))]
macro_rules! server_setters {
    () => {
        /// Sets whether `connect` creates the tables, or migrates those of an older release. If
        /// not, they must be as [`migrate`](Self::migrate) leaves them. Defaults to `true`.
        pub fn migrate_on_connect(mut self, migrates: bool) -> Self {
            self.server.migrate_on_connect = migrates;
            self
        }

        /// Sets how many connections may read at the same time, at least one. The store opens one
        /// more for writing; in PostgreSQL one that listens while somebody waits for changes, in
        /// MariaDB and MySQL one during a purge. Defaults to 8; with a pool of yours it is the
        /// pool's, and must not be set here.
        pub fn max_connections(mut self, connections: u32) -> Self {
            self.settings.max_connections = Some(connections);
            self
        }

        /// Sets the user and the password, in place of those in the URL. Must not be set with a pool
        /// of yours.
        pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
            self.server.credentials = Some((user.into(), password.into()));
            self
        }

        /// Requires TLS and a certificate of the server that names its host and was issued by one
        /// of these certificate authorities, in PEM, or by a public one; whatever the URL says of
        /// TLS. Must not be set with a pool of yours.
        #[cfg(feature = "tls")]
        pub fn tls_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
            self.server.tls_roots = Some(pem.into());
            self
        }

        common_setters!();
    };
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) use server_setters;
