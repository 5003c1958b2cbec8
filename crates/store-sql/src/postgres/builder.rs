//! The builder of the store: its settings, and opening it.

use std::{fmt, str::FromStr};

#[cfg(feature = "tls")]
use sqlx::postgres::PgSslMode;
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    check,
    database::{Postgres, options},
    error::of_opening,
    migrate,
    statements::{Statements, tables},
    store::PostgresStore,
};
use crate::{
    error::SqlStoreError,
    settings::{
        Server, Settings, Source, common_setters, open_in_time, server_setters, warn_of_plaintext,
    },
    store::SqlStore,
};

impl PostgresStore {
    /// Opens the store at `postgres://user:password@host:port/database` with the default settings;
    /// see [`PostgresStoreBuilder::connect`].
    ///
    /// # Errors
    /// See [`SqlStoreError`].
    ///
    /// # Examples
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_revoke_store_sql::PostgresStore;
    ///
    /// let store = PostgresStore::connect("postgres://orders@db.example.com/orders").await?;
    /// # let _ = store;
    /// # Ok(()) }
    /// ```
    pub async fn connect(url: impl Into<String>) -> Result<Self, SqlStoreError> {
        Self::builder(url).connect().await
    }

    /// Starts to set up the store at a URL. Parameters of libpq, such as `sslmode`, follow a `?`.
    /// Missing parts come from the environment variables of libpq (`PGHOST`, …) and from `.pgpass`.
    pub fn builder(url: impl Into<String>) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(Source::Url(url.into()))
    }

    /// Opens the store with a pool of yours and the default settings; see
    /// [`builder_from_pool`](Self::builder_from_pool).
    ///
    /// # Errors
    /// See [`SqlStoreError`].
    pub async fn from_pool(pool: PgPool) -> Result<Self, SqlStoreError> {
        Self::builder_from_pool(pool).connect().await
    }

    /// Starts to set up a store that reads and purges through a pool of yours.
    ///
    /// Each call holds at most one connection of the pool at a time, so a pool of one connection is
    /// enough. The store never closes the pool. For writing and listening it opens connections of
    /// its own with the pool's connect options; the pool's callbacks, such as `after_connect`, are
    /// not called for them. The defaults of the pool's sessions, such as their isolation level,
    /// don't matter.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use sqlx::PgPool;
    /// use tower_revoke_store_sql::PostgresStore;
    ///
    /// let pool = PgPool::connect("postgres://orders@db.example.com/orders").await?;
    /// let store = PostgresStore::builder_from_pool(pool.clone())
    ///     .schema("revocations")
    ///     .connect()
    ///     .await?;
    /// # let _ = store;
    /// # Ok(()) }
    /// ```
    pub fn builder_from_pool(pool: PgPool) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(Source::Pool(pool))
    }
}

/// Sets up a [`PostgresStore`]; created by [`PostgresStore::builder`] and
/// [`PostgresStore::builder_from_pool`].
///
/// | setting | default |
/// |---|---|
/// | [`schema`](Self::schema) | `tower_revoke` |
/// | [`migrate_on_connect`](Self::migrate_on_connect) | `true` |
/// | [`max_connections`](Self::max_connections) | 8 for reading |
/// | [`credentials`](Self::credentials) | those of the URL |
/// | `tls_roots` (feature `tls`) | as the URL says |
/// | [`allow_server`](Self::allow_server) | none that is known to be unfit |
/// | [`request_timeout`](Self::request_timeout) | 2 s |
/// | [`feed_capacity`](Self::feed_capacity) | 100,000 |
/// | [`feed_retention`](Self::feed_retention) | 10 min |
///
/// # Examples
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_revoke_store_sql::PostgresStore;
///
/// let store = PostgresStore::builder("postgres://db.example.com/orders")
///     .credentials("orders", std::env::var("DATABASE_PASSWORD")?)
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
    schema: String,
    server: Server<PgPool>,
    settings: Settings,
}

impl PostgresStoreBuilder {
    fn new(source: Source<PgPool>) -> Self {
        Self {
            schema: "tower_revoke".to_owned(),
            server: Server::new(source),
            settings: Settings::default(),
        }
    }

    /// Sets the schema that holds the tables and functions, so that several stores can share a
    /// database: 1 to 63 ASCII letters, digits and `_`. Defaults to `tower_revoke`.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    server_setters!();

