//! Tests that each failure to open the store says what to do.

use std::{sync::Arc, time::Duration};

use scylla::{
    client::{execution_profile::ExecutionProfile, session_builder::SessionBuilder},
    statement::Consistency,
};
use tower_revoke_core::{Store, UnixTime};
use tower_revoke_store_cassandra::{CassandraStore, CassandraStoreError};
use tower_revoke_tests::servers::SharedCassandra;

use super::tools::{ONE_COPY, driver, key, keyspace, new_use, now, revocation};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_open_names_the_cause() {
    let server = SharedCassandra::start().await;
    let address = server.address();
    let name = format!("Opening_{}", std::process::id());
    let builder = || {
        let builder = CassandraStore::builder([address.clone()]).keyspace(&name);
        builder.request_timeout(Duration::from_secs(10))
    };
    let missing = builder().connect().await.expect_err("there is no keyspace");
    let is_missing = matches!(
        missing,
        CassandraStoreError::Older {
            found: 0,
            known: 1,
            ..
        }
    );
    assert!(
        is_missing && missing.to_string().contains("migration"),
        "{missing:?}"
    );
    // An error of the user's comes back with the server's message.
    let rejected = builder().migrate("{'class': 'NoSuchStrategy'}").await;
    let rejected = rejected.expect_err("there is no such class");
    assert!(
        format!("{rejected:?}").contains("NoSuchStrategy"),
        "{rejected:?}"
    );
    for _ in 0..2 {
        builder().migrate(ONE_COPY).await.expect("a migration");
    }
    let store = builder().connect().await.expect("an existing keyspace");
    store.revoke(&[revocation(1)]).await.expect("a revocation");
    one_winner_per_datacenter(&address, &name).await;
    let session = driver(&address).await;
    let newer = format!("UPDATE \"{name}\".store SET version = 7 WHERE only_one = 0");
    session.query_unpaged(newer, ()).await.expect("a write");
    let words = builder()
        .connect()
        .await
        .expect_err("it is newer")
        .to_string();
    assert!(
        words.contains("version 7") && words.contains("knows 1"),
        "{words}"
    );
    let newer = builder().migrate(ONE_COPY).await;
    assert!(matches!(
        newer,
        Err(CassandraStoreError::Newer { found: 7, .. })
    ));
    let drop = format!("DROP KEYSPACE \"{name}\"");
    session
        .query_unpaged(drop, ())
        .await
        .expect("the keyspace exists");
}

async fn one_winner_per_datacenter(address: &str, name: &str) {
    let local = || keyspace(address, name);
    let local = local().await.consistency("LOCAL_QUORUM");
    let unnamed = local.clone().connect().await;
    assert!(matches!(unnamed, Err(CassandraStoreError::Setting(_))));
    let store = local.datacenter("datacenter1").connect().await;
    let store = store.expect("a data centre");
    store
        .take_use(&new_use(9, 1, 1), now())
        .await
        .expect("a use");
    assert!(store.feed().is_none());
}

/// One server can't answer at the consistency of this session's own profile.
#[tokio::test(flavor = "multi_thread")]
async fn the_store_does_not_rely_on_the_settings_of_a_user_session() {
    let server = SharedCassandra::start().await;
    let address = server.address();
    let profile = ExecutionProfile::builder().consistency(Consistency::Three);
    let session = SessionBuilder::new()
        .known_node(&address)
        .default_execution_profile_handle(profile.build().into_handle());
    let session = Arc::new(session.build().await.expect("a running server"));
    let name = format!("Session_{}", std::process::id());
    let builder = || CassandraStore::builder_from_session(Arc::clone(&session)).keyspace(&name);
    let both = builder().credentials("ann", "s3cret").connect().await;
    assert!(matches!(both, Err(CassandraStoreError::Setting(_))));
    let patient = builder().request_timeout(Duration::from_secs(10));
    patient.migrate(ONE_COPY).await.expect("a migration");
    let store = builder().connect().await.expect("the tables");

    store.revoke(&[revocation(1)]).await.expect("a revocation");
    let found = store.look_up(&[key(1), key(2)]).await.expect("an answer");
    assert!(found[0].is_some() && found[1].is_none());
    for (token, limit) in [(1, 1), (2, 2)] {
        let use_ = new_use(token, 1, limit);
        store.take_use(&use_, now()).await.expect("a use");
        assert!(store.return_use(&use_).await.expect("an answer"));
    }
    let loaded = store
        .feed()
        .expect("a feed")
        .changes(None)
        .await
        .expect("a page");
    assert!(!loaded.changes.is_empty());
    store.purge(UnixTime::EPOCH).await.expect("a purge");
    let drop = format!("DROP KEYSPACE \"{name}\"");
    let plain = driver(&address).await;
    plain
        .query_unpaged(drop, ())
        .await
        .expect("the keyspace exists");
}
