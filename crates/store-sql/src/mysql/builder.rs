//! The builder of the store: its settings, and opening it.

use std::{fmt, str::FromStr};

#[cfg(feature = "tls")]
use sqlx::mysql::MySqlSslMode;
use sqlx::{
    Executor, MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use tokio::sync::watch;

use super::{
    check,
    database::MySql,
    error::of_opening,
    migrate,
    session::{Link, options, settings},
    sql::tables,
    store::MySqlStore,
};
use crate::{
    batch::Tables,
    error::SqlStoreError,
    settings::{
        Server, Settings, Source, common_setters, open_in_time, server_setters, warn_of_plaintext,
    },
    store::SqlStore,
    unfit::UnfitServer,
};

/// The smallest packet that the statements fit into, with room to spare.
const SMALLEST_PACKET: usize = 64 * 1_024 - 64;

impl MySqlStore {
    /// Opens the store at `mysql://user:password@host:port/database` with the default settings; see
    /// [`MySqlStoreBuilder::connect`].
    ///
    /// # Errors
    /// See [`SqlStoreError`].
    ///
    /// # Examples
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_revoke_store_sql::MySqlStore;
    ///
    /// let store = MySqlStore::connect("mysql://orders:secret@db.example.com/orders").await?;
    /// # let _ = store;
    /// # Ok(()) }
    /// ```
    pub async fn connect(url: impl Into<String>) -> Result<Self, SqlStoreError> {
        Self::builder(url).connect().await
    }

    /// Starts to set up the store at a URL. The parameters `ssl-mode`, `ssl-ca`, `ssl-cert`,
    /// `ssl-key`, and `socket`, the path of a Unix socket, may follow a `?`.
    pub fn builder(url: impl Into<String>) -> MySqlStoreBuilder {
        MySqlStoreBuilder::new(Source::Url(url.into()))
    }

    /// Opens the store with a pool of yours and the default settings; see
    /// [`builder_from_pool`](Self::builder_from_pool).
    ///
    /// # Errors
    /// See [`SqlStoreError`].
    pub async fn from_pool(pool: MySqlPool) -> Result<Self, SqlStoreError> {
        Self::builder_from_pool(pool).connect().await
    }

    /// Starts to set up a store that reads through a pool of yours, whose connect options must name
    /// the database.
    ///
    /// Each call holds at most one connection of the pool, so a pool of one connection is enough.
    /// The store never closes the pool. For writing and purging it opens connections of its own
    /// with the pool's connect options; the pool's callbacks, such as `after_connect`, are not
    /// called for them.
    ///
    /// The settings of the pool's sessions, such as their isolation level and `sql_mode`, don't
    /// matter and are not changed. Each read is a transaction of its own, and rolls back one that
    /// was left open in the session.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use sqlx::MySqlPool;
    /// use tower_revoke_store_sql::MySqlStore;
    ///
    /// let pool = MySqlPool::connect("mysql://orders:secret@db.example.com/orders").await?;
    /// let store = MySqlStore::builder_from_pool(pool.clone())
    ///     .table_prefix("revocations_")
    ///     .connect()
    ///     .await?;
    /// # let _ = store;
    /// # Ok(()) }
    /// ```
    pub fn builder_from_pool(pool: MySqlPool) -> MySqlStoreBuilder {
        MySqlStoreBuilder::new(Source::Pool(pool))
    }
}

/// Sets up a [`MySqlStore`]; created by [`MySqlStore::builder`] and
/// [`MySqlStore::builder_from_pool`].
///
/// | setting | default |
/// |---|---|
/// | [`table_prefix`](Self::table_prefix) | `tower_revoke_` |
/// | [`migrate_on_connect`](Self::migrate_on_connect) | `true` |
/// | [`max_connections`](Self::max_connections) | 8 for reading |
/// | [`credentials`](Self::credentials) | those of the URL |
/// | `tls_roots` (feature `tls`) | as the URL says |
/// | [`allow_server`](Self::allow_server) | none that is known to be unfit |
/// | [`single_writer`](Self::single_writer) | a Galera cluster is rejected |
/// | [`request_timeout`](Self::request_timeout) | 2 s |
/// | [`feed_capacity`](Self::feed_capacity) | 100,000 |
/// | [`feed_retention`](Self::feed_retention) | 10 min |
///
/// # Examples
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_revoke_store_sql::MySqlStore;
///
/// let store = MySqlStore::builder("mysql://db.example.com/orders")
///     .credentials("orders", std::env::var("DATABASE_PASSWORD")?)
///     .table_prefix("revocations_")
///     .migrate_on_connect(false)
///     .connect()
///     .await?;
/// # let _ = store;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct MySqlStoreBuilder {
    table_prefix: String,
    server: Server<MySqlPool>,
    settings: Settings,
}

impl MySqlStoreBuilder {
    fn new(source: Source<MySqlPool>) -> Self {
        Self {
            table_prefix: "tower_revoke_".to_owned(),
            server: Server::new(source),
            settings: Settings::default(),
        }
    }