    /// Creates the schema with its tables and functions, or migrates that of an older release, in
    /// one transaction. Does nothing if it is current. The login needs `CREATE` on the database, or
    /// must own the schema. Any number of nodes may call this at the same time.
    ///
    /// # Errors
    /// See [`SqlStoreError`].
    pub async fn migrate(&self) -> Result<(), SqlStoreError> {
        let given = self.given()?;
        open_in_time(&self.settings, async {
            let mut link = self.open(&given).await?;
            migrate::run(&mut link, &self.schema).await?;
            close(link).await
        })
        .await
    }

    /// Opens the store: connects, creates or migrates the schema unless that is switched off, and
    /// checks it. Must be called in a tokio runtime that outlives the store, since the store's
    /// writing task runs in it.
    ///
    /// # Errors
    /// See [`SqlStoreError`].
    pub async fn connect(self) -> Result<PostgresStore, SqlStoreError> {
        let given = self.given()?;
        let id = open_in_time(&self.settings, async {
            let mut link = self.open(&given).await?;
            let mut second = self.open(&given).await?;
            check::sessions(&mut link, &mut second, &self.server.allowed).await?;
            if self.server.migrate_on_connect {
                migrate::run(&mut link, &self.schema).await?;
            }
            let id = migrate::id_of(&mut link, &self.schema).await?;
            check::warn_if_it_may_lose(&mut link).await?;
            let is_encrypted = check::is_encrypted(&mut link).await?;
            warn_of_plaintext(given.get_host(), given.get_socket().is_some(), is_encrypted);
            let until = self.settings.probe_until();
            check::one_winner(&mut link, &mut second, &self.schema, until).await?;
            close(second).await?;
            close(link).await?;
            Ok(id)
        })
        .await?;
        let request_timeout = self.settings.request_timeout;
        let (pool, is_borrowed) = match self.server.source {
            Source::Pool(pool) => (pool, true),
            Source::Url(_) => {
                let pool = PgPoolOptions::new()
                    .max_connections(self.settings.max_connections.unwrap_or(8))
                    .acquire_timeout(request_timeout)
                    // A ping before each read would cost a round trip. Instead, a read that finds
                    // its connection broken is retried.
                    .test_before_acquire(false)
                    .connect_lazy_with(options(&given, request_timeout));
                (pool, false)
            }
        };
        let backend = Postgres {
            statements: Statements::new(&migrate::quoted(&self.schema)),
            channel: format!("tower-revoke-{}", migrate::hex(&id)),
            tables: tables(&self.schema, &id),
            pool,
            is_borrowed,
            request_timeout,
        };
        Ok(PostgresStore(SqlStore::start(id, backend, &self.settings)))
    }

    /// Checks the settings, and returns the user's connect options.
    fn given(&self) -> Result<PgConnectOptions, SqlStoreError> {
        let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
        if !(1..=63).contains(&self.schema.len()) || !self.schema.bytes().all(is_plain) {
            return Err(SqlStoreError::Setting(
                "schema must be 1 to 63 ASCII letters, digits and _",
            ));
        }
        self.server.check(
            &self.settings,
            ["postgres://", "postgresql://"],
            "the URL must begin with postgres:// or postgresql://",
        )?;
        let url = match &self.server.source {
            Source::Pool(pool) => return Ok(pool.connect_options().as_ref().clone()),
            Source::Url(url) => url,
        };
        let mut given = PgConnectOptions::from_str(url).map_err(of_opening)?;
        if let Some((user, password)) = &self.server.credentials {
            given = given.username(user).password(password);
        }
        #[cfg(feature = "tls")]
        if let Some(roots) = &self.server.tls_roots {
            given = given.ssl_mode(PgSslMode::VerifyFull);
            given = given.ssl_root_cert_from_pem(roots.clone());
        }
        Ok(given)
    }

    /// Opens a connection for set-up. Its statement timeout is longer than that of a request, since
    /// creating tables may take longer.
    async fn open(&self, given: &PgConnectOptions) -> Result<PgConnection, SqlStoreError> {
        let options = options(given, self.settings.opening_timeout());
        let mut link = PgConnection::connect_with(&options)
            .await
            .map_err(of_opening)?;
        check::server(&mut link, &self.server.allowed).await?;
        Ok(link)
    }
}

async fn close(link: PgConnection) -> Result<(), SqlStoreError> {
    link.close().await.map_err(of_opening)
}

/// Omits the URL and the credentials.
impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("schema", &self.schema)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
