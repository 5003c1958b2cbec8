//! redb: claims that wait share a flush, beside one transaction each.

use std::sync::Arc;

use redb::{Database, Durability, ReadableTable, TableDefinition};
use tokio::sync::Mutex;
use tower_revoke::RedbStore;

use super::{CALLERS, Claims, claim, print_row, rate};
use crate::rounds::Outcome;

const TABLE: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("claims");

struct Ours(RedbStore);

/// The same store, whose callers take turns: one transaction each.
struct InTurn(RedbStore, Mutex<()>);

/// redb with one table, one transaction each.
struct Bare(Arc<Database>);

impl Claims for Ours {
    async fn claim(&self, number: u64) -> Outcome<()> {
        claim(&self.0, number).await
    }
}

impl Claims for InTurn {
    async fn claim(&self, number: u64) -> Outcome<()> {
        let _turn = self.1.lock().await;
        claim(&self.0, number).await
    }
}

impl Claims for Bare {
    async fn claim(&self, number: u64) -> Outcome<()> {
        let db = self.0.clone();
        let written = tokio::task::spawn_blocking(move || insert(&db, number)).await;
        written
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }
}

fn insert(db: &Database, number: u64) -> Result<(), redb::Error> {
    // Keys as far apart as hashes.
    let key = u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    let mut transaction = db.begin_write()?;
    transaction.set_durability(Durability::Immediate);
    {
        let mut table = transaction.open_table(TABLE)?;
        if table.get(key.to_be_bytes())?.is_none() {
            table.insert(key.to_be_bytes(), [7; 32].as_slice())?;
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
    let in_turn = Arc::new(InTurn(open("in-turn")?, Mutex::default()));
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
