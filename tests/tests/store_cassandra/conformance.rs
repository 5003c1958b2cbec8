//! The conformance suite.

use std::sync::PoisonError;

use tempfile::TempDir;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};
use tower_revoke_core::Clock;
use tower_revoke_store_cassandra::CassandraStore;
use tower_revoke_testing::conformance::{Ability, Fault, Fixture};
use tower_revoke_tests::{
    conformance::{keeps_every_clause, own_name},
    servers::{Cassandra, SharedCassandra, StoreServer},
};

use super::tools::{driver, keyspace, numbers};

/// One server for all clauses that need their own: the clauses run one after the other, each in its
/// own keyspace.
static OWN: Mutex<Option<Cassandra>> = Mutex::const_new(None);

async fn own() -> MappedMutexGuard<'static, Cassandra> {
    let mut own = OWN.lock().await;
    if own.is_none() {
        *own = Some(Cassandra::start(&[]).await);
    }
    MutexGuard::map(own, |own| own.as_mut().expect("just started"))
}

/// The addresses and names of the keyspaces of earlier clauses. Each takes room in the server's heap.
static DONE: std::sync::Mutex<Vec<(String, String)>> = std::sync::Mutex::new(Vec::new());

struct Keyspace {
    is_own: bool,
    address: String,
    name: String,
    backup: TempDir,
}

impl Keyspace {
    async fn new(theirs: Option<String>) -> Self {
        let is_own = theirs.is_none();
        let address = match theirs {
            Some(address) => address,
            None => own().await.address(),
        };
        let done = std::mem::take(&mut *done());
        for (address, name) in done {
            let drop = format!("DROP KEYSPACE \"{name}\"");
            let dropped = driver(&address).await.query_unpaged(drop, ()).await;
            dropped.expect("a running server");
        }
        let name = own_name();
        let _made = keyspace(&address, &name).await;
        Self {
            is_own,
            address,
            name,
            backup: TempDir::new().expect("a temp dir"),
        }
    }
}

/// Its keyspace is dropped when the next one is created.
impl Drop for Keyspace {
    fn drop(&mut self) {
        let address = std::mem::take(&mut self.address);
        done().push((address, std::mem::take(&mut self.name)));
    }
}

fn done() -> std::sync::MutexGuard<'static, Vec<(String, String)>> {
    DONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fixture for Keyspace {
    type Store = CassandraStore;

    const LACKS: &'static [(Ability, &'static str)] = &[(
        Ability::Push,
        "Cassandra has no notifications of writes; followers poll",
    )];

    async fn empty(_: Clock) -> Self {
        Self::new(SharedCassandra::named()).await
    }

    async fn alone(_: Clock) -> Self {
        Self::new(None).await
    }

    async fn open(&self) -> CassandraStore {
        let store = CassandraStore::builder([&self.address]).keyspace(&self.name);
        store.connect().await.expect("a running server")
    }

    async fn inject(&self, fault: Fault) {
        assert!(self.is_own, "{fault:?} on a shared server");
        let mut server = own().await;
        if server.suffers(fault).await {
            return;
        }
        match fault {
            Fault::Trim => trim(&server.address(), &self.name).await,
            Fault::Backup => {
                server.kill().await;
                server.copy_data(&server.data(), self.backup.path());
                server.restart().await;
            }
            Fault::PlayBack => {
                server.kill().await;
                server.copy_data(self.backup.path(), &server.data());
                server.restart().await;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Trims the feed as each writer trims its own log: up to an entry that was complete when the last
/// entry with keys was written, so that a follower that has read this one needs none of those.
async fn trim(address: &str, name: &str) {
    let session = driver(address).await;
    let log = format!("\"{name}\".log");
    let select = format!("SELECT writer FROM \"{name}\".writers");
    for writer in numbers(&session, &select).await {
        let of = format!("WHERE writer = {writer} AND bucket = 0");
        let column = async |column: &str| {
            let select = format!("SELECT {column} FROM {log} {of}");
            numbers(&session, &select).await
        };
        let (entries, marks, settled) = (
            column("seq").await,
            column("mark").await,
            column("settled").await,
        );
        // The last one may be without keys.
        let Some(settled) = settled.iter().rev().nth(1) else {
            continue;
        };
        let mut complete = entries.iter().zip(marks).filter(|(seq, _)| *seq <= settled);
        let Some((seq, mark)) = complete.next_back() else {
            continue;
        };
        for statement in [
            format!(
                "UPDATE \"{name}\".writers USING TIMESTAMP {seq} SET trimmed = {seq}, \
                 trimmed_mark = {mark} WHERE only_one = 0 AND writer = {writer}"
            ),
            format!("DELETE FROM {log} {of} AND seq <= {seq}"),
        ] {
            let done = session.query_unpaged(statement, ()).await;
            done.expect("a running server");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cassandra_passes_every_clause() {
    keeps_every_clause::<Keyspace>().await;
    // Statics are not dropped: the server would leave its data behind.
    drop(OWN.lock().await.take());
}
