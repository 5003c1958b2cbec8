//! Tests that a standby is rejected.

use tower_revoke_core::{ChangeFeed, Store, StoreError, UseOutcome};
use tower_revoke_store_sql::{PostgresStore, SqlStoreError};
use tower_revoke_tests::{
    feed::whole_feed,
    load::{key, new_use, now, revocation},
    servers::{Postgres, StoreServer},
};

#[tokio::test(flavor = "multi_thread")]
async fn trap_56_a_standby_is_rejected_until_it_is_promoted() {
    let primary = Postgres::start(&[]).await;
    let store = primary.open().await;
    store.revoke(&[revocation(1)]).await.expect("a revocation");
    let standby = primary.start_standby().await;
    let rejected = PostgresStore::connect(standby.url()).await;
    assert!(
        matches!(rejected, Err(SqlStoreError::ReadOnly)),
        "{rejected:?}"
    );
    standby.sql("SELECT pg_promote()");
    let promoted = standby.open().await;
    let found = promoted.look_up(&[key(1)]).await.expect("an answer");
    assert!(found[0].is_some());
}

/// A standby may lag by any amount, so its answers must not make a node's knowledge fresh.
#[tokio::test(flavor = "multi_thread")]
async fn trap_56_a_primary_that_becomes_a_standby_gives_no_answer() {
    let mut server = Postgres::start(&[]).await;
    let store = server.open().await;
    store.revoke(&[revocation(1)]).await.expect("a revocation");
    let since = whole_feed(&store).await.next;
    server.kill().await;
    server.restart_as_standby().await;
    for _ in 0..2 {
        let found = store.look_up(&[key(1)]).await;
        assert!(
            matches!(found, Err(StoreError::Unavailable(_))),
            "{found:?}"
        );
        // The same for an unlisted token.
        let found = store.look_up(&[key(2)]).await;
        assert!(
            matches!(found, Err(StoreError::Unavailable(_))),
            "{found:?}"
        );
        for cursor in [None, Some(&since)] {
            let page = store.changes(cursor).await;
            assert!(matches!(page, Err(StoreError::Unavailable(_))), "{page:?}");
        }
        let used = store.take_use(&new_use(3, 1, 1), now()).await;
        assert!(matches!(used, Err(StoreError::Unavailable(_))), "{used:?}");
    }
    server.sql("SELECT pg_promote()");
    let found = store.look_up(&[key(1)]).await.expect("an answer");
    assert!(found[0].is_some());
    store.changes(Some(&since)).await.expect("a page");
    let used = store
        .take_use(&new_use(3, 1, 1), now())
        .await
        .expect("a use");
    assert_eq!(used, UseOutcome::Taken { left: 0 });
}
