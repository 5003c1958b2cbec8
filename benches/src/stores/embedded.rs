//! The embedded store: waiting uses share a flush, compared with one commit per use.

use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tokio::sync::Mutex;
use tower_revoke::core::Use;
use tower_revoke_store_embedded::EmbeddedStore;

use super::{
    CALLERS, Claims, Ours, print_row, rate,
    scale::{self, folder_size},
};
use crate::rounds::Outcome;

/// The same store, with one caller at a time: one commit per use.
struct InTurn(Ours<EmbeddedStore>, Mutex<()>);

/// Bare fjall with one keyspace, and one commit per use.
struct Bare(Database, Keyspace);

impl Claims for InTurn {
    async fn take_use(&self, use_: Use) -> Outcome<()> {
        let _turn = self.1.lock().await;
        self.0.take_use(use_).await
    }
}

impl Claims for Bare {
    async fn take_use(&self, use_: Use) -> Outcome<()> {
        let (db, rows) = (self.0.clone(), self.1.clone());
        let written = tokio::task::spawn_blocking(move || insert(&db, &rows, &use_)).await;
        written
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }
}

fn insert(db: &Database, rows: &Keyspace, use_: &Use) -> fjall::Result<()> {
    let key = *use_.token.as_bytes();
    if rows.get(key)?.is_some() {
        return Ok(());
    }
    let mut batch = db.batch().durability(Some(PersistMode::SyncData));
    batch.insert(rows, key, [7; 32]);
    batch.commit()
}

pub(super) async fn hold_many(count: u64) -> Outcome<()> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let store = EmbeddedStore::open(folder.path().join("ours"));
    let store = store.map_err(|error| error.to_string())?;
    let bytes = async || folder_size(folder.path());
    scale::measure("embedded", store, count, bytes).await
}

pub(super) async fn measure(rounds: usize) -> Outcome<()> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = |name| folder.path().join(name);
    let open = |name| EmbeddedStore::open(path(name)).map_err(|error| error.to_string());
    let bare = || {
        let db = Database::builder(path("bare")).open()?;
        let rows = db.keyspace("uses", KeyspaceCreateOptions::default)?;
        Ok(Bare(db, rows))
    };
    let bare = Arc::new(bare().map_err(|error: fjall::Error| error.to_string())?);
    let in_turn = Arc::new(InTurn(Ours(open("in-turn")?), Mutex::default()));
    let ours = Arc::new(Ours(open("ours")?));
    println!(
        "embedded (in brackets: times bare fjall; to reach with 256: 15 times the store in turn)"
    );
    for callers in CALLERS {
        let mut rates = vec![Vec::new(); 3];
        for _ in 0..rounds {
            rates[0].push(rate(&bare, callers).await?);
            rates[1].push(rate(&in_turn, callers).await?);
            rates[2].push(rate(&ours, callers).await?);
        }
        print_row(callers, &["bare, one each", "ours in turn", "ours"], &rates);
    }
    Ok(())
}
