//! Tests retention, purging, and recovery after a restart of the server.

use std::time::Duration;

use tower_revoke_core::{Revocation, Store, StoreError, TokenId, UseId, UseOutcome};
use tower_revoke_store_sql::MySqlStore;
use tower_revoke_tests::{
    servers::{MariaDb, StoreServer},
    sql,
};

use super::tools::{key, new_use, now, open, revocation};

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_trimmed_while_it_grows() {
    let server = MariaDb::start(&[]).await;
    let store = MySqlStore::builder(server.url()).feed_capacity(100);
    let store = store.connect().await.expect("a running server");
    let events = || server.sql("SELECT COUNT(*) FROM tower_revoke_events");
    sql::feed_forgets_while_it_grows(&store, events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_spent_in_one_batch_are_one_row_of_the_feed() {
    let server = MariaDb::start(&[]).await;
    let store = MySqlStore::builder(server.url()).feed_capacity(100);
    let store = store.connect().await.expect("a running server");
    let rows = "SELECT COUNT(*), CAST(SUM(LENGTH(digests)) / 16 AS SIGNED), \
                MIN(seq - LENGTH(digests) DIV 16) = (SELECT trimmed FROM tower_revoke_store) \
                FROM tower_revoke_events";
    sql::uses_spent_together_share_a_row(&store, || server.sql(rows)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_55_a_load_ends_while_more_is_written_than_the_feed_keeps() {
    let server = MariaDb::start(&[]).await;
    let store = MySqlStore::builder(server.url()).feed_capacity(1_000);
    let store = store.connect().await.expect("a running server");
    sql::a_load_ends_while_more_is_written_than_is_kept(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_changes_are_trimmed_however_few_they_are() {
    let server = MariaDb::start(&[]).await;
    let store = MySqlStore::builder(server.url()).feed_retention(Duration::from_secs(60));
    let store = store.connect().await.expect("a running server");
    let age = |secs| {
        drop(server.sql(&format!(
            "UPDATE tower_revoke_events SET written = written - {secs}"
        )))
    };
    let kept = || server.sql("SELECT MIN(seq), MAX(seq) FROM tower_revoke_events");
    sql::old_changes_go(&store, age, kept).await;
}

/// Events are trimmed by the server's clock: a node's clock may be a day ahead.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_dated_by_the_servers_clock() {
    let server = MariaDb::start(&[]).await;
    let store = open(&server).await;
    let tomorrow = now().saturating_add(Duration::from_secs(86_400));
    let mut use_ = new_use(1, 1, 1);
    use_.until = None;
    let used = store.take_use(&use_, tomorrow).await;
    assert_eq!(used.expect("a use"), UseOutcome::Taken { left: 0 });
    let written = server.sql("SELECT written FROM tower_revoke_events");
    let written: u64 = written.parse().expect("a number");
    assert!(written.abs_diff(now().as_secs()) < 600, "{written}");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_revocations_share_transactions_of_bounded_size() {
    let server = MariaDb::start(&[]).await;
    let largest =
        "SELECT max(n) FROM (SELECT count(*) AS n FROM tower_revoke_events GROUP BY mark) AS sizes";
    let store = open(&server).await;
    sql::transactions_are_bounded(&store, || server.sql(largest)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_as_many_steps_as_it_needs() {
    let server = MariaDb::start(&[]).await;
    let rows = |table: &str| server.sql(&format!("SELECT COUNT(*) FROM tower_revoke_{table}"));
    sql::purge_takes_many_steps(&open(&server).await, rows).await;
}

/// After a restart, the pool holds broken connections, which must not surface as errors. That
/// includes lifts and returned uses, because nothing was written before the break was noticed.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_first_calls_work() {
    let mut server = MariaDb::start(&[]).await;
    let store = open(&server).await;
    for round in 0..3 {
        store
            .revoke(&[revocation(round)])
            .await
            .expect("a revocation");
        let mine = new_use(100 + round, 1, 1);
        let won = store.take_use(&mine, now()).await.expect("a use");
        assert_eq!(won, UseOutcome::Taken { left: 0 });
        let keys = [key(round)];
        let all = futures_util::future::join_all((0..8).map(|_| store.look_up(&keys)));
        for found in all.await {
            assert!(found.expect("an answer")[0].is_some());
        }
        server.kill().await;
        server.restart().await;
        let is_back = store.return_use(&mine).await;
        assert!(is_back.unwrap_or_else(|error| panic!("round {round}: {error:?}")));
        let all = futures_util::future::join_all((0..8).map(|_| store.look_up(&keys)));
        for found in all.await {
            assert!(found.expect("an answer")[0].is_some());
        }
    }
}

/// InnoDB shows rows to others before they are flushed. A repeated use that finds its row there is
/// acknowledged only once the row is on disk; a losing use has nothing to wait for.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_write_is_flushed_before_it_is_acknowledged() {
    let server = MariaDb::start(&[]).await;
    let store = open(&server).await;
    let repeats = || server.sql("SELECT repeats FROM tower_revoke_store");
    let said = [revocation(1)];
    store.revoke(&said).await.expect("a revocation");
    let mine = new_use(2, 1, 1);
    store.take_use(&mine, now()).await.expect("a use");
    let lost = store
        .take_use(&new_use(2, 2, 1), now())
        .await
        .expect("an answer");
    assert_eq!(lost, UseOutcome::Spent);
    assert_eq!(repeats(), "0");
    let again = store.take_use(&mine, now()).await.expect("an answer");
    assert_eq!(again, UseOutcome::Taken { left: 0 });
    assert_eq!(repeats(), "1");
    store.revoke(&said).await.expect("a revocation");
    assert_eq!(repeats(), "2");
}

/// TRAPS 30: `INSERT IGNORE` truncates a key that is too long with a warning, as does any `INSERT`
/// on a server that is not in strict mode, and a use of one token hits another.
#[tokio::test(flavor = "multi_thread")]
async fn trap_30_keys_with_a_common_prefix_are_distinct() {
    let server = MariaDb::start(&["--sql-mode="]).await;
    server.sql("CREATE TABLE naive (token VARBINARY(15) PRIMARY KEY)");
    server.sql("INSERT IGNORE INTO naive VALUES (REPEAT('a', 15)), (CONCAT(REPEAT('a', 15), 'b'))");
    assert_eq!(server.sql("SELECT COUNT(*) FROM naive"), "1", "collision");
    let store = open(&server).await;
    for last in [0, b' ', b'a', b'b', 0xff] {
        let mut bytes = [b'a'; 16];
        bytes[15] = last;
        let mut one = new_use(1, 1, 1);
        one.token = TokenId::from_bytes(bytes);
        one.id = UseId::from_bytes(bytes);
        let won = store.take_use(&one, now()).await.expect("a use");
        assert_eq!(won, UseOutcome::Taken { left: 0 }, "{last}");
    }
    let cut = "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'tower' \
               AND TABLE_NAME LIKE 'tower_revoke_%' \
               AND COLUMN_NAME IN ('digest', 'token', 'use_', 'holder', 'id') \
               AND COLUMN_TYPE NOT IN ('binary(16)', 'longtext')";
    assert_eq!(server.sql(cut), "0");
}

/// A row must fit into one packet. A longer one is rejected by itself: the connection stays usable,
/// and the writes of others succeed.
#[tokio::test(flavor = "multi_thread")]
async fn long_texts_are_rejected_and_never_truncated() {
    let server = MariaDb::start(&["--max-allowed-packet=1M", "--sql-mode="]).await;
    let store = open(&server).await;
    let said = |number, bytes: usize| {
        let words = "é".repeat(bytes / 2);
        Revocation::of_token(new_use(number, 0, 1).token, None).because(words)
    };
    // Together they are several times the packet limit.
    let long: Vec<_> = (0..10).map(|number| said(number, 400_000)).collect();
    store.revoke(&long).await.expect("texts within the limit");
    let (long, short) = ([said(10, 600_000)], [said(11, 2)]);
    let (long, short) = tokio::join!(store.revoke(&long), store.revoke(&short));
    assert!(matches!(long, Err(StoreError::Unsupported(_))), "{long:?}");
    short.expect("a revocation");
    let kept =
        "SELECT COUNT(*), MIN(LENGTH(reason)), MAX(LENGTH(reason)) FROM tower_revoke_revoked";
    assert_eq!(server.sql(kept), "11|2|400000");
    // They are read with the row when it is written again.
    store
        .revoke(&[said(0, 2)])
        .await
        .expect("a row with long texts");
    assert!(store.look_up(&[key(10)]).await.expect("an answer")[0].is_none());
}
