//! How the tests open the store, and their load.

use tower_revoke_store_sql::PostgresStore;
pub(crate) use tower_revoke_tests::load::{Load, claim, is_outage, key, revocation};
use tower_revoke_tests::servers::Postgres;

pub(crate) async fn open(server: &Postgres) -> PostgresStore {
    let store = PostgresStore::connect(server.url()).await;
    store.expect("a server that is up")
}
