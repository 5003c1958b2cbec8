//! A file, and the connections to it.

use std::{fmt, path::PathBuf};

use sqlx::{SqliteConnection, SqlitePool, sqlite::SqliteConnectOptions};
use tokio::sync::{Mutex, watch};

/// A SQLite file.
pub(crate) struct Sqlite {
    pub(super) path: PathBuf,
    /// Of the connections that write.
    pub(super) options: SqliteConnectOptions,
    pub(super) pool: SqlitePool,
    /// Whoever writes in this process waits here, not in SQLite, which would have to be asked over
    /// and over.
    pub(super) turn: Mutex<()>,
    pub(super) purging: Mutex<Option<SqliteConnection>>,
    /// The last event that this process knows of.
    pub(super) last: watch::Sender<i64>,
}

impl Sqlite {
    /// Whoever waits for an event after those that were known is woken.
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
