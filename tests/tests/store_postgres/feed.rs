//! Tests the feed when numbers are assigned in another order than transactions commit.

use sqlx::{Connection, Executor, PgConnection, Row};
use tower_revoke_core::{Change, ChangeFeed, Store};
use tower_revoke_tests::{
    feed::whole_feed,
    load::{key, revocation},
    servers::{Postgres, StoreServer, wait_until},
};

async fn session(server: &Postgres) -> PgConnection {
    let session = PgConnection::connect(&server.url()).await;
    session.expect("a running server")
}

/// Shows what a feed by a plain sequence loses: the slower of two transactions has the lower
/// number, and the reader is past it when it commits.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_by_a_plain_sequence_loses_a_change() {
    let server = Postgres::start(&[]).await;
    server.sql("CREATE TABLE naive (seq bigserial PRIMARY KEY, what text NOT NULL)");
    let (mut slow, mut fast) = (session(&server).await, session(&server).await);
    let insert = "INSERT INTO naive (what) VALUES ('x')";
    let mut slow = slow.begin().await.expect("a transaction");
    slow.execute(insert).await.expect("an insert");
    fast.execute(insert).await.expect("an insert");
    let read = "SELECT coalesce(max(seq), 0) AS last, count(*) AS seen FROM naive WHERE seq > $1";
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
    let server = Postgres::start(&[]).await;
    let store = server.open().await;
    let since = whole_feed(&store).await.next;
    let mut slow = session(&server).await;
    let mut slow = slow.begin().await.expect("a transaction");
    // The statements of another node, up to its commit.
    let lock = "SELECT tower_revoke.take_turn()";
    slow.execute(lock).await.expect("the lock");
    let event = "INSERT INTO tower_revoke.events SELECT seq + 1, 1, extract(epoch FROM now()), 0, $1, NULL, \
                 '{NULL}', 0 FROM tower_revoke.state";
    let digest = key(1);
    let event = sqlx::query(event).bind(&digest.as_bytes()[..]);
    event.execute(&mut *slow).await.expect("an event");
    let fast = tokio::spawn({
        let store = store.clone();
        async move { store.revoke(&[revocation(2)]).await }
    });
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    wait_until("the second one waits", || server.sql(waiting) == "1").await;
    let page = store.changes(Some(&since)).await.expect("a page");
    assert_eq!(page.changes, [], "nothing is committed");
    slow.commit().await.expect("a commit");
    fast.await.expect("no panic").expect("a revocation");
    let page = store.changes(Some(&page.next)).await.expect("a page");
    let keys: Vec<_> = page.changes.iter().map(Change::key).copied().collect();
    assert_eq!(keys, [key(1), key(2)]);
}
