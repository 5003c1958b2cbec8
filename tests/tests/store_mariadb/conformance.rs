//! The conformance suite.

use std::sync::OnceLock;

use tower_revoke_core::Clock;
use tower_revoke_store_sql::MySqlStore;
use tower_revoke_testing::conformance::{Ability, Fault, Fixture};
use tower_revoke_tests::{
    conformance::{keeps_every_clause, own_name},
    servers::{MariaDb, SharedMariaDb, StoreServer},
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

/// A set of tables with its own prefix.
struct Tables {
    alone: Option<tokio::sync::Mutex<MariaDb>>,
    prefix: String,
}

impl Tables {
    fn new(alone: Option<MariaDb>) -> Self {
        Self {
            alone: alone.map(tokio::sync::Mutex::new),
            prefix: format!("{}_", own_name()),
        }
    }
}

impl Fixture for Tables {
    type Store = MySqlStore;

    const LACKS: &'static [(Ability, &'static str)] =
        &[(Ability::Push, "the server has no notifications of writes")];

    async fn empty(_clock: Clock) -> Self {
        Self::new(None)
    }

    async fn alone(_clock: Clock) -> Self {
        Self::new(Some(MariaDb::fresh().await))
    }

    async fn open(&self) -> MySqlStore {
        let url = match &self.alone {
            Some(server) => server.lock().await.url(),
            None => SHARED.get().expect("a started server").clone(),
        };
        let store = MySqlStore::builder(url).table_prefix(&self.prefix);
        store.connect().await.expect("a running server")
    }

    async fn inject(&self, fault: Fault) {
        let server = self.alone.as_ref().expect("an exclusive server");
        let mut server = server.lock().await;
        if server.suffers(fault).await {
            return;
        }
        let prefix = &self.prefix;
        match fault {
            Fault::Trim => {
                server.sql(&format!(
                    "START TRANSACTION; UPDATE {prefix}store SET trimmed = seq, trimmed_mark = mark; \
                     DELETE FROM {prefix}events; COMMIT"
                ));
            }
            Fault::Backup => {
                for table in TABLES {
                    server.sql(&format!(
                        "CREATE TABLE {prefix}backup_{table} AS SELECT * FROM {prefix}{table}"
                    ));
                }
            }
            Fault::PlayBack => {
                for table in TABLES {
                    server.sql(&format!(
                        "START TRANSACTION; DELETE FROM {prefix}{table}; \
                         INSERT INTO {prefix}{table} SELECT * FROM {prefix}backup_{table}; COMMIT"
                    ));
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mariadb_passes_every_clause() {
    let server = SharedMariaDb::start().await;
    SHARED.set(server.url()).expect("the only server");
    keeps_every_clause::<Tables>().await;
}
