//! Tests that each failure to open the file says what to do.

use std::{fs, path::Path, time::Duration};

use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tower_revoke_core::{KeyDigest, Revocation, Store, TokenId};
use tower_revoke_store_sql::{SqliteStore, SqliteStoreError};

fn token() -> TokenId {
    TokenId::of_jwt("https://id.example.com", "42")
}

async fn with_one_revocation(path: &Path) {
    let store = SqliteStore::open(path).await.unwrap();
    let revocation = Revocation::of_token(token(), None);
    store.revoke(&[revocation]).await.unwrap();
}

async fn has_it(path: &Path) -> bool {
    let store = SqliteStore::open(path).await.unwrap();
    let listed = store.look_up(&[KeyDigest::of_token(token())]).await;
    listed.unwrap()[0].is_some()
}

async fn rejected(path: &Path) -> SqliteStoreError {
    let builder = SqliteStore::builder(path).request_timeout(Duration::from_millis(200));
    let error = builder.open().await.unwrap_err();
    let words = error.to_string();
    assert!(words.contains(path.to_str().unwrap()), "{words}");
    error
}

async fn bare(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    options.create_if_missing(true).connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_file_reopens_and_many_open_it_concurrently() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let open = (0..8).map(|_| {
        let path = path.clone();
        tokio::spawn(async move { SqliteStore::open(path).await.map(drop) })
    });
    for opened in open.collect::<Vec<_>>() {
        opened.await.unwrap().unwrap();
    }
    with_one_revocation(&path).await;
    for _ in 0..20 {
        assert!(has_it(&path).await);
    }
}

#[tokio::test]
async fn a_newer_schema_is_rejected_and_both_versions_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    with_one_revocation(&path).await;
    let mut link = bare(&path).await;
    link.execute("PRAGMA user_version = 7").await.unwrap();
    let error = rejected(&path).await;
    let is_newer = matches!(
        error,
        SqliteStoreError::Newer {
            found: 7,
            known: 1,
            ..
        }
    );
    assert!(is_newer, "{error:?}");
    let words = error.to_string();
    assert!(
        words.contains("is 7") && words.contains("knows 1"),
        "{words}"
    );
    // The file was left unchanged.
    link.execute("PRAGMA user_version = 1").await.unwrap();
    assert!(has_it(&path).await);
}

#[tokio::test]
async fn foreign_files_are_rejected_and_left_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let text = "this is no database at all, but a text ".repeat(100);
    fs::write(&path, &text).unwrap();
    let error = rejected(&path).await;
    assert!(
        matches!(error, SqliteStoreError::Foreign { .. }),
        "{error:?}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let path = folder.path().join("b");
    let mut link = bare(&path).await;
    link.execute("CREATE TABLE revoked (digest)").await.unwrap();
    link.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    let error = rejected(&path).await;
    assert!(
        matches!(error, SqliteStoreError::Foreign { .. }),
        "{error:?}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_file_that_is_cut_off_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut link = {
        with_one_revocation(&path).await;
        bare(&path).await
    };
    link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        .await
        .unwrap();
    let good = fs::read(&path).unwrap();
    let path = folder.path().join("b");
    let mut noise = good.clone();
    noise[4_096..].fill(0xA5);
    for bytes in [&good[..good.len() / 2], &good[..5_000], &noise] {
        fs::write(&path, bytes).unwrap();
        let error = rejected(&path).await;
        assert!(
            matches!(error, SqliteStoreError::Corrupt { .. }),
            "{error:?}"
        );
    }
    fs::write(&path, good).unwrap();
    assert!(has_it(&path).await);
}

#[tokio::test]
async fn a_file_that_is_locked_exclusively_is_reported_as_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    with_one_revocation(&path).await;
    let mut other = bare(&path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let error = rejected(&path).await;
    assert!(
        matches!(error, SqliteStoreError::Locked { .. }),
        "{error:?}"
    );
    other.execute("ROLLBACK").await.unwrap();
    assert!(has_it(&path).await);
}

#[tokio::test]
async fn a_missing_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = rejected(&folder.path().join("none").join("a")).await;
    assert!(
        matches!(error, SqliteStoreError::NoFolder { .. }),
        "{error:?}"
    );
    let error = rejected(folder.path()).await;
    assert!(matches!(error, SqliteStoreError::Io { .. }), "{error:?}");
    // SQLite's names for temporary databases are rejected.
    let nothing = SqliteStore::open("").await.unwrap_err();
    assert!(
        matches!(nothing, SqliteStoreError::Setting(_)),
        "{nothing:?}"
    );
}

/// Not even root may write there.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_read_only_file_is_reported() {
    let error = rejected(Path::new("/proc/sys/kernel/ostype")).await;
    assert!(
        matches!(error, SqliteStoreError::ReadOnly { .. }),
        "{error:?}"
    );
}
