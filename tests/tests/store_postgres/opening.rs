//! Tests that each failure to open the store says what to do.

use tower_revoke_core::{Lift, Revocation, RevocationKey, Store, UnixTime};
use tower_revoke_store_sql::{PostgresStore, SqlStoreError};
use tower_revoke_testing::RecordedLog;
use tower_revoke_tests::{
    load::{new_use, now, revocation},
    servers::{Postgres, StoreServer},
    sql,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_created_once_and_a_newer_one_is_rejected() {
    let server = Postgres::start(&[]).await;
    let builder = || PostgresStore::builder(server.url()).schema("Revocations");
    let connect = async |migrates| builder().migrate_on_connect(migrates).connect().await;
    let migrate = async || builder().migrate().await;
    let make_version_7 = || drop(server.sql("UPDATE \"Revocations\".store SET version = 7"));
    sql::tables_are_created_once(connect, migrate, make_version_7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_the_least_rights_suffices_once_the_schema_is_there() {
    let server = Postgres::start(&[]).await;
    let builder = PostgresStore::builder(server.url());
    builder.migrate().await.expect("a migration");
    server.sql(
        "CREATE ROLE orders LOGIN; GRANT USAGE ON SCHEMA tower_revoke TO orders; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tower_revoke TO orders; \
         ALTER ROLE orders SET synchronous_commit = off; \
         ALTER ROLE orders SET default_transaction_isolation = 'serializable'",
    );
    let url = server.url().replace("postgres@", "orders@");
    let store = PostgresStore::connect(url).await.expect("a login");
    store.revoke(&[revocation(1)]).await.expect("a revocation");
    store
        .take_use(&new_use(2, 1, 1), now())
        .await
        .expect("a use");
    store.purge(UnixTime::from_secs(1)).await.expect("a purge");
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_errors_name_the_cause_without_the_password() {
    let server = Postgres::start(&[]).await;
    server.sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    let latin = PostgresStore::connect(server.url().replace("/postgres", "/latin")).await;
    // The user's name also occurs in the address.
    let latin = match latin {
        Err(SqlStoreError::Login(_)) => {
            let url = server.url();
            let url = format!("{}/latin", &url[..url.rfind('/').expect("a path")]);
            PostgresStore::connect(url).await
        }
        other => other,
    };
    let latin = latin.expect_err("LATIN1 can't store all texts");
    assert!(matches!(&latin, SqlStoreError::Encoding(it) if it == "LATIN1"));
    let url = server.url().replace("postgres@", "nobody:s3cret@");
    let builder = PostgresStore::builder(url);
    assert!(!format!("{builder:?}").contains("s3cret"));
    let nobody = builder.connect().await.expect_err("there is no such user");
    assert!(matches!(nobody, SqlStoreError::Login(_)), "{nobody:?}");
    assert!(!format!("{nobody:?} {nobody}").contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_can_read_rules_and_reasons_in_the_tables() {
    let server = Postgres::start(&[]).await;
    let store = server.open().await;
    let key = RevocationKey::subject("https://id.example.com", "bob");
    let said = Revocation::rule(key.clone(), UnixTime::from_secs(5)).expect("the key of a rule");
    let said = said.by("ann@example.com").because("laptop lost");
    store.revoke(&[said]).await.expect("a revocation");
    let row = server.sql("SELECT issuer, claim, value, author, reason FROM tower_revoke.revoked");
    let expected = "https://id.example.com|sub|bob|ann@example.com|laptop lost";
    assert_eq!(row, expected);
    let lift = Lift::new(key)
        .at(UnixTime::from_secs(9))
        .by("eve")
        .because("found");
    assert!(store.lift(&lift).await.expect("a lift"));
    let row = server.sql("SELECT at, author, reason FROM tower_revoke.lifted");
    assert_eq!(row, "9|eve|found");
}

/// Others on the way could read what is not encrypted. Whether there is a way depends on the host's
/// name: to the store `127.1` is another host, though resolvers read it as an address of this one.
#[tokio::test]
async fn a_connection_without_tls_is_logged_unless_it_is_local() {
    let server = Postgres::start(&[]).await;
    let log = RecordedLog::start();
    PostgresStore::connect(server.url())
        .await
        .expect("a local server");
    assert!(!log.text().contains("not encrypted"), "{}", log.text());
    let elsewhere = server.url().replace("127.0.0.1", "127.1");
    PostgresStore::connect(elsewhere)
        .await
        .expect("the same server");
    let warned = log.text();
    assert!(warned.contains("127.1 is not encrypted"), "{warned}");
}