    /// Sets the prefix of the tables' names, so that several stores can share a database: up to 48
    /// ASCII letters, digits and `_`. May be empty in a database that holds nothing else. Defaults
    /// to `tower_revoke_`.
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.table_prefix = prefix.into();
        self
    }

    /// Opens the store on a Galera cluster. You promise that all nodes write to the same member,
    /// for example by a proxy that names only one of them as a backend: members that write at the
    /// same time reject each other's commits, and reads of one may lag behind the other.
    pub fn single_writer(self) -> Self {
        self.allow_server(UnfitServer::Galera)
    }

    server_setters!();

    /// Creates the tables, or migrates those of an older release. Does nothing if they are current.
    /// The login needs `CREATE` on the database. Any number of nodes may call this at the same
    /// time. These servers have no transactional DDL, so the next call starts an interrupted
    /// migration again.
    ///
    /// # Errors
    /// See [`SqlStoreError`].
    pub async fn migrate(&self) -> Result<(), SqlStoreError> {
        let (given, tables) = self.given()?;
        open_in_time(&self.settings, async {
            let mut link = self.open(&given).await?;
            migrate::run(&mut link, &tables).await?;
            migrate::id_of(&mut link, &tables).await?;
            link.close().await;
            Ok(())
        })
        .await
    }

    /// Opens the store: connects, creates or migrates the tables unless that is switched off, and
    /// checks them. Must be called in a tokio runtime that outlives the store, since the store's
    /// writing task runs in it.
    ///
    /// # Errors
    /// See [`SqlStoreError`].
    pub async fn connect(self) -> Result<MySqlStore, SqlStoreError> {
        let (given, tables) = self.given()?;
        let (id, packet) = open_in_time(&self.settings, async {
            let mut link = self.open(&given).await?;
            if link.packet < SMALLEST_PACKET {
                return Err(SqlStoreError::Setting(
                    "max_allowed_packet of the server must be at least 64 KiB",
                ));
            }
            if self.server.migrate_on_connect {
                migrate::run(&mut link, &tables).await?;
            }
            let id = migrate::id_of(&mut link, &tables).await?;
            check::warn_if_it_may_lose(&mut link).await?;
            let is_encrypted = check::is_encrypted(&mut link).await?;
            warn_of_plaintext(given.get_host(), given.get_socket().is_some(), is_encrypted);
            let mut second = self.open(&given).await?;
            let until = self.settings.probe_until();
            check::one_winner(&mut link, &mut second, &tables, until).await?;
            second.close().await;
            let packet = link.packet;
            link.close().await;
            Ok((id, packet))
        })
        .await?;
        let request_timeout = self.settings.request_timeout;
        let (pool, is_borrowed) = match self.server.source {
            Source::Pool(pool) => (pool, true),
            Source::Url(_) => {
                let settings: std::sync::Arc<str> = settings(request_timeout).into();
                let pool = MySqlPoolOptions::new()
                    .max_connections(self.settings.max_connections.unwrap_or(8))
                    .acquire_timeout(request_timeout)
                    // A ping before each read would cost a round trip. Instead, a read that finds
                    // its connection broken is retried.
                    .test_before_acquire(false)
                    .after_connect(move |link, _| {
                        let settings = settings.clone();
                        Box::pin(async move { link.execute(&*settings).await.map(drop) })
                    })
                    .connect_lazy_with(options(&given));
                (pool, false)
            }
        };
        let backend = MySql {
            tables,
            packet,
            pool,
            is_borrowed,
            request_timeout,
            own: watch::Sender::new(0),
        };
        Ok(MySqlStore(SqlStore::start(id, backend, &self.settings)))
    }

    /// Checks the settings, and returns the user's connect options and the names of the tables.
    fn given(&self) -> Result<(MySqlConnectOptions, Tables), SqlStoreError> {
        let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
        if self.table_prefix.len() > 48 || !self.table_prefix.bytes().all(is_plain) {
            return Err(SqlStoreError::Setting(
                "table_prefix must be up to 48 ASCII letters, digits and _",
            ));
        }
        self.server.check(
            &self.settings,
            ["mysql://", "mariadb://"],
            "the URL must begin with mysql:// or mariadb://",
        )?;
        let given = match &self.server.source {
            Source::Pool(pool) => pool.connect_options().as_ref().clone(),
            Source::Url(url) => self.of_url(url)?,
        };
        let Some(database) = given.get_database() else {
            return Err(SqlStoreError::Setting(
                "the URL or the pool's connect options must name a database",
            ));
        };
        let tables = tables(database, &self.table_prefix);
        Ok((given, tables))
    }

    fn of_url(&self, url: &str) -> Result<MySqlConnectOptions, SqlStoreError> {
        let mut given = MySqlConnectOptions::from_str(url).map_err(of_opening)?;
        if let Some((user, password)) = &self.server.credentials {
            given = given.username(user).password(password);
        }
        #[cfg(feature = "tls")]
        if let Some(roots) = &self.server.tls_roots {
            given = given.ssl_mode(MySqlSslMode::VerifyIdentity);
            given = given.ssl_ca_from_pem(roots.clone());
        }
        Ok(given)
    }

    /// Opens a connection for set-up. Its timeouts are longer than that of a request, since
    /// creating tables may take longer.
    async fn open(&self, given: &MySqlConnectOptions) -> Result<Link, SqlStoreError> {
        let link = Link::open(given, self.settings.opening_timeout()).await;
        let mut link = link.map_err(of_opening)?;
        check::server(&mut link, &self.server.allowed).await?;
        Ok(link)
    }
}

/// Omits the URL and the credentials.
impl fmt::Debug for MySqlStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlStoreBuilder")
            .field("table_prefix", &self.table_prefix)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
