//! The builder of the store: its settings, and opening it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::sqlite::SqlitePoolOptions;
use tokio::sync::{Mutex, watch};
use tower_revoke_core::request_timeout;

use super::{database::Sqlite, error::SqliteStoreError, file, sql, store::SqliteStore};
use crate::{
    settings::{Settings, common_setters},
    store::SqlStore,
};

/// How long SQLite itself waits for another writer (`busy_timeout`). The store then retries.
const RETRY_EVERY: Duration = Duration::from_millis(5);

impl SqliteStore {
    /// Opens the store in a file with the default settings, and creates the file if it is missing;
    /// see [`SqliteStoreBuilder::open`].
    ///
    /// # Errors
    /// See [`SqliteStoreError`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, SqliteStoreError> {
        Self::builder(path).open().await
    }

    /// Starts to set up the store in a file.
    pub fn builder(path: impl AsRef<Path>) -> SqliteStoreBuilder {
        SqliteStoreBuilder {
            path: path.as_ref().to_owned(),
            settings: Settings::default(),
        }
    }
}

/// Sets up a [`SqliteStore`]; created by [`SqliteStore::builder`].
///
/// | setting | default |
/// |---|---|
/// | [`max_connections`](Self::max_connections) | 4 for reading |
/// | [`request_timeout`](Self::request_timeout) | 2 s |
/// | [`feed_capacity`](Self::feed_capacity) | 100,000 |
/// | [`feed_retention`](Self::feed_retention) | 10 min |
///
/// # Examples
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_revoke_store_sql::SqliteStore;
///
/// let store = SqliteStore::builder("/var/lib/orders/revocations.sqlite")
///     .feed_capacity(10_000)
///     .open()
///     .await?;
/// # let _ = store;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteStoreBuilder {
    path: PathBuf,
    settings: Settings,
}

impl SqliteStoreBuilder {
    /// Sets how many connections may read at the same time, at least one; each has a thread. The
    /// store opens one more for writing, and another one for the first purge. Defaults to 4.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.settings.max_connections = Some(connections);
        self
    }

    common_setters!();

    /// Opens the file, or creates it in an existing folder, and migrates it to this release's
    /// version. Any number of processes may do so at the same time. Must be called in a tokio
    /// runtime that outlives the store, since the store's writing task runs in it.
    ///
    /// # Errors
    /// See [`SqliteStoreError`].
    pub async fn open(self) -> Result<SqliteStore, SqliteStoreError> {
        let Self { path, settings } = self;
        request_timeout::check(settings.request_timeout)?;
        if settings.max_connections == Some(0) {
            return Err(SqliteStoreError::Setting(
                "max_connections must be at least 1",
            ));
        }
        let request_timeout = settings.request_timeout;
        // To SQLite, some relative names are not those of files, such as `:memory:`.
        let path = std::path::absolute(&path)
            .map_err(|_| SqliteStoreError::Setting("the path must not be empty"))?;
        let options = file::options(&path).busy_timeout(RETRY_EVERY);
        let opening = file::open(&path, &options);
        let opening = tokio::time::timeout(settings.opening_timeout(), opening).await;
        let Ok(opened) = opening else {
            return Err(SqliteStoreError::Locked { path });
        };
        let opened = opened?;
        let options = file::durable(options);
        let pool = SqlitePoolOptions::new()
            .max_connections(settings.max_connections.unwrap_or(4))
            .acquire_timeout(request_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            // A read waits only while another process recovers the file after a crash.
            .connect_lazy_with(options.clone().busy_timeout(request_timeout));
        let backend = Sqlite {
            path,
            tables: sql::tables(),
            options,
            pool,
            turn: Mutex::new(()),
            purging: Mutex::new(None),
            last: watch::Sender::new(opened.seq),
        };
        Ok(SqliteStore(SqlStore::start(opened.id, backend, &settings)))
    }
}
