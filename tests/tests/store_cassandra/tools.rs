//! Helpers: create a keyspace, open the store on it, and query its tables.

use std::time::Duration;

use scylla::client::{session::Session, session_builder::SessionBuilder};
use tower_revoke_store_cassandra::{CassandraStore, CassandraStoreBuilder};
pub(crate) use tower_revoke_tests::{
    load::{key, new_use, now, revocation},
    servers::is_outage,
};

pub(crate) const ONE_COPY: &str = "{'class': 'SimpleStrategy', 'replication_factor': 1}";

/// Creates a keyspace with its tables; the timeouts allow for a busy machine.
pub(crate) async fn keyspace(address: &str, name: &str) -> CassandraStoreBuilder {
    let builder = CassandraStore::builder([address]).keyspace(name);
    let patient = builder.clone().request_timeout(Duration::from_secs(60));
    patient.migrate(ONE_COPY).await.expect("a running server");
    builder
}

pub(crate) async fn open(address: &str) -> CassandraStore {
    let builder = keyspace(address, "tower_revoke").await;
    builder.connect().await.expect("a running server")
}

/// Returns a plain session of the driver.
pub(crate) async fn driver(address: &str) -> Session {
    let session = SessionBuilder::new()
        .known_node(address)
        .fetch_schema_metadata(false);
    session.build().await.expect("a running server")
}

/// Selects rows of one number.
pub(crate) async fn numbers(session: &Session, select: &str) -> Vec<i64> {
    let answer = session.query_unpaged(select, ()).await.expect("an answer");
    let rows = answer.into_rows_result().expect("rows");
    let rows = rows.rows::<(i64,)>().expect("rows of a number");
    rows.map(|row| row.expect("a number").0).collect()
}
