//! Tests that servers without the required locks or isolation are rejected.

use tower_revoke_store_sql::{PostgresStore, SqlStoreError, UnfitServer};
use tower_revoke_tests::servers::{PgBouncer, Postgres, Rewriter};

/// Replaces the isolation level that the store sets for a session.
const ISOLATION: (&str, &str) = ("isolation=read\\ committed", "isolation=serializable   ");

#[tokio::test(flavor = "multi_thread")]
async fn trap_57_a_server_whose_advisory_locks_do_nothing_is_rejected() {
    let server = Postgres::start(&[]).await;
    server.sql(
        "CREATE SCHEMA without; \
         CREATE FUNCTION without.pg_advisory_xact_lock(int, int) RETURNS void LANGUAGE sql AS ''; \
         CREATE ROLE orders LOGIN SUPERUSER; \
         ALTER ROLE orders SET search_path = without, pg_catalog",
    );
    let url = server.url().replace("postgres@", "orders@");
    let rejected = PostgresStore::connect(&url).await;
    assert!(
        matches!(&rejected, Err(SqlStoreError::TwoWinners)),
        "{rejected:?}"
    );
    server.sql("ALTER ROLE orders RESET search_path");
    PostgresStore::connect(&url).await.expect("locks");
    // The use of the contention check leaves no row.
    assert_eq!(server.sql("SELECT count(*) FROM tower_revoke.uses"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_57_a_session_at_another_isolation_is_rejected() {
    let server = Postgres::start(&[]).await;
    let way = Rewriter::to(&server.url(), &[ISOLATION]).await;
    let rejected = PostgresStore::connect(way.url(&server.url())).await;
    let is_told = matches!(
        &rejected,
        Err(SqlStoreError::Isolation { found, .. }) if found == "serializable"
    );
    assert!(is_told, "{rejected:?}");
}

/// A snapshot from before the wait for the lock leads to two winners, whatever level the server
/// reports.
#[tokio::test(flavor = "multi_thread")]
async fn trap_57_a_session_that_lies_about_its_isolation_is_rejected() {
    let server = Postgres::start(&[]).await;
    let words = &[
        ISOLATION,
        ("SHOW transaction_isolation", "SELECT 'read committed'   "),
    ];
    let way = Rewriter::to(&server.url(), words).await;
    let rejected = PostgresStore::connect(way.url(&server.url())).await;
    assert!(
        matches!(&rejected, Err(SqlStoreError::TwoWinners)),
        "{rejected:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_57_yugabytedb_is_rejected_by_name_unless_it_is_allowed() {
    let server = Postgres::start(&[]).await;
    let words = &[("version()", "'-YB-2'  ")];
    let way = Rewriter::to(&server.url(), words).await;
    let builder = || PostgresStore::builder(way.url(&server.url()));
    let rejected = builder().connect().await;
    let is_told = matches!(
        &rejected,
        Err(SqlStoreError::Unfit {
            server: UnfitServer::YugabyteDb,
            ..
        })
    );
    assert!(is_told, "{rejected:?}");
    let allowed = builder().allow_server(UnfitServer::YugabyteDb);
    allowed.connect().await.expect("a store");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_57_a_transaction_pooler_is_rejected_and_a_session_pooler_is_not() {
    let server = Postgres::start(&[]).await;
    let pooler = PgBouncer::start(&server, "transaction").await;
    let rejected = PostgresStore::connect(pooler.url()).await;
    let is_told = matches!(
        &rejected,
        Err(SqlStoreError::Unfit {
            server: UnfitServer::TransactionPooler,
            ..
        })
    );
    assert!(is_told, "{rejected:?}");
    let pooler = PgBouncer::start(&server, "session").await;
    let store = PostgresStore::connect(pooler.url()).await;
    store.expect("sessions of its own");
}
