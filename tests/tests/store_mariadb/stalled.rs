//! Whoever stops in the middle holds up nobody for long, and what a server refuses is sorted.

use std::time::Duration;

use sqlx::{Connection, Executor, MySqlConnection};
use tower_revoke_core::{ClaimOutcome, Store, StoreError};
use tower_revoke_store_sql::MySqlStore;
use tower_revoke_tests::servers::{MariaDb, is_outage, wait_until};

use super::tools::{claim, key, open, revocation};

/// A node that is frozen in the middle of a transaction, as the store has them.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_while_it_writes_holds_up_the_others_for_a_moment() {
    let server = MariaDb::start(&[]).await;
    let store = MySqlStore::builder(server.url()).answer_within(Duration::from_secs(30));
    let store = store.connect().await.expect("a server that is up");
    // Its own first statements, as the server saw them.
    server.sql("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON");
    store.claim(&claim(1, 1, 1)).await.expect("a claim");
    server.sql("SET GLOBAL general_log = OFF");
    let said = server.sql(
        "SELECT argument FROM mysql.general_log WHERE command_type = 'Query' \
         AND (argument LIKE 'SET SESSION wait_timeout=1%' OR argument LIKE 'START TRANSACTION%' \
         OR argument LIKE '%FOR UPDATE%') ORDER BY event_time, argument",
    );
    assert!(said.contains("FOR UPDATE"), "{said}");
    let mut stopped = MySqlConnection::connect(&server.url())
        .await
        .expect("a server that is up");
    for statement in ["SET SESSION wait_timeout=1", "START TRANSACTION"] {
        assert!(said.contains(statement), "{said}");
        stopped.execute(statement).await.expect("an answer");
    }
    let lock = said.lines().find(|line| line.contains("FOR UPDATE"));
    stopped
        .execute(lock.expect("the lock"))
        .await
        .expect("the lock");
    // It never says anything again, and its connection stays open.
    let won = store.claim(&claim(2, 1, 1)).await.expect("a claim");
    assert_eq!(won, ClaimOutcome::Won { left: 0 });
    let gone = stopped.execute("COMMIT").await;
    gone.expect_err("its connection was taken away");
}

/// What waits for a lock for too long is late, not lost, and the lock that it had is given back.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_by_somebody_else_makes_calls_late_and_keeps_nothing() {
    let server = MariaDb::start(&[]).await;
    let store = MySqlStore::builder(server.url()).answer_within(Duration::from_millis(300));
    let store = store.connect().await.expect("a server that is up");
    store.claim(&claim(1, 1, 1)).await.expect("a claim");
    let mut admin = MySqlConnection::connect(&server.url())
        .await
        .expect("a server that is up");
    let mut held = admin.begin().await.expect("a transaction");
    let lock = "SELECT * FROM tower_revoke_store FOR UPDATE";
    held.execute(lock).await.expect("the lock");
    let late = store
        .claim(&claim(2, 1, 1))
        .await
        .expect_err("the lock is held");
    assert!(is_outage(&late), "{late:?}");
    // Readers wait for no lock.
    assert!(store.look_up(&[key(1)]).await.expect("an answer")[0].is_some());
    held.rollback().await.expect("the lock is given back");
    let won = async {
        loop {
            match store.claim(&claim(2, 1, 1)).await {
                Ok(outcome) => break outcome,
                Err(error) => assert!(is_outage(&error), "{error:?}"),
            }
        }
    };
    let won = tokio::time::timeout(Duration::from_secs(60), won).await;
    assert_eq!(won.expect("an answer"), ClaimOutcome::Won { left: 0 });
    let transactions = "SELECT COUNT(*) FROM information_schema.INNODB_TRX";
    wait_until("no transaction is left", || server.sql(transactions) == "0").await;
}

/// An administrator who ends connections while it is asked does no harm.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_killed_are_no_matter() {
    let server = MariaDb::start(&[]).await;
    let store = open(&server).await;
    for number in 0..5 {
        store
            .revoke(&[revocation(number)])
            .await
            .expect("a revocation");
        let won = store.claim(&claim(100 + number, 1, 1)).await;
        assert_eq!(won.expect("a claim"), ClaimOutcome::Won { left: 0 });
        let ids = server.sql(
            "SELECT ID FROM information_schema.PROCESSLIST \
             WHERE USER = 'root' AND ID <> CONNECTION_ID()",
        );
        for id in ids.lines() {
            server.sql(&format!("KILL {id}"));
        }
        assert!(store.look_up(&[key(number)]).await.expect("an answer")[0].is_some());
        let back = store.release(&claim(100 + number, 1, 1)).await;
        assert!(back.expect("an answer"), "nothing was in doubt");
    }
}

/// A primary that has become a replica refuses what is written, and says so by an outage; when it is
/// the primary again, all goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_became_read_only_is_an_outage() {
    let server = MariaDb::start(&[]).await;
    server.sql(
        "CREATE USER orders@'127.0.0.1'; \
         GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON tower.* TO orders@'127.0.0.1'",
    );
    let url = server.url().replace("root@", "orders@");
    let store = MySqlStore::connect(url).await.expect("a server that is up");
    store.claim(&claim(1, 1, 1)).await.expect("a claim");
    server.sql("SET GLOBAL read_only = ON");
    let refused = store
        .claim(&claim(2, 1, 1))
        .await
        .expect_err("it is read-only");
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(store.look_up(&[key(1)]).await.expect("an answer")[0].is_some());
    server.sql("SET GLOBAL read_only = OFF");
    let won = store.claim(&claim(2, 1, 1)).await.expect("a claim");
    assert_eq!(won, ClaimOutcome::Won { left: 0 });
}

/// A server without room says so, and what did not find room is not there in part.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_is_full() {
    let server = MariaDb::start(&[
        "--innodb-data-file-path=ibdata1:12M",
        "--innodb-file-per-table=0",
    ]);
    let server = server.await;
    let store = open(&server).await;
    let words = "x".repeat(100_000);
    let mut number = 0;
    let refused = loop {
        let some: Vec<_> = (number..number + 20)
            .map(|number| revocation(number).because(words.clone()))
            .collect();
        match store.revoke(&some).await {
            Ok(()) => number += 20,
            Err(error) => break error,
        }
        assert!(number < 10_000, "it is never full");
    };
    assert!(matches!(refused, StoreError::Full(_)), "{refused:?}");
    let kept = server.sql("SELECT COUNT(*) FROM tower_revoke_revoked");
    assert_eq!(kept, number.to_string());
    assert!(store.look_up(&[key(0)]).await.expect("an answer")[0].is_some());
}
