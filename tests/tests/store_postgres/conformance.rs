//! The conformance suite.

use std::sync::OnceLock;

use tower_revoke_core::Clock;
use tower_revoke_store_sql::PostgresStore;
use tower_revoke_testing::conformance::{Fault, Fixture};
use tower_revoke_tests::{
    conformance::{keeps_every_clause, own_name},
    servers::{Postgres, SharedPostgres, StoreServer},
};

/// The URL of the server that all harmless clauses share.
static SHARED: OnceLock<String> = OnceLock::new();

const TABLES: [&str; 7] = [
    "store",
    "revoked",
    "lifted",
    "uses",
    "held",
    "issued_tokens",
    "events",
];

/// A schema of its own.
struct Schema {
    alone: Option<tokio::sync::Mutex<Postgres>>,
    name: String,
}

impl Schema {
    fn new(alone: Option<Postgres>) -> Self {
        Self {
            alone: alone.map(tokio::sync::Mutex::new),
            name: own_name(),
        }
    }
}

impl Fixture for Schema {
    type Store = PostgresStore;

    async fn empty(_clock: Clock) -> Self {
        Self::new(None)
    }

    async fn alone(_clock: Clock) -> Self {
        Self::new(Some(Postgres::start(&[]).await))
    }

    async fn open(&self) -> PostgresStore {
        let url = match &self.alone {
            Some(server) => server.lock().await.url(),
            None => SHARED.get().expect("a started server").clone(),
        };
        let store = PostgresStore::builder(url).schema(&self.name);
        store.connect().await.expect("a running server")
    }

    async fn inject(&self, fault: Fault) {
        let server = self.alone.as_ref().expect("an exclusive server");
        let mut server = server.lock().await;
        if server.suffers(fault).await {
            return;
        }
        let name = &self.name;
        match fault {
            Fault::Trim => {
                server.sql(&format!("SELECT \"{name}\".trim_feed(0, 0, 1000000)"));
            }
            Fault::Backup => {
                server.sql(&format!("CREATE SCHEMA \"{name}_backup\""));
                for table in TABLES {
                    server.sql(&format!(
                        "CREATE TABLE \"{name}_backup\".{table} AS TABLE \"{name}\".{table}"
                    ));
                }
            }
            Fault::PlayBack => {
                for table in TABLES {
                    server.sql(&format!(
                        "TRUNCATE \"{name}\".{table}; \
                         INSERT INTO \"{name}\".{table} TABLE \"{name}_backup\".{table}"
                    ));
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_passes_every_clause() {
    let server = SharedPostgres::start().await;
    SHARED.set(server.url()).expect("the only server");
    keeps_every_clause::<Schema>().await;
}
