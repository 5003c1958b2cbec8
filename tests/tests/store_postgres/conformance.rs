//! The conformance suite.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use tower_revoke_core::Clock;
use tower_revoke_store_sql::PostgresStore;
use tower_revoke_testing::conformance::{Ground, Harm, clauses};
use tower_revoke_tests::servers::{Postgres, SharedPostgres, StoreServer};

static GROUNDS: AtomicU64 = AtomicU64::new(0);

/// Where the server is that is shared by all clauses which do it no harm.
static SHARED: OnceLock<String> = OnceLock::new();

const TABLES: [&str; 6] = ["store", "revoked", "lifted", "uses", "held", "events"];

/// A schema of its own.
struct Schema {
    alone: Option<tokio::sync::Mutex<Postgres>>,
    name: String,
    clock: Clock,
}

impl Schema {
    fn new(alone: Option<Postgres>, clock: Clock) -> Self {
        let now = Clock::system().now();
        let number = GROUNDS.fetch_add(1, Ordering::Relaxed);
        Self {
            alone: alone.map(tokio::sync::Mutex::new),
            // Not even on a server that somebody else has filled before.
            name: format!("Test_{}_{now}_{number}", std::process::id()),
            clock,
        }
    }
}

impl Ground for Schema {
    type Store = PostgresStore;

    async fn empty(clock: Clock) -> Self {
        Self::new(None, clock)
    }

    async fn alone(clock: Clock) -> Self {
        Self::new(Some(Postgres::start(&[]).await), clock)
    }

    async fn open(&self) -> PostgresStore {
        let url = match &self.alone {
            Some(server) => server.lock().await.url(),
            None => SHARED.get().expect("a server that was started").clone(),
        };
        let store = PostgresStore::builder(url)
            .schema(&self.name)
            .clock(self.clock.clone());
        store.connect().await.expect("a server that is up")
    }

    async fn harm(&self, harm: Harm) {
        let server = self.alone.as_ref().expect("a server that is its own");
        let mut server = server.lock().await;
        if server.suffers(harm).await {
            return;
        }
        let name = &self.name;
        match harm {
            Harm::Trim => {
                server.sql(&format!(
                    "SELECT \"{name}\".trim_feed(0, {}, 1000000)",
                    i64::MAX
                ));
            }
            Harm::Backup => {
                server.sql(&format!("CREATE SCHEMA \"{name}_backup\""));
                for table in TABLES {
                    server.sql(&format!(
                        "CREATE TABLE \"{name}_backup\".{table} AS TABLE \"{name}\".{table}"
                    ));
                }
            }
            Harm::PlayBack => {
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
#[expect(
    clippy::print_stdout,
    reason = "the last line of a failure names its clause"
)]
async fn postgres_keeps_every_clause() {
    let server = SharedPostgres::start().await;
    SHARED.set(server.url()).expect("the only server");
    for clause in clauses::<Schema>() {
        println!("{}", clause.name);
        clause.check().await;
    }
}
