//! Tests the store over a pool of the user's, whose sessions may have any defaults.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::{Executor, MySqlPool, mysql::MySqlPoolOptions};
use tower_revoke_core::{RecordFilter, Store, UnixTime, UseOutcome};
use tower_revoke_store_sql::{MySqlStore, SqlStoreError};
use tower_revoke_tests::{feed::whole_feed, servers::MariaDb};

use super::tools::{key, new_use, now, revocation};

const REASON: &str = "é😀";

/// Each of these would make a read wrong that relied on the session's settings.
const SESSION: &str = "SET SESSION sql_mode='ORACLE,EMPTY_STRING_IS_NULL,PAD_CHAR_TO_FULL_LENGTH', \
                       SESSION autocommit=0, SESSION completion_type=2, \
                       SESSION sql_select_limit=1; \
                       SET NAMES latin1; USE mysql; \
                       SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED";

async fn pool_of_one(server: &MariaDb) -> MySqlPool {
    let pool = MySqlPoolOptions::new()
        .max_connections(1)
        .after_connect(|link, _| Box::pin(async move { link.execute(SESSION).await.map(drop) }))
        .connect_lazy(&server.url());
    pool.expect("a URL")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_one_with_any_defaults_serves_every_call_and_stays_open() {
    let server = MariaDb::start(&[]).await;
    let pool = pool_of_one(&server).await;
    // Opening the store needs no connection of the pool.
    let held = pool.acquire().await.expect("the only connection");
    let store =
        MySqlStore::builder_from_pool(pool.clone()).request_timeout(Duration::from_secs(20));
    let store = store.connect().await;
    let store = store.expect("opening needs no connection");
    drop(held);

    let calls = join_all((0..50).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let said = revocation(number).because(REASON);
            store.revoke(&[said]).await?;
            let taken = store.take_use(&new_use(100 + number, 1, 1), now()).await?;
            assert_eq!(taken, UseOutcome::Taken { left: 0 });
            let answers = store.look_up(&[key(number), key(100 + number)]).await?;
            assert!(answers.iter().all(Option::is_some), "{answers:?}");
            store.purge(UnixTime::from_secs(1)).await
        })
    }));
    let calls = tokio::time::timeout(Duration::from_secs(60), calls).await;
    for call in calls.expect("no call waits forever") {
        call.expect("no panic").expect("an answer");
    }
    store
        .revoke(&[revocation(60).because("")])
        .await
        .expect("a revocation");
    let records = store.records().expect("records");
    for (filter, expected) in [
        (RecordFilter::all(), 51),
        (RecordFilter::all().because(REASON), 50),
        (RecordFilter::all().because(""), 1),
    ] {
        let page = records.page(&filter, None, 100).await.expect("a page");
        assert_eq!(page.records.len(), expected, "{filter:?}");
        let is_read = |reason: &str| reason == REASON || reason.is_empty();
        assert!(page.records.iter().all(|record| is_read(&record.reason)));
    }
    assert_eq!(whole_feed(&store).await.changes.len(), 101);
    let past = UnixTime::from_secs(u64::MAX / 4);
    assert_eq!(store.purge(past).await.expect("a purge"), 101);

    // The pool stays open after the store is dropped, and its session has its owner's settings.
    drop(store);
    let settings =
        "SELECT CONCAT(@@SESSION.tx_isolation, ' ', @@SESSION.autocommit, ' ', DATABASE())";
    let settings: String = sqlx::query_scalar(settings)
        .fetch_one(&pool)
        .await
        .expect("an open pool");
    assert_eq!(settings, "READ-UNCOMMITTED OFF mysql");
}

/// With the snapshot of a transaction that was left open, a read would miss later writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_left_open_hides_no_write() {
    let server = MariaDb::start(&[]).await;
    let pool = MySqlPoolOptions::new().max_connections(1);
    let pool = pool.connect(&server.url()).await.expect("a server");
    let store = MySqlStore::from_pool(pool.clone()).await.expect("a store");
    pool.execute("SET autocommit=0").await.expect("a setting");
    for number in 0..5 {
        let rows = pool.fetch_all("SELECT * FROM tower_revoke_revoked").await;
        assert_eq!(rows.expect("rows").len() as u64, number);
        store
            .revoke(&[revocation(number)])
            .await
            .expect("a revocation");
        let answers = store.look_up(&[key(number)]).await.expect("an answer");
        assert!(answers[0].is_some(), "{number}");
    }
}

/// A call that fails or is dropped leaves no open transaction in the pool.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ends_early_leaves_no_transaction_in_the_pool() {
    let server = MariaDb::start(&[]).await;
    let pool = MySqlPoolOptions::new().max_connections(1);
    let pool = pool.connect(&server.url()).await.expect("a server");
    let store = MySqlStore::from_pool(pool.clone()).await.expect("a store");
    server.sql("RENAME TABLE tower_revoke_uses TO tower_revoke_other");
    for _ in 0..3 {
        store
            .look_up(&[key(1)])
            .await
            .expect_err("there is no table");
        pool.execute("CREATE TABLE IF NOT EXISTS mine (number INT)")
            .await
            .expect("a writable session");
    }
    server.sql("RENAME TABLE tower_revoke_other TO tower_revoke_uses");
    for _ in 0..20 {
        let _ = tokio::time::timeout(Duration::from_micros(300), store.look_up(&[key(1)])).await;
        pool.execute("INSERT INTO mine VALUES (1)")
            .await
            .expect("an insert");
    }
    let rows = pool.fetch_all("SELECT * FROM mine").await.expect("rows");
    assert_eq!(rows.len(), 20);
    assert_eq!(server.sql("SELECT COUNT(*) FROM mine"), "20");
    assert_eq!(store.look_up(&[key(1)]).await.expect("an answer"), [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_tls_are_set_beside_the_url() {
    let server = MariaDb::start(&[]).await;
    server.sql(
        "CREATE USER orders@'127.0.0.1' IDENTIFIED BY 's3cret'; \
         GRANT ALL ON tower.* TO orders@'127.0.0.1'",
    );
    let url = server.url().replace("root@", "nobody:wrong@");
    let builder = || MySqlStore::builder(url.as_str()).credentials("orders", "s3cret");
    assert!(!format!("{:?}", builder()).contains("s3cret"));
    builder().connect().await.expect("a login");
    // This server has no TLS.
    let plain = builder().tls_roots("").connect().await;
    assert!(
        matches!(plain, Err(SqlStoreError::Unreachable(_))),
        "{plain:?}"
    );
}
