//! The settings of a store, and how it is opened.

use std::{fmt, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Postgres, PostgresStore, migrate, statements::Statements};
use crate::{
    SqlStoreError,
    settings::{Settings, sets_what_all_have},
    store::SqlStore,
};

/// Sets up a [`PostgresStore`]; made by [`PostgresStore::builder`].
///
/// | setting | default |
/// |---|---|
/// | [`schema`](Self::schema) | `tower_revoke` |
/// | [`migrates`](Self::migrates) | `true` |
/// | [`connections`](Self::connections) | 8 for reading |
/// | [`request_timeout`](Self::request_timeout) | 2 s |
/// | [`feed_capacity`](Self::feed_capacity) | 100,000 |
/// | [`feed_retention`](Self::feed_retention) | 1 day |
/// | [`clock`](Self::clock) | the machine's |
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_revoke_store_sql::PostgresStore;
///
/// let store = PostgresStore::builder("postgres://orders@db.example.com/orders")
///     .schema("revocations")
///     .migrate_on_connect(false)
///     .connect()
///     .await?;
/// # let _ = store;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct PostgresStoreBuilder {
    address: String,
    schema: String,
    settings: Settings,
}

impl PostgresStoreBuilder {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            schema: "tower_revoke".to_owned(),
            settings: Settings::default(),
        }
    }

    /// The schema in which the tables stand: several stores can share a database. One to 63 ASCII
    /// letters, digits and `_`.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Whether [`connect`](Self::connect) creates the schema, or brings it to this version's state.
    /// Without, it must be as [`migrate`](Self::migrate) leaves it.
    pub fn migrate_on_connect(mut self, migrates: bool) -> Self {
        self.settings.migrates = migrates;
        self
    }

    /// How many connections there may be for reading, at least one. One more writes, and one more
    /// listens as soon as somebody waits for [`changed`](tower_revoke_core::Store::changed).
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.settings.connections = connections;
        self
    }

    /// How long one call may take, with a new connection, until it is
    /// [`TimedOut`](tower_revoke_core::StoreError::TimedOut); each step of a purge by itself.
    /// Opening may take five times as long. The server ends statements of ours after the same time
    /// (`statement_timeout`).
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.settings.request_timeout = time;
        self
    }

    sets_what_all_have!();

    /// Creates the schema with its tables and functions, or brings it to this version's state; does
    /// nothing where it is. By a login that may: `CREATE` on the database, or it owns the schema. Any
    /// number of nodes may do it at the same time; it is one transaction.
    ///
    /// # Errors
    /// Any [`SqlStoreError`].
    pub async fn migrate(&self) -> Result<(), SqlStoreError> {
        let options = self.options()?;
        self.settings
            .in_time(async {
                let mut link = open(&options).await?;
                migrate::check_encoding(&mut link).await?;
                migrate::run(&mut link, &self.schema).await?;
                close(link).await
            })
            .await
    }

    /// Opens the store: connects, checks the schema, and creates it if it is to. Must be called in a
    /// tokio runtime that goes on for as long as the store is used: the task that writes runs in it.
    ///
    /// # Errors
    /// Any [`SqlStoreError`].
    pub async fn connect(self) -> Result<PostgresStore, SqlStoreError> {
        let options = self.options()?;
        let id = self
            .settings
            .in_time(async {
                let mut link = open(&options).await?;
                migrate::check_encoding(&mut link).await?;
                if self.settings.migrates {
                    migrate::run(&mut link, &self.schema).await?;
                }
                let id = migrate::id_of(&mut link, &self.schema).await?;
                migrate::warn_if_it_may_lose(&mut link).await?;
                close(link).await?;
                Ok(id)
            })
            .await?;
        let within = self.settings.request_timeout;
        let millis = within.as_millis().max(1).to_string();
        let bounded = options
            .clone()
            .options([("statement_timeout", millis.as_str())]);
        let connections = self.settings.connections;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(within)
            // What is broken is found by what is asked, and asked again.
            .test_before_acquire(false)
            .connect_lazy_with(bounded.clone());
        let listening = PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(within)
            .connect_lazy_with(options);
        let backend = Postgres {
            statements: Statements::new(&migrate::quoted(&self.schema)),
            channel: format!("tower-revoke-{}", migrate::hex(&id)),
            schema: self.schema,
            options: bounded,
            pool,
            connections,
            listening,
        };
        Ok(PostgresStore(SqlStore::start(id, backend, &self.settings)))
    }

    fn options(&self) -> Result<PgConnectOptions, SqlStoreError> {
        let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
        if !(1..=63).contains(&self.schema.len()) || !self.schema.bytes().all(is_plain) {
            return Err(SqlStoreError::Setting(
                "the schema's name is not 1 to 63 ASCII letters, digits and _",
            ));
        }
        self.settings.check()?;
        let mut options =
            PgConnectOptions::from_str(&self.address).map_err(SqlStoreError::of_driver)?;
        if options.get_application_name().is_none() {
            options = options.application_name("tower-revoke");
        }
        let options = options.options([
            // A function sees what was written before it took its turn only if each of its statements
            // looks anew.
            ("default_transaction_isolation", "read\\ committed"),
            // Compiling a statement takes longer than any of ours.
            ("jit", "off"),
        ]);
        Ok(options.disable_statement_logging())
    }
}

async fn open(options: &PgConnectOptions) -> Result<PgConnection, SqlStoreError> {
    let link = PgConnection::connect_with(options).await;
    link.map_err(SqlStoreError::of_driver)
}

async fn close(link: PgConnection) -> Result<(), SqlStoreError> {
    link.close().await.map_err(SqlStoreError::of_driver)
}

/// Without the address, in which a password may stand.
impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("schema", &self.schema)
            .field("request_timeout", &self.settings.request_timeout)
            .finish_non_exhaustive()
    }
}
