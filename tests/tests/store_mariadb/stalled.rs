//! Tests that a stalled node delays the others only briefly, and that server errors are classified.

use std::time::Duration;

use sqlx::{Connection, Executor, MySqlConnection, MySqlPool};
use tower_revoke_core::{ChangeFeed, Store, StoreError, UnixTime, UseOutcome};
use tower_revoke_store_sql::{MySqlStore, SqlStoreError};
use tower_revoke_tests::{
    feed::whole_feed,
    servers::{MariaDb, Rewriter, is_outage, wait_until},
};

use super::tools::{key, new_use, now, open, revocation};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stalls_before_its_commit_delays_the_others_briefly() {
    let server = MariaDb::start(&[]).await;
    let way = Rewriter::to(&server.url(), &[]).await;
    let stopped =
        MySqlStore::builder(way.url(&server.url())).request_timeout(Duration::from_millis(500));
    let stopped = stopped.connect().await.expect("a running server");
    let store = MySqlStore::builder(server.url()).request_timeout(Duration::from_secs(30));
    let store = store.connect().await.expect("a running server");
    way.withhold_commits(true);
    let late = stopped
        .take_use(&new_use(1, 1, 1), now())
        .await
        .expect_err("it has stopped");
    assert!(is_outage(&late), "{late:?}");
    assert!(way.withheld() > 0, "it held the lock");
    // It never sends anything again, and its connection stays open.
    let won = store
        .take_use(&new_use(1, 2, 1), now())
        .await
        .expect("a use");
    assert_eq!(won, UseOutcome::Taken { left: 0 });
    way.withhold_commits(false);
    let lost = stopped
        .take_use(&new_use(1, 1, 1), now())
        .await
        .expect("an answer");
    assert_eq!(lost, UseOutcome::Spent);
}

/// A call that waits too long for a lock times out, its write is not lost, and its own lock is
/// released.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_lock_times_calls_out_and_leaks_no_lock() {
    let server = MariaDb::start(&[]).await;
    let store = MySqlStore::builder(server.url()).request_timeout(Duration::from_millis(300));
    let store = store.connect().await.expect("a running server");
    store
        .take_use(&new_use(1, 1, 1), now())
        .await
        .expect("a use");
    let mut admin = MySqlConnection::connect(&server.url())
        .await
        .expect("a running server");
    let mut held = admin.begin().await.expect("a transaction");
    let lock = "SELECT * FROM tower_revoke_store FOR UPDATE";
    held.execute(lock).await.expect("the lock");
    let late = store
        .take_use(&new_use(2, 1, 1), now())
        .await
        .expect_err("the lock is held");
    assert!(is_outage(&late), "{late:?}");
    // Readers wait for no lock.
    assert!(store.look_up(&[key(1)]).await.expect("an answer")[0].is_some());
    held.rollback().await.expect("the lock is released");
    let won = async {
        loop {
            match store.take_use(&new_use(2, 1, 1), now()).await {
                Ok(outcome) => break outcome,
                Err(error) => assert!(is_outage(&error), "{error:?}"),
            }
        }
    };
    let won = tokio::time::timeout(Duration::from_secs(60), won).await;
    assert_eq!(won.expect("an answer"), UseOutcome::Taken { left: 0 });
    let transactions = "SELECT COUNT(*) FROM information_schema.INNODB_TRX";
    wait_until("no transaction is left", || server.sql(transactions) == "0").await;
}

/// Connections that an administrator kills cause no errors.
#[tokio::test(flavor = "multi_thread")]
async fn killed_connections_cause_no_errors() {
    let server = MariaDb::start(&[]).await;
    let store = open(&server).await;
    for number in 0..5 {
        store
            .revoke(&[revocation(number)])
            .await
            .expect("a revocation");
        let won = store.take_use(&new_use(100 + number, 1, 1), now()).await;
        assert_eq!(won.expect("a use"), UseOutcome::Taken { left: 0 });
        let ids = server.sql(
            "SELECT ID FROM information_schema.PROCESSLIST \
             WHERE USER = 'root' AND ID <> CONNECTION_ID()",
        );
        for id in ids.lines() {
            server.sql(&format!("KILL {id}"));
        }
        assert!(store.look_up(&[key(number)]).await.expect("an answer")[0].is_some());
        let back = store.return_use(&new_use(100 + number, 1, 1)).await;
        assert!(back.expect("an answer"), "the outcome was unambiguous");
    }
}

