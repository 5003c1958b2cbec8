//! Tests retention, purging, and recovery after a restart of the server.

use std::time::Duration;

use tower_revoke::RevocationList;
use tower_revoke_core::{ChangeFeed, Store, UseOutcome};
use tower_revoke_store_sql::PostgresStore;
use tower_revoke_tests::{
    feed::whole_feed,
    load::{key, new_use, now, revocation},
    servers::{Postgres, StoreServer, wait_until},
    sql,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_trimmed_while_it_grows() {
    let server = Postgres::start(&[]).await;
    let store = PostgresStore::builder(server.url()).feed_capacity(100);
    let store = store.connect().await.expect("a running server");
    let events = || server.sql("SELECT count(*) FROM tower_revoke.events");
    sql::feed_forgets_while_it_grows(&store, events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_spent_in_one_batch_are_one_row_of_the_feed() {
    let server = Postgres::start(&[]).await;
    let store = PostgresStore::builder(server.url()).feed_capacity(100);
    let store = store.connect().await.expect("a running server");
    let rows = "SELECT count(*), sum(cardinality(untils)), \
                min(seq - cardinality(untils)) = (SELECT trimmed FROM tower_revoke.store) \
                FROM tower_revoke.events";
    sql::uses_spent_together_share_a_row(&store, || server.sql(rows).replace("|t", "|1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_55_a_load_ends_while_more_is_written_than_the_feed_keeps() {
    let server = Postgres::start(&[]).await;
    let store = PostgresStore::builder(server.url()).feed_capacity(1_000);
    let store = store.connect().await.expect("a running server");
    sql::a_load_ends_while_more_is_written_than_is_kept(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_changes_are_trimmed_however_few_they_are() {
    let server = Postgres::start(&[]).await;
    let store = PostgresStore::builder(server.url()).feed_retention(Duration::from_secs(60));
    let store = store.connect().await.expect("a running server");
    let age = |secs| {
        drop(server.sql(&format!(
            "UPDATE tower_revoke.events SET written = written - {secs}"
        )))
    };
    let kept = || server.sql("SELECT min(seq), max(seq) FROM tower_revoke.events");
    sql::old_changes_go(&store, age, kept).await;
}

/// Events are trimmed by the server's clock: a node's clock may be a day ahead.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_dated_by_the_servers_clock() {
    let server = Postgres::start(&[]).await;
    let store = server.open().await;
    let tomorrow = now().saturating_add(Duration::from_secs(86_400));
    let mut use_ = new_use(1, 1, 1);
    use_.until = None;
    let used = store.take_use(&use_, tomorrow).await;
    assert_eq!(used.expect("a use"), UseOutcome::Taken { left: 0 });
    let written = server.sql("SELECT written FROM tower_revoke.events");
    let written: u64 = written.parse().expect("a number");
    assert!(written.abs_diff(now().as_secs()) < 600, "{written}");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_revocations_share_transactions_of_bounded_size() {
    let server = Postgres::start(&[]).await;
    let largest =
        "SELECT max(n) FROM (SELECT count(*) AS n FROM tower_revoke.events GROUP BY mark) AS sizes";
    let store = server.open_impatient(Duration::from_secs(30)).await;
    sql::transactions_are_bounded(&store, || server.sql(largest)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_as_many_steps_as_it_needs() {
    let server = Postgres::start(&[]).await;
    let rows = |table: &str| server.sql(&format!("SELECT count(*) FROM tower_revoke.{table}"));
    sql::purge_takes_many_steps(&server.open().await, rows).await;
}

/// After a restart, the pool holds broken connections, which must not surface as errors.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_first_calls_work() {
    let mut server = Postgres::start(&[]).await;
    let store = server.open().await;
    for round in 0..3 {
        store
            .revoke(&[revocation(round)])
            .await
            .expect("a revocation");
        let keys = [key(round)];
        let all = futures_util::future::join_all((0..8).map(|_| store.look_up(&keys)));
        for found in all.await {
            assert!(found.expect("an answer")[0].is_some());
        }
        server.kill().await;
        server.restart().await;
        let won = store.take_use(&new_use(100 + round, 1, 1), now()).await;
        let won = won.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        assert_eq!(won, UseOutcome::Taken { left: 0 });
        let all = futures_util::future::join_all((0..8).map(|_| store.look_up(&keys)));
        for found in all.await {
            assert!(found.expect("an answer")[0].is_some());
        }
    }
}

/// The listener reconnects after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_is_woken_after_a_restart_too() {
    let mut server = Postgres::start(&[]).await;
    let (store, other) = (server.open().await, server.open().await);
    for round in 0..2 {
        let since = whole_feed(&store).await.next;
        let woken = tokio::spawn({
            let store = store.clone();
            async move { store.changed(&since).await }
        });
        if round == 1 {
            server.kill().await;
            server.restart().await;
        }
        let said = other.revoke(&[revocation(round)]).await;
        said.expect("a revocation");
        // A generous limit: only checks that it ends.
        let woken = tokio::time::timeout(Duration::from_secs(60), woken).await;
        woken.expect("a hint").expect("no panic");
    }
}

/// An empty schema replaces the one that a running node follows.
#[tokio::test(flavor = "multi_thread")]
async fn trap_47_a_dropped_schema_is_refilled_from_the_mirrors() {
    let server = Postgres::start(&[]).await;
    let (store, other) = (server.open().await, server.open().await);
    let list = RevocationList::builder(store)
        .max_staleness(Duration::from_secs(1))
        .build()
        .expect("valid settings");
    list.ready().await.expect("a running server");
    let said = other.revoke(&[revocation(1)]).await;
    said.expect("a revocation");
    let won = list.take_use(new_use(2, 1, 1)).await;
    assert_eq!(won.expect("an answer"), UseOutcome::Taken { left: 0 });
    // The revocation, the spent token, and the use that was taken here.
    wait_until("the mirror has all three", || list.stats().mirrored == 3).await;
    drop(other);

    server.sql("DROP SCHEMA tower_revoke CASCADE");
    let fresh = server.open().await;
    wait_until("both were written back", || list.stats().written_back == 2).await;
    wait_until("the list is ready again", || list.is_ready()).await;
    let listed = fresh.look_up(&[key(1), key(2)]).await.expect("an answer");
    assert!(listed.iter().all(Option::is_some), "{listed:?}");
    let again = list.take_use(new_use(2, 9, 1)).await;
    assert_eq!(again.expect("an answer"), UseOutcome::Spent);
}
