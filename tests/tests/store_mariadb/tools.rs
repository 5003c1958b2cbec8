//! Helpers to open the store and query its tables.

use std::time::Duration;

use tower_revoke_store_sql::MySqlStore;
pub(crate) use tower_revoke_tests::load::{key, new_use, now, revocation};
use tower_revoke_tests::servers::MariaDb;

/// Opens the store with timeouts for a busy machine.
pub(crate) async fn open(server: &MariaDb) -> MySqlStore {
    let store = MySqlStore::builder(server.url()).request_timeout(Duration::from_secs(30));
    store.connect().await.expect("a running server")
}
