//! The file behind a store, and the connections to it.

use std::{fmt, path::PathBuf};

use sqlx::{SqliteConnection, SqlitePool, sqlite::SqliteConnectOptions};
use tokio::sync::{Mutex, watch};

use crate::batch::Tables;

/// A SQLite file.
pub(crate) struct Sqlite {
    pub(super) path: PathBuf,
    pub(super) tables: Tables,
    /// The options of connections that write.
    pub(super) options: SqliteConnectOptions,
    pub(super) pool: SqlitePool,
    /// Held by the writer of this process. SQLite has no queue for its lock, which waiting tasks
    /// would have to poll.
    pub(super) turn: Mutex<()>,
    pub(super) purging: Mutex<Option<SqliteConnection>>,
    /// The number of the last event that this process has seen.
    pub(super) last: watch::Sender<i64>,
}

impl Sqlite {
    /// Records the number of the last event, and wakes the waiting readers if it is new.
    pub(super) fn tell(&self, seq: i64) {
        self.last.send_if_modified(|last| {
            let is_news = *last < seq;
            *last = seq.max(*last);
            is_news
        });
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
