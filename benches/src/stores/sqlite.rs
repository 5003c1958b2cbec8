//! SQLite: waiting uses share a transaction, compared with one `INSERT` per use by the bare driver,
//! on the only connection that can write.

use std::sync::Arc;

use sqlx::{
    Executor, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tower_revoke::core::Use;
use tower_revoke_store_sql::SqliteStore;

use super::{
    CALLERS, Claims, Ours, print_row, rate,
    scale::{self, folder_size},
};
use crate::rounds::Outcome;

/// The bare driver, with the durability of the store.
struct Bare(SqlitePool);

impl Claims for Bare {
    async fn take_use(&self, use_: Use) -> Outcome<()> {
        let inserted = sqlx::query("INSERT INTO uses VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(&use_.token.as_bytes()[..])
            .bind(&use_.id.as_bytes()[..])
            .execute(&self.0)
            .await
            .map_err(|error| error.to_string())?;
        match inserted.rows_affected() {
            1 => Ok(()),
            _ => Err("a new use was lost".to_owned()),
        }
    }
}

pub(super) async fn hold_many(count: u64) -> Outcome<()> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let store = SqliteStore::open(folder.path().join("ours")).await;
    let store = store.map_err(|error| error.to_string())?;
    let bytes = async || folder_size(folder.path());
    scale::measure("SQLite", store, count, bytes).await
}

pub(super) async fn measure(rounds: usize) -> Outcome<()> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let said = |error: sqlx::Error| error.to_string();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("bare"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let bare = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .map_err(said)?;
    let table = "CREATE TABLE uses (token BLOB PRIMARY KEY, use_id BLOB) STRICT, WITHOUT ROWID";
    bare.execute(table).await.map_err(said)?;
    let bare = Arc::new(Bare(bare));
    let ours = SqliteStore::open(folder.path().join("ours")).await;
    let ours = Arc::new(Ours(ours.map_err(|error| error.to_string())?));
    println!("SQLite (in brackets: times one INSERT each)");
    for callers in CALLERS {
        let mut rates = vec![Vec::new(); 2];
        for _ in 0..rounds {
            rates[0].push(rate(&bare, callers).await?);
            rates[1].push(rate(&ours, callers).await?);
        }
        print_row(callers, &["bare", "ours"], &rates);
    }
    Ok(())
}
