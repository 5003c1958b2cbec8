//! The settings of a store, and how it is opened.

use std::{fmt, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, Executor, MySqlConnection,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

use super::{MySql, MySqlStore, error::of_opening, migrate, session, sql::Tables};
use crate::{
    SqlStoreError,
    settings::{Settings, sets_what_all_have},
    store::SqlStore,
};

/// What one statement of ours needs, with room to spare.
const SMALLEST_PACKET: usize = 64 * 1_024 - 64;

/// Sets up a [`MySqlStore`]; made by [`MySqlStore::builder`].
///
/// | setting | default |
/// |---|---|
/// | [`prefix`](Self::prefix) | `tower_revoke_` |
/// | [`migrates`](Self::migrates) | `true` |
/// | [`connections`](Self::connections) | 8 for reading |
/// | [`request_timeout`](Self::request_timeout) | 2 s |
/// | [`feed_capacity`](Self::feed_capacity) | 100,000 |
/// | [`feed_retention`](Self::feed_retention) | 1 day |
/// | [`clock`](Self::clock) | the machine's |
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_revoke_store_sql::MySqlStore;
///
/// let store = MySqlStore::builder("mysql://orders:secret@db.example.com/orders")
///     .prefix("revocations_")
///     .migrate_on_connect(false)
///     .connect()
///     .await?;
/// # let _ = store;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct MySqlStoreBuilder {
    address: String,
    prefix: String,
    settings: Settings,
}

impl MySqlStoreBuilder {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            prefix: "tower_revoke_".to_owned(),
            settings: Settings::default(),
        }
    }

    /// How the names of the tables begin: several stores can share a database. Up to 48 ASCII
    /// letters, digits and `_`; none at all where the database is the store's alone.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Whether [`connect`](Self::connect) creates the tables, or brings them to this version's state.
    /// Without, they must be as [`migrate`](Self::migrate) leaves them.
    pub fn migrate_on_connect(mut self, migrates: bool) -> Self {
        self.settings.migrates = migrates;
        self
    }

    /// How many connections there may be for reading, at least one. One more writes, and one more
    /// purges while something is purged.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.settings.connections = connections;
        self
    }

    /// How long one call may take, with a new connection, until it is
    /// [`TimedOut`](tower_revoke_core::StoreError::TimedOut); each step of a purge by itself.
    /// Opening may take five times as long. The server ends statements of ours after the same time
    /// (`max_statement_time`, `max_execution_time`).
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.settings.request_timeout = time;
        self
    }

    sets_what_all_have!();

    /// Creates the tables, or brings them to this version's state; does nothing where they are. By a
    /// login that may: `CREATE` on the database. Any number of nodes may do it at the same time, and
    /// what was cut off is begun again: these servers have no transactions around it.
    ///
    /// # Errors
    /// Any [`SqlStoreError`].
    pub async fn migrate(&self) -> Result<(), SqlStoreError> {
        let options = self.options()?;
        self.settings
            .in_time(async {
                let mut link = self.open(&options).await?;
                migrate::run(&mut link, &self.prefix).await?;
                migrate::id_of(&mut link, &self.prefix).await?;
                link.close().await.map_err(of_opening)
            })
            .await
    }

    /// Opens the store: connects, checks the tables, and creates them if it is to. Must be called in
    /// a tokio runtime that goes on for as long as the store is used: the task that writes runs in it.
    ///
    /// # Errors
    /// Any [`SqlStoreError`].
    pub async fn connect(self) -> Result<MySqlStore, SqlStoreError> {
        let options = self.options()?;
        let (id, packet) = self
            .settings
            .in_time(async {
                let mut link = self.open(&options).await?;
                let packet = session::packet(&mut link).await.map_err(of_opening)?;
                if packet < SMALLEST_PACKET {
                    return Err(SqlStoreError::Setting(
                        "max_allowed_packet of the server is below 64 KiB",
                    ));
                }
                if self.settings.migrates {
                    migrate::run(&mut link, &self.prefix).await?;
                }
                let id = migrate::id_of(&mut link, &self.prefix).await?;
                migrate::warn_if_it_may_lose(&mut link).await?;
                link.close().await.map_err(of_opening)?;
                Ok((id, packet))
            })
            .await?;
        let within = self.settings.request_timeout;
        let connections = self.settings.connections;
        let settings = session::settings(within);
        let pool = MySqlPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(within)
            // What is broken is found by what is asked, and asked again.
            .test_before_acquire(false)
            .after_connect({
                let settings = settings.clone();
                move |link, _| {
                    let settings = settings.clone();
                    Box::pin(async move { link.execute(&*settings).await.map(drop) })
                }
            })
            .connect_lazy_with(options.clone());
        let tables = Tables::new(&self.prefix);
        let backend = MySql::new(
            self.prefix,
            tables,
            options,
            settings,
            packet,
            pool,
            connections,
        );
        Ok(MySqlStore(SqlStore::start(id, backend, &self.settings)))
    }

    async fn open(&self, options: &MySqlConnectOptions) -> Result<MySqlConnection, SqlStoreError> {
        let link = MySqlConnection::connect_with(options).await;
        let mut link = link.map_err(of_opening)?;
        // Creating tables may take longer than one answer.
        let settings = session::settings(self.settings.request_timeout.saturating_mul(5));
        let set = link.execute(&*settings).await;
        set.map_err(of_opening)?;
        Ok(link)
    }

    fn options(&self) -> Result<MySqlConnectOptions, SqlStoreError> {
        let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
        if self.prefix.len() > 48 || !self.prefix.bytes().all(is_plain) {
            return Err(SqlStoreError::Setting(
                "the prefix is not up to 48 ASCII letters, digits and _",
            ));
        }
        self.settings.check()?;
        // The driver reads any address as its own.
        if !["mysql://", "mariadb://"]
            .iter()
            .any(|scheme| self.address.starts_with(scheme))
        {
            return Err(SqlStoreError::Setting(
                "the address does not begin with mysql:// or mariadb://",
            ));
        }
        let options = MySqlConnectOptions::from_str(&self.address).map_err(of_opening)?;
        if options.get_database().is_none() {
            return Err(SqlStoreError::Setting("the address names no database"));
        }
        // What it would set is among what is set anyway.
        let options = options
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .set_names(false)
            .charset("utf8mb4");
        Ok(options.disable_statement_logging())
    }
}

/// Without the address, in which a password may stand.
impl fmt::Debug for MySqlStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlStoreBuilder")
            .field("prefix", &self.prefix)
            .field("request_timeout", &self.settings.request_timeout)
            .finish_non_exhaustive()
    }
}
