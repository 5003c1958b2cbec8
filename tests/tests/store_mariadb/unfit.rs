//! Tests that servers without the required locks or isolation are rejected.

use tower_revoke_store_sql::{MySqlStore, SqlStoreError, UnfitServer};
use tower_revoke_tests::servers::{MariaDb, Rewriter};

#[tokio::test(flavor = "multi_thread")]
async fn trap_57_a_server_without_row_locks_has_two_winners_and_is_rejected() {
    let server = MariaDb::start(&[]).await;
    let way = Rewriter::to(&server.url(), &[("FOR UPDATE", "          ")]).await;
    let rejected = MySqlStore::connect(way.url(&server.url())).await;
    let is_told = matches!(&rejected, Err(SqlStoreError::TwoWinners));
    assert!(is_told, "{rejected:?}");
    MySqlStore::connect(server.url()).await.expect("locks");
    // The use of the contention check leaves no row.
    assert_eq!(server.sql("SELECT COUNT(*) FROM tower_revoke_uses"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_57_a_session_at_another_isolation_is_rejected() {
    let server = MariaDb::start(&[]).await;
    let words = &[("LEVEL REPEATABLE READ,", "LEVEL READ COMMITTED ,")];
    let way = Rewriter::to(&server.url(), words).await;
    let rejected = MySqlStore::connect(way.url(&server.url())).await;
    let is_told = matches!(&rejected, Err(SqlStoreError::Isolation { found, .. }) if found == "READ-COMMITTED");
    assert!(is_told, "{rejected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_57_tidb_is_rejected_by_name_unless_it_is_allowed() {
    let server = MariaDb::start(&[]).await;
    let words = &[(
        "SELECT CONCAT(VERSION(), ' ', @@version_comment)",
        "SELECT '8.0.11-TiDB-v7.5.1 TiDB Server (Apache)'",
    )];
    let way = Rewriter::to(&server.url(), words).await;
    let builder = || MySqlStore::builder(way.url(&server.url()));
    for rejected in [
        builder().connect().await.err(),
        builder().single_writer().connect().await.err(),
        builder().migrate().await.err(),
    ] {
        let is_told = matches!(
            &rejected,
            Some(SqlStoreError::Unfit {
                server: UnfitServer::TiDb,
                ..
            })
        );
        assert!(is_told, "{rejected:?}");
    }
    let allowed = builder().allow_server(UnfitServer::TiDb).connect().await;
    allowed.expect("a store");
}
