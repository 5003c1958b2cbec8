//! Tests that each failure to open the store says what to do.

use std::time::Duration;

use tower_revoke_core::{Lift, RecordFilter, Revocation, RevocationKey, Store, UnixTime};
use tower_revoke_store_sql::{MySqlStore, SqlStoreError};
use tower_revoke_testing::RecordedLog;
use tower_revoke_tests::{feed::whole_feed, servers::MariaDb, sql};

use super::tools::{key, new_use, now, open, revocation};

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_are_created_once_and_newer_ones_are_rejected() {
    let server = MariaDb::start(&[]).await;
    let builder = || MySqlStore::builder(server.url()).table_prefix("Revocations_");
    let connect = async |migrates| builder().migrate_on_connect(migrates).connect().await;
    let migrate = async || builder().migrate().await;
    let make_version_7 = || drop(server.sql("UPDATE Revocations_store SET version = 7"));
    sql::tables_are_created_once(connect, migrate, make_version_7).await;
}

/// These servers have no transactional DDL.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_was_interrupted_anywhere_is_completed() {
    let server = MariaDb::start(&[]).await;
    let tables = [
        "store",
        "events",
        "issued_tokens",
        "held",
        "uses",
        "lifted",
        "revoked",
    ];
    for cut_after in 0..=tables.len() {
        MySqlStore::builder(server.url())
            .table_prefix("")
            .migrate()
            .await
            .unwrap_or_else(|error| panic!("{cut_after}: {error:?}"));
        let store = MySqlStore::builder(server.url())
            .table_prefix("")
            .connect()
            .await;
        let store = store.expect("existing tables");
        store.revoke(&[revocation(1)]).await.expect("a revocation");
        // Undoes the steps of a migration in reverse: the row, the table of the row, then the other
        // tables.
        server.sql("DELETE FROM store");
        let missing = MySqlStore::builder(server.url())
            .table_prefix("")
            .migrate_on_connect(false);
        let missing = missing.connect().await;
        assert!(matches!(
            missing,
            Err(SqlStoreError::Older { found: 0, .. })
        ));
        for table in &tables[..cut_after] {
            server.sql(&format!("DROP TABLE {table}"));
        }
        for table in &tables[cut_after..] {
            server.sql(&format!("DELETE FROM {table}"));
        }
    }
    let last = MySqlStore::builder(server.url())
        .table_prefix("")
        .connect()
        .await;
    last.expect("a migration from nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_the_least_rights_suffices_whatever_the_defaults_are() {
    let server = MariaDb::start(&[
        "--sql-mode=ANSI,NO_BACKSLASH_ESCAPES",
        "--transaction-isolation=READ-UNCOMMITTED",
        "--autocommit=OFF",
        "--completion-type=RELEASE",
        "--character-set-server=latin1",
        "--collation-server=latin1_swedish_ci",
        "--skip-character-set-client-handshake",
        "--default-storage-engine=MyISAM",
        "--init-connect=SET sql_safe_updates=1, sql_select_limit=1",
    ])
    .await;
    let builder = MySqlStore::builder(server.url());
    builder.migrate().await.expect("a migration");
    server.sql(
        "CREATE USER orders@'127.0.0.1' IDENTIFIED BY 's3cret'; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON tower.* TO orders@'127.0.0.1'; COMMIT",
    );
    let url = server.url().replace("root@", "orders:s3cret@");
    let store = MySqlStore::builder(url).max_connections(1).connect().await;
    let store = store.expect("a login");
    let said: Vec<_> = (0..3)
        .map(|number| revocation(number).because("é😀"))
        .collect();
    store.revoke(&said).await.expect("revocations");
    for number in 10..13 {
        let keys = [key(number)];
        assert_eq!(store.look_up(&keys).await.expect("an answer"), [None]);
        store
            .take_use(&new_use(number, 1, 1), now())
            .await
            .expect("a use");
        // The read must not see the snapshot of an implicit transaction.
        assert!(store.look_up(&keys).await.expect("an answer")[0].is_some());
        assert!(
            store
                .return_use(&new_use(number, 1, 1))
                .await
                .expect("an answer")
        );
        store
            .take_use(&new_use(number, 1, 1), now())
            .await
            .expect("a use");
    }
    let records = store.records().expect("records");
    let page = records
        .page(&RecordFilter::all(), None, 10)
        .await
        .expect("a page");
    assert_eq!(page.records.len(), 3);
    assert!(page.records.iter().all(|record| record.reason == "é😀"));
    store.purge(UnixTime::from_secs(1)).await.expect("a purge");
    assert_eq!(whole_feed(&store).await.changes.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_errors_name_the_cause_without_the_password() {
    let server = MariaDb::start(&[]).await;
    server.sql(
        "CREATE USER orders@'127.0.0.1' IDENTIFIED BY 'right'; \
         GRANT SELECT ON tower.* TO orders@'127.0.0.1'",
    );
    let login = |from: &str, to: &str| server.url().replace(from, to);
    for (what, url) in [
        ("no such user", login("root@", "nobody:s3cret@")),
        ("wrong password", login("root@", "orders:s3cret@")),
        ("no such database", login("/tower", "/s3cret")),
        ("no right to create", login("root@", "orders:right@")),
    ] {
        let builder = MySqlStore::builder(url).request_timeout(Duration::from_secs(5));
        assert!(!format!("{builder:?}").contains("s3cret"), "{what}");
        let rejected = builder.connect().await.expect_err(what);
        assert!(
            matches!(rejected, SqlStoreError::Login(_)),
            "{what}: {rejected:?}"
        );
        let is_told = format!("{rejected:?} {rejected}").contains("s3cret");
        assert_eq!(is_told, what == "no such database", "{what}: {rejected:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_without_transactions_and_packets_without_room_are_rejected() {
    let server = MariaDb::start(&["--max-allowed-packet=16K"]).await;
    let small = MySqlStore::connect(server.url()).await;
    assert!(matches!(small, Err(SqlStoreError::Setting(words)) if words.contains("packet")));
    server.sql("SET GLOBAL max_allowed_packet = 16777216");
    let store = open(&server).await;
    server.sql("ALTER TABLE tower_revoke_uses ENGINE = MyISAM");
    drop(store);
    let other = MySqlStore::connect(server.url()).await;
    let is_told =
        matches!(&other, Err(SqlStoreError::Engine(table)) if table == "tower_revoke_uses");
    assert!(is_told, "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_can_read_rules_and_reasons_in_the_tables() {
    let server = MariaDb::start(&[]).await;
    let store = open(&server).await;
    let key = RevocationKey::subject("https://id.example.com", "bob");
    let said = Revocation::rule(key.clone(), UnixTime::from_secs(5)).expect("the key of a rule");
    let said = said.by("ann@example.com").because("laptop lost, é😀");
    store.revoke(&[said]).await.expect("a revocation");
    let row = server.sql("SELECT issuer, claim, value, author, reason FROM tower_revoke_revoked");
    let expected = "https://id.example.com|sub|bob|ann@example.com|laptop lost, é😀";
    assert_eq!(row, expected);
    let lift = Lift::new(key)
        .at(UnixTime::from_secs(9))
        .by("eve")
        .because("found");
    assert!(store.lift(&lift).await.expect("a lift"));
    let row = server.sql("SELECT at, author, reason FROM tower_revoke_lifted");
    assert_eq!(row, "9|eve|found");
}

/// Others on the way could read what is not encrypted. Whether there is a way depends on the host's
/// name: to the store `127.1` is another host, though resolvers read it as an address of this one.
#[tokio::test]
async fn a_connection_without_tls_is_logged_unless_it_is_local() {
    let server = MariaDb::start(&[]).await;
    let log = RecordedLog::start();
    MySqlStore::connect(server.url())
        .await
        .expect("a local server");
    assert!(!log.text().contains("not encrypted"), "{}", log.text());
    let elsewhere = server.url().replace("127.0.0.1", "127.1");
    MySqlStore::connect(elsewhere)
        .await
        .expect("the same server");
    let warned = log.text();
    assert!(warned.contains("127.1 is not encrypted"), "{warned}");
}
