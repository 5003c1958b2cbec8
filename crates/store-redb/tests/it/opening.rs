//! Tests that each failure to open the file says what to do.

use std::{fs, num::NonZeroU32, path::Path};

use redb::{Database, TableDefinition};
use tower_revoke_core::{
    KeyDigest, Listed, Revocation, Store, TokenId, UnixTime, Use, UseId, UseOutcome,
};
use tower_revoke_store_redb::{RedbStore, RedbStoreError};

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("tower-revoke");

fn token() -> TokenId {
    TokenId::of_jwt("https://id.example.com", "42")
}

async fn with_one_revocation(path: &Path) {
    let store = RedbStore::open(path).unwrap();
    let revocation = Revocation::of_token(token(), None);
    store.revoke(&[revocation]).await.unwrap();
}

async fn has_it(path: &Path) -> bool {
    let store = RedbStore::open(path).unwrap();
    let listed = store.look_up(&[KeyDigest::of_token(token())]).await;
    listed.unwrap()[0].is_some()
}

fn rejected(path: &Path) -> RedbStoreError {
    let error = RedbStore::open(path).unwrap_err();
    let words = error.to_string();
    assert!(words.contains(path.to_str().unwrap()), "{words}");
    error
}

/// Writes metadata that a later release may write.
fn with_meta(path: &Path, name: &str, bytes: &[u8]) {
    let db = Database::open(path).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(META).unwrap().insert(name, bytes).unwrap();
    txn.commit().unwrap();
}

#[tokio::test]
async fn a_closed_file_reopens_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    with_one_revocation(&path).await;
    for _ in 0..20 {
        assert!(has_it(&path).await);
    }
}

#[tokio::test]
async fn a_file_that_is_open_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let store = RedbStore::open(&path).unwrap();
    let clone = store.clone();
    assert!(matches!(rejected(&path), RedbStoreError::Locked { .. }));
    drop(store);
    assert!(matches!(rejected(&path), RedbStoreError::Locked { .. }));
    drop(clone);
    RedbStore::open(&path).unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_rejected_and_both_versions_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    with_one_revocation(&path).await;
    with_meta(&path, "schema", &7_u32.to_be_bytes());
    let error = rejected(&path);
    let is_newer = matches!(
        error,
        RedbStoreError::Newer {
            what: "schema",
            found: 7,
            known: 2,
            ..
        }
    );
    assert!(is_newer, "{error:?}");
    let words = error.to_string();
    assert!(
        words.contains("is 7") && words.contains("knows 2"),
        "{words}"
    );
    // The file was left unchanged.
    with_meta(&path, "schema", &2_u32.to_be_bytes());
    assert!(has_it(&path).await);
}

/// A file of the first version, which has all uses in the table `uses`.
#[tokio::test]
async fn a_file_of_an_older_schema_opens_and_is_upgraded() {
    type Rows = TableDefinition<'static, [u8; 16], &'static [u8]>;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let db = Database::create(&path).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let mut meta = txn.open_table(META).unwrap();
        let version = 1_u32.to_be_bytes();
        meta.insert("schema", version.as_slice()).unwrap();
        meta.insert("store", [9; 16].as_slice()).unwrap();
        let rows = |name| txn.open_table(Rows::new(name)).unwrap();
        drop((rows("revoked"), rows("lifted")));
        // A single-use token without an expiry, whose use has the id 1.
        let uses = [[1, 0, 1, 1].as_slice(), &[1; 16]].concat();
        let row = (*token().as_bytes(), uses.as_slice());
        rows("uses").insert(row.0, row.1).unwrap();
        let held = TableDefinition::<[u8; 32], ()>::new("held");
        let ends = TableDefinition::<[u8; 25], ()>::new("ends");
        let feed = TableDefinition::<u64, &[u8]>::new("feed");
        let openings = TableDefinition::<u64, &[u8]>::new("openings");
        txn.open_table(held).unwrap();
        txn.open_table(ends).unwrap();
        txn.open_table(feed).unwrap();
        let mut openings = txn.open_table(openings).unwrap();
        openings.insert(0, [7; 16].as_slice()).unwrap();
    }
    txn.commit().unwrap();
    drop(db);
    let new_use = |token, id| Use::new(token, UseId::from_bytes([id; 16]), NonZeroU32::MIN, None);
    let other = TokenId::of_jwt("https://id.example.com", "43");
    let won = UseOutcome::Taken { left: 0 };
    // The second time, the file has the current version.
    for _ in 0..2 {
        let store = RedbStore::open(&path).unwrap();
        let outcome = store
            .take_use(&new_use(token(), 2), UnixTime::EPOCH)
            .await
            .unwrap();
        assert_eq!(outcome, UseOutcome::Spent);
        assert_eq!(
            store
                .take_use(&new_use(token(), 1), UnixTime::EPOCH)
                .await
                .unwrap(),
            won
        );
        assert_eq!(
            store
                .take_use(&new_use(other, 2), UnixTime::EPOCH)
                .await
                .unwrap(),
            won
        );
        let keys = [token(), other].map(KeyDigest::of_token);
        let spent = Some(Listed::Spent { until: None });
        assert_eq!(store.look_up(&keys).await.unwrap(), [spent, spent]);
    }
    // The version was raised, because an older release would not see staged uses.
    let db = Database::open(&path).unwrap();
    let meta = db.begin_read().unwrap().open_table(META).unwrap();
    let version = meta.get("schema").unwrap().unwrap();
    assert_eq!(version.value(), 2_u32.to_be_bytes());
}

