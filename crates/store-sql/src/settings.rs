//! The settings that all stores have in common.

use std::time::Duration;

use tower_revoke_core::request_timeout;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use tower_revoke_core::{Clock, UnixTime};

#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::{error::SqlStoreError, unfit::UnfitServer};

/// The timeout of opening a store, in request timeouts: it makes several requests, and may create
/// tables.
pub(crate) const REQUESTS_TO_OPEN: u32 = 5;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) max_connections: Option<u32>,
    pub(crate) request_timeout: Duration,
    pub(crate) feed_capacity: u64,
    pub(crate) feed_retention: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: None,
            request_timeout: request_timeout::DEFAULT,
            feed_capacity: 100_000,
            feed_retention: Duration::from_secs(600),
        }
    }
}

impl Settings {
    /// Returns the timeout of opening the store.
    pub(crate) fn opening_timeout(&self) -> Duration {
        self.request_timeout.saturating_mul(REQUESTS_TO_OPEN)
    }

    /// Returns when the row of the probe expires, if it was not removed.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(crate) fn probe_until(&self) -> UnixTime {
        Clock::system().now().saturating_add(self.opening_timeout())
    }
}

/// Defines the setters of all builders, in the `impl` of a builder with `settings`.
macro_rules! common_setters {
    () => {
        /// Sets how long one call may take, including a new connection and the wait for other
        /// writers. A call that takes longer fails with
        /// [`TimedOut`](tower_revoke_core::StoreError::TimedOut). A purge may take as long for each
        /// of its steps, and opening the store five times as long. Defaults to 2 s.
        pub fn request_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.request_timeout = timeout;
            self
        }

        /// Sets about how many changes the feed keeps, of those within its retention. The oldest are
        /// removed from time to time, in the course of writes, so there may be somewhat more. A node
        /// that falls further behind loads everything again; one that is loading only has to read
        /// each page before so many changes are made. Defaults to 100,000.
        pub fn feed_capacity(mut self, changes: u64) -> Self {
            self.settings.feed_capacity = changes;
            self
        }

        /// Sets how long the feed keeps changes, within its capacity and by the clock of the
        /// database. Defaults to ten minutes.
        pub fn feed_retention(mut self, retention: std::time::Duration) -> Self {
            self.settings.feed_retention = retention;
            self
        }
    };
}

pub(crate) use common_setters;

/// How a server is reached: by a URL, with a pool of the store's own, or by the pool `P` of the
/// user.
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
    pub(crate) allowed: Vec<UnfitServer>,
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
impl<P> Server<P> {
    pub(crate) fn new(source: Source<P>) -> Self {
        Self {
            source,
            migrate_on_connect: true,
            credentials: None,
            tls_roots: None,
            allowed: Vec::new(),
        }
    }

    /// Checks the settings that the driver does not: it accepts a URL of any scheme, and settings
    /// beside the user's pool would have no effect.
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

/// Warns of a connection that is not encrypted, unless it stays on this machine: others on the way
/// could read the password, and forge answers.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) fn warn_of_plaintext(host: &str, has_socket: bool, is_encrypted: bool) {
    if !is_encrypted && !has_socket && !is_local(host) {
        tracing::warn!(
            target: "tower_revoke::store_sql",
            "the connection to the database on {host} is not encrypted: use `tls_roots`, or the \
             TLS parameters of the URL"
        );
    }
}

/// Returns whether a host is this machine. The path of a folder of Unix sockets is one, too.
#[cfg(any(feature = "mysql", feature = "postgres"))]
fn is_local(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.is_loopback())
}

/// Runs the opening of a store, within its timeout.
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
        /// not, [`migrate`](Self::migrate) must have been called before. Defaults to `true`.
        pub fn migrate_on_connect(mut self, migrates: bool) -> Self {
            self.server.migrate_on_connect = migrates;
            self
        }

        /// Sets how many connections may read at the same time, at least one. The store opens one
        /// more for writing; in PostgreSQL another one to listen for changes once they are awaited,
        /// in MariaDB and MySQL another one during a purge. Defaults to 8. With a pool of yours the
        /// pool decides, and this must not be set.
        pub fn max_connections(mut self, connections: u32) -> Self {
            self.settings.max_connections = Some(connections);
            self
        }

        /// Sets the user and the password, in place of those in the URL. Must not be set with a
        /// pool of yours.
        pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
            self.server.credentials = Some((user.into(), password.into()));
            self
        }

        /// Requires TLS, and a server certificate that names its host and was issued by one of
        /// these certificate authorities, in PEM, or by a public one. Overrides the TLS parameters
        /// of the URL. Must not be set with a pool of yours.
        #[cfg(feature = "tls")]
        pub fn tls_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
            self.server.tls_roots = Some(pem.into());
            self
        }

        /// Opens the store on a kind of server that is known not to be fit for it, in a release or
        /// a configuration that you know to be fit. The contest for one use decides then.
        pub fn allow_server(mut self, server: crate::UnfitServer) -> Self {
            self.server.allowed.push(server);
            self
        }

        common_setters!();
    };
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) use server_setters;

#[cfg(all(test, any(feature = "mysql", feature = "postgres")))]
mod tests {
    use super::is_local;

    #[test]
    fn only_this_machine_is_local() {
        for host in [
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "[::1]",
            "/run/pg",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "10.0.0.1",
            "db.example.com",
            "localhost.example.com",
            "127.1",
            "[fe80::1]",
            "",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
