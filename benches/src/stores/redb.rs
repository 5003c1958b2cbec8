//! redb: waiting uses share a flush, compared with one transaction per use.

use std::sync::Arc;

use redb::{Database, Durability, ReadableTable, TableDefinition};
use tokio::sync::Mutex;
use tower_revoke::core::Use;
use tower_revoke_store_redb::RedbStore;

use super::{CALLERS, Claims, Ours, print_row, rate};
use crate::rounds::Outcome;

const TABLE: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("uses");

/// The same store, with one caller at a time: one transaction per use.
struct InTurn(Ours<RedbStore>, Mutex<()>);

/// Bare redb with one table, and one transaction per use.
struct Bare(Arc<Database>);

impl Claims for InTurn {
    async fn take_use(&self, use_: Use) -> Outcome<()> {
        let _turn = self.1.lock().await;
        self.0.take_use(use_).await
    }
}

impl Claims for Bare {
    async fn take_use(&self, use_: Use) -> Outcome<()> {
        let db = self.0.clone();
        let written = tokio::task::spawn_blocking(move || insert(&db, &use_)).await;
        written
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }
}

fn insert(db: &Database, use_: &Use) -> Result<(), redb::Error> {
    let key = *use_.token.as_bytes();
    let mut transaction = db.begin_write()?;
    transaction.set_durability(Durability::Immediate);
    {
        let mut table = transaction.open_table(TABLE)?;
        if table.get(key)?.is_none() {
            table.insert(key, [7; 32].as_slice())?;
        }
    }
    Ok(transaction.commit()?)
}

pub(super) async fn measure(rounds: usize) -> Outcome<()> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = |name| folder.path().join(name);
    let open = |name| RedbStore::open(path(name)).map_err(|error| error.to_string());
    let bare = Database::create(path("bare")).map_err(|error| error.to_string())?;
    let bare = Arc::new(Bare(Arc::new(bare)));
    let in_turn = Arc::new(InTurn(Ours(open("in-turn")?), Mutex::default()));
    let ours = Arc::new(Ours(open("ours")?));
    println!("redb (in brackets: times bare redb; to reach with 256: 15 times the store in turn)");
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