/// A primary that has become a replica gives no answers, even to a login that may write to it. Once
/// it is the primary again, everything works.
#[tokio::test(flavor = "multi_thread")]
async fn trap_56_a_server_that_became_read_only_is_an_outage() {
    let server = MariaDb::start(&[]).await;
    server.sql(
        "CREATE USER orders@'127.0.0.1'; \
         GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON tower.* TO orders@'127.0.0.1'",
    );
    for (number, user) in [(1, "orders@"), (10, "root@")] {
        let url = server.url().replace("root@", user);
        let store = MySqlStore::connect(&url).await.expect("a running server");
        let pool = MySqlPool::connect_lazy(&url).expect("a URL");
        let pooled = MySqlStore::from_pool(pool).await;
        let pooled = pooled.expect("a running server");
        let use_ = new_use(number, 1, 1);
        store.take_use(&use_, now()).await.expect("a use");
        let since = whole_feed(&store).await.next;
        server.sql("SET GLOBAL read_only = ON");
        let opened = MySqlStore::connect(&url).await;
        assert!(matches!(opened, Err(SqlStoreError::ReadOnly)), "{opened:?}");
        let is_outage = |error| assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        let other = new_use(number + 1, 1, 1);
        is_outage(store.take_use(&other, now()).await.expect_err(user));
        is_outage(store.purge(UnixTime::EPOCH).await.expect_err(user));
        for store in [&store, &pooled] {
            let keys = [key(number), key(number + 1)];
            is_outage(store.look_up(&keys[..1]).await.expect_err(user));
            is_outage(store.look_up(&keys[1..]).await.expect_err(user));
            is_outage(store.changes(None).await.expect_err(user));
            is_outage(store.changes(Some(&since)).await.expect_err(user));
        }
        server.sql("SET GLOBAL read_only = OFF");
        for store in [&store, &pooled] {
            let found = store.look_up(&[key(number)]).await.expect("an answer");
            assert!(found[0].is_some());
        }
        store.changes(Some(&since)).await.expect("a page");
        let won = store.take_use(&other, now()).await.expect("a use");
        assert_eq!(won, UseOutcome::Taken { left: 0 });
    }
}

/// A full server is reported as such, and no write that failed is there in part.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_reported_as_full() {
    let server = MariaDb::start(&[
        "--innodb-data-file-path=ibdata1:12M",
        "--innodb-file-per-table=0",
    ]);
    let server = server.await;
    let store = open(&server).await;
    let words = "x".repeat(100_000);
    let mut number = 0;
    let rejected = loop {
        let some: Vec<_> = (number..number + 20)
            .map(|number| revocation(number).because(words.clone()))
            .collect();
        match store.revoke(&some).await {
            Ok(()) => number += 20,
            Err(error) => break error,
        }
        assert!(number < 10_000, "the server never fills up");
    };
    assert!(matches!(rejected, StoreError::Full(_)), "{rejected:?}");
    let kept = server.sql("SELECT COUNT(*) FROM tower_revoke_revoked");
    assert_eq!(kept, number.to_string());
    assert!(store.look_up(&[key(0)]).await.expect("an answer")[0].is_some());
}

/// Makes the next writes fail, this many times, after a part of each was done.
fn fails_next(server: &MariaDb, times: u32, number: u32) {
    server.sql(&format!(
        "CREATE OR REPLACE TABLE failures (n INT) ENGINE = MyISAM; \
         INSERT INTO failures VALUES ({times});\nDELIMITER //\n\
         CREATE OR REPLACE TRIGGER fails BEFORE INSERT ON tower_revoke_events FOR EACH ROW \
         IF (SELECT n FROM failures) > 0 THEN UPDATE failures SET n = n - 1; \
         SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}; END IF //"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_is_rolled_back_and_a_deadlock_is_retried() {
    let server = MariaDb::start(&[]).await;
    let store = open(&server).await;
    let revoked = || server.sql("SELECT COUNT(*) FROM tower_revoke_revoked");
    // The disk is full.
    fails_next(&server, 1, 1114);
    let full = store.revoke(&[revocation(1)]).await;
    assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
    // On the same connection.
    let won = store
        .take_use(&new_use(1, 1, 1), now())
        .await
        .expect("a use");
    assert_eq!(won, UseOutcome::Taken { left: 0 });
    assert_eq!(revoked(), "0");
    for deadlock in [1213, 1205] {
        fails_next(&server, 3, deadlock);
        let said = [revocation(u64::from(deadlock))];
        store.revoke(&said).await.expect("a revocation");
        assert_eq!(server.sql("SELECT n FROM failures"), "0");
    }
    assert_eq!(revoked(), "2");
    assert_eq!(server.sql("SELECT COUNT(*) FROM tower_revoke_events"), "3");
    // More often than the store retries.
    fails_next(&server, 1_000, 1213);
    let rejected = store
        .revoke(&[revocation(2)])
        .await
        .expect_err("it always fails");
    assert!(is_outage(&rejected), "{rejected:?}");
    fails_next(&server, 0, 1213);
    store.revoke(&[revocation(3)]).await.expect("a revocation");
    assert_eq!(revoked(), "3");
}
