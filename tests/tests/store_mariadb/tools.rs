//! How the tests open the store, and what they ask of it.

use std::time::Duration;

use tower_revoke_store_sql::MySqlStore;
pub(crate) use tower_revoke_tests::load::{key, new_use, now, revocation};
use tower_revoke_tests::servers::MariaDb;

/// One that has patience with a busy machine.
pub(crate) async fn open(server: &MariaDb) -> MySqlStore {
    let store = MySqlStore::builder(server.url()).request_timeout(Duration::from_secs(30));
    store.connect().await.expect("a server that is up")
}
