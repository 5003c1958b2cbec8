//! The settings of a store, and how it is opened.

use std::{path::PathBuf, time::Duration};

use sqlx::sqlite::SqlitePoolOptions;
use tokio::sync::{Mutex, watch};

use super::{Sqlite, SqliteStore, SqliteStoreError, file};
use crate::{
    settings::{ANSWERS_TO_OPEN, Settings, sets_what_all_have},
    store::SqlStore,
};

/// How long SQLite itself waits for others who write; then it is asked again.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// Sets up a [`SqliteStore`]; made by [`SqliteStore::builder`].
///
/// | setting | default |
/// |---|---|
/// | [`connections`](Self::connections) | 4 for reading |
/// | [`request_timeout`](Self::request_timeout) | 2 s |
/// | [`feed_capacity`](Self::feed_capacity) | 100,000 |
/// | [`feed_retention`](Self::feed_retention) | 1 day |
/// | [`clock`](Self::clock) | the machine's |
///
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
    pub(crate) fn new(path: PathBuf) -> Self {
        let settings = Settings {
            connections: 4,
            ..Settings::default()
        };
        Self { path, settings }
    }

    /// How many connections there may be for reading, at least one; each has a thread. Two more write,
    /// one of them only what is purged.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.settings.connections = connections;
        self
    }

    /// How long one call may take, also waiting for others who write, until it is
    /// [`TimedOut`](tower_revoke_core::StoreError::TimedOut); each step of a purge by itself.
    /// Opening may take five times as long.
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.settings.request_timeout = time;
        self
    }

    sets_what_all_have!();

    /// Opens the file, or creates it in a folder that is there, and brings it to this version's state.
    /// Any number of processes may do it at the same time. Must be called in a tokio runtime that goes
    /// on for as long as the store is used: the task that writes runs in it.
    ///
    /// # Errors
    /// Any [`SqliteStoreError`].
    pub async fn open(self) -> Result<SqliteStore, SqliteStoreError> {
        let Self { path, settings } = self;
        let within = settings.request_timeout;
        if settings.connections == 0 {
            return Err(SqliteStoreError::Setting("there are no connections"));
        }
        // Of longer ones SQLite would not know.
        if within.is_zero() || within > Duration::from_secs(86_400) {
            return Err(SqliteStoreError::Setting(
                "request_timeout must be longer than zero and at most a day",
            ));
        }
        // Some names that are not absolute mean something else to SQLite.
        let path = std::path::absolute(&path)
            .map_err(|_| SqliteStoreError::Setting("the file has no name"))?;
        let options = file::options(&path).busy_timeout(ASK_EVERY);
        let limit = within.saturating_mul(ANSWERS_TO_OPEN);
        let opening = tokio::time::timeout(limit, file::open(&path, &options));
        let Ok(opened) = opening.await else {
            return Err(SqliteStoreError::Locked { path });
        };
        let opened = opened?;
        let options = file::durable(options);
        let pool = SqlitePoolOptions::new()
            .max_connections(settings.connections)
            .acquire_timeout(within)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            // Who reads waits for nobody, but for who mends the file after a crash.
            .connect_lazy_with(options.clone().busy_timeout(within));
        let backend = Sqlite {
            path,
            options,
            pool,
            connections: settings.connections,
            turn: Mutex::new(()),
            purging: Mutex::new(None),
            last: watch::Sender::new(opened.seq),
        };
        Ok(SqliteStore(SqlStore::start(opened.id, backend, &settings)))
    }
}
