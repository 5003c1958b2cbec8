//! How the tests open the store, and what they ask of it.

use tower_revoke_store_sql::MySqlStore;
pub(crate) use tower_revoke_tests::load::{claim, key, revocation};
use tower_revoke_tests::servers::MariaDb;

pub(crate) async fn open(server: &MariaDb) -> MySqlStore {
    let store = MySqlStore::connect(server.url()).await;
    store.expect("a server that is up")
}
