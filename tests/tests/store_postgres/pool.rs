//! Tests the store over a pool of the user's, whose sessions may have any defaults.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::{Executor, PgPool, postgres::PgPoolOptions};
use tower_revoke_core::{RecordFilter, Store, UnixTime, UseOutcome};
use tower_revoke_store_sql::{PostgresStore, SqlStoreError};
use tower_revoke_tests::{
    feed::whole_feed,
    load::{key, new_use, now, revocation},
    servers::Postgres,
};

async fn pool_of_one(server: &Postgres) -> PgPool {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .after_connect(|link, _| {
            Box::pin(async move {
                let settings = "SET default_transaction_isolation = 'serializable'; \
                                SET default_transaction_read_only = on; \
                                SET synchronous_commit = off; \
                                SET search_path = pg_temp; \
                                SET bytea_output = 'escape'";
                link.execute(settings).await.map(drop)
            })
        })
        .connect_lazy(&server.url());
    pool.expect("a URL")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_one_with_any_defaults_serves_every_call_and_stays_open() {
    let server = Postgres::start(&[]).await;
    let pool = pool_of_one(&server).await;
    // Opening the store needs no connection of the pool.
    let held = pool.acquire().await.expect("the only connection");
    let store = PostgresStore::from_pool(pool.clone()).await;
    let store = store.expect("opening needs no connection");
    drop(held);

    let calls = join_all((0..50).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            store.revoke(&[revocation(number)]).await?;
            let taken = store.take_use(&new_use(100 + number, 1, 1), now()).await?;
            assert_eq!(taken, UseOutcome::Taken { left: 0 });
            let answers = store.look_up(&[key(number), key(100 + number)]).await?;
            assert!(answers.iter().all(Option::is_some), "{answers:?}");
            let records = store.records().expect("records");
            let page = records.page(&RecordFilter::all(), None, 100).await?;
            assert!(!page.records.is_empty());
            store.purge(UnixTime::from_secs(1)).await
        })
    }));
    let calls = tokio::time::timeout(Duration::from_secs(60), calls).await;
    for call in calls.expect("no call waits forever") {
        call.expect("no panic").expect("an answer");
    }
    let whole = whole_feed(&store).await;
    assert_eq!(whole.changes.len(), 100);
    let woken = tokio::spawn({
        let (store, next) = (store.clone(), whole.next);
        async move { store.feed().expect("a feed").changed(&next).await }
    });
    store.revoke(&[revocation(60)]).await.expect("a revocation");
    woken.await.expect("it is woken");
    let past = UnixTime::from_secs(u64::MAX / 4);
    assert_eq!(store.purge(past).await.expect("a purge"), 101);

    // The session has its owner's settings, and the pool stays open after the store is dropped.
    drop(store);
    let isolation = "SELECT current_setting('default_transaction_isolation')";
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tower-revoke'";
    while sqlx::query_scalar::<_, i64>(ours)
        .fetch_one(&pool)
        .await
        .expect("a count")
        > 0
    {
        tokio::task::yield_now().await;
    }
    let isolation: String = sqlx::query_scalar(isolation)
        .fetch_one(&pool)
        .await
        .expect("an open pool");
    assert_eq!(isolation, "serializable");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_tls_are_set_beside_the_url() {
    let server = Postgres::start(&[]).await;
    server.sql("CREATE ROLE orders LOGIN SUPERUSER");
    let url = server.url().replace("postgres@", "nobody:wrong@");
    let builder = || PostgresStore::builder(url.as_str()).credentials("orders", "s3cret");
    assert!(!format!("{:?}", builder()).contains("s3cret"));
    builder().connect().await.expect("a login");
    // This server has no TLS.
    let plain = builder().tls_roots("").connect().await;
    assert!(
        matches!(plain, Err(SqlStoreError::Unreachable(_))),
        "{plain:?}"
    );
}