#[tokio::test]
async fn a_newer_file_format_is_rejected_and_both_versions_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    with_one_revocation(&path).await;
    let good = fs::read(&path).unwrap();
    // The version is the first byte of each of redb's two headers.
    for header in [64, 192] {
        let mut bytes = good.clone();
        assert_eq!(bytes[header], 3);
        bytes[header] = 9;
        fs::write(&path, bytes).unwrap();
        let error = rejected(&path);
        let is_newer = matches!(
            error,
            RedbStoreError::Newer {
                what: "file format",
                found: 9,
                known: 3,
                ..
            }
        );
        assert!(is_newer, "{error:?}");
    }
    fs::write(&path, good).unwrap();
    assert!(has_it(&path).await);
}

#[test]
fn another_program_s_file_is_rejected_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("of-another-program");
    let db = Database::create(&other).unwrap();
    let txn = db.begin_write().unwrap();
    let table = TableDefinition::<&str, u64>::new("counts");
    txn.open_table(table).unwrap().insert("a", 1).unwrap();
    txn.commit().unwrap();
    drop(db);
    assert!(matches!(rejected(&other), RedbStoreError::Foreign { .. }));
    let db = Database::open(&other).unwrap();
    let tables = db.begin_read().unwrap().list_tables().unwrap().count();
    assert_eq!(tables, 1);

    let text = folder.path().join("text");
    let words = "no store of revocations, but a long text about one\n".repeat(1_000);
    fs::write(&text, &words).unwrap();
    assert!(matches!(rejected(&text), RedbStoreError::Foreign { .. }));
    fs::write(&text, "short").unwrap();
    assert!(matches!(rejected(&text), RedbStoreError::Foreign { .. }));
    assert_eq!(fs::read(&text).unwrap(), b"short");
}

#[tokio::test]
async fn a_damaged_file_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    with_one_revocation(&path).await;
    let good = fs::read(&path).unwrap();
    // Truncated, and with random bytes after the first page.
    let mut noise = good.clone();
    noise[4_096..].fill(0xA5);
    for bytes in [&good[..good.len() / 2], &good[..5_000], &noise] {
        fs::write(&path, bytes).unwrap();
        let error = rejected(&path);
        assert!(matches!(error, RedbStoreError::Corrupt { .. }), "{error:?}");
    }
    fs::write(&path, good).unwrap();
    assert!(has_it(&path).await);
}

#[test]
fn a_missing_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = rejected(&folder.path().join("none").join("a"));
    assert!(matches!(error, RedbStoreError::Io { .. }), "{error:?}");
    let error = rejected(folder.path());
    assert!(matches!(error, RedbStoreError::Io { .. }), "{error:?}");
}

/// Not even root may write there.
#[cfg(target_os = "linux")]
#[test]
fn a_read_only_file_is_reported() {
    let error = rejected(Path::new("/proc/sys/kernel/ostype"));
    assert!(
        matches!(error, RedbStoreError::ReadOnly { .. }),
        "{error:?}"
    );
}
