//! Tests the feed when numbers are assigned in another order than transactions commit.

use sqlx::{Connection, Executor, MySqlConnection, Row};
use tower_revoke_core::{Change, ChangeFeed, Store};
use tower_revoke_tests::{
    feed::whole_feed,
    servers::{MariaDb, wait_until},
};

use super::tools::{key, open, revocation};

async fn session(server: &MariaDb) -> MySqlConnection {
    let session = MySqlConnection::connect(&server.url()).await;
    session.expect("a running server")
}

/// Shows what a feed by plain AUTO_INCREMENT loses: the slower of two transactions has the lower
/// number, and the reader is past it when it commits.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_by_plain_auto_increment_loses_a_change() {
    let server = MariaDb::start(&[]).await;
    server.sql("CREATE TABLE naive (seq BIGINT AUTO_INCREMENT PRIMARY KEY, what TEXT NOT NULL)");
    let (mut slow, mut fast) = (session(&server).await, session(&server).await);
    let insert = "INSERT INTO naive (what) VALUES ('x')";
    let mut slow = slow.begin().await.expect("a transaction");
    slow.execute(insert).await.expect("an insert");
    fast.execute(insert).await.expect("an insert");
    let read = "SELECT COALESCE(MAX(seq), 0) AS last, COUNT(*) AS seen FROM naive WHERE seq > ?";
    let row = sqlx::query(read).bind(0_i64).fetch_one(&mut fast).await;
    let row = row.expect("a page");
    let (cursor, seen): (i64, i64) = (row.get("last"), row.get("seen"));
    slow.commit().await.expect("a commit");
    let row = sqlx::query(read).bind(cursor).fetch_one(&mut fast).await;
    let seen = seen + row.expect("a page").get::<i64, _>("seen");
    assert_eq!(seen, 1, "one of two committed changes");
}

/// The store's protocol avoids that: the second transaction waits until the first one commits.
#[tokio::test(flavor = "multi_thread")]
async fn the_feed_loses_no_change_of_a_slow_transaction() {
    // A default isolation level that the store must not use.
    let server = MariaDb::start(&["--transaction-isolation=READ-UNCOMMITTED"]).await;
    let store = open(&server).await;
    let since = whole_feed(&store).await.next;
    // The statements of another node, up to its commit.
    let mut slow = session(&server).await;
    let mut slow = slow.begin().await.expect("a transaction");
    let lock = "SELECT seq FROM tower_revoke_store WHERE only_one = 1 FOR UPDATE";
    let row = slow.fetch_one(lock).await.expect("the lock");
    let seq: i64 = row.get(0);
    let digest = key(1);
    let event =
        "INSERT INTO tower_revoke_events VALUES (?, 1, UNIX_TIMESTAMP(), 0, ?, NULL, '[NULL]', 0)";
    let event = sqlx::query(event)
        .bind(seq + 1)
        .bind(&digest.as_bytes()[..]);
    event.execute(&mut *slow).await.expect("an event");
    let last = "UPDATE tower_revoke_store SET seq = seq + 1, mark = 1";
    slow.execute(last).await.expect("the last event");
    let fast = tokio::spawn({
        let store = store.clone();
        async move { store.revoke(&[revocation(2)]).await }
    });
    // Not INNODB_TRX: it stays as it is while it is read more often than ten times a second.
    let waiting = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS \
                   WHERE VARIABLE_NAME = 'Innodb_row_lock_current_waits'";
    wait_until("the second one waits", || server.sql(waiting) == "1").await;
    let page = store.changes(Some(&since)).await.expect("a page");
    assert_eq!(page.changes, [], "nothing is committed");
    slow.commit().await.expect("a commit");
    fast.await.expect("no panic").expect("a revocation");
    let page = store.changes(Some(&page.next)).await.expect("a page");
    let keys: Vec<_> = page.changes.iter().map(Change::key).copied().collect();
    assert_eq!(keys, [key(1), key(2)]);
}

/// The server notifies nobody, but a waiter on the same handle is woken.
#[tokio::test(flavor = "multi_thread")]
async fn a_local_write_wakes_a_local_waiter() {
    let server = MariaDb::start(&[]).await;
    let store = open(&server).await;
    let since = whole_feed(&store).await.next;
    let woken = tokio::spawn({
        let store = store.clone();
        async move { store.changed(&since).await }
    });
    store.revoke(&[revocation(1)]).await.expect("a revocation");
    // A generous limit: only checks that it ends.
    let woken = tokio::time::timeout(std::time::Duration::from_secs(60), woken).await;
    woken.expect("a hint").expect("no panic");
}
