//! Tests the errors of opening a folder.

use std::{fs, path::Path};

use tower_revoke_core::{KeyDigest, Revocation, Store, TokenId};
use tower_revoke_store_embedded::{EmbeddedStore, EmbeddedStoreError};

fn token() -> TokenId {
    TokenId::of_jwt("https://id.example.com", "42")
}

async fn with_one_revocation(path: &Path) {
    let store = EmbeddedStore::open(path).unwrap();
    let revocation = Revocation::of_token(token(), None);
    store.revoke(&[revocation]).await.unwrap();
}

async fn has_it(path: &Path) -> bool {
    let store = EmbeddedStore::open(path).unwrap();
    let listed = store.look_up(&[KeyDigest::of_token(token())]).await;
    listed.unwrap()[0].is_some()
}

fn rejected(path: &Path) -> EmbeddedStoreError {
    let error = EmbeddedStore::open(path).unwrap_err();
    let words = error.to_string();
    assert!(words.contains(path.to_str().unwrap()), "{words}");
    error
}

#[tokio::test]
async fn what_was_closed_opens_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    with_one_revocation(&path).await;
    for _ in 0..20 {
        assert!(has_it(&path).await);
    }
}

#[tokio::test]
async fn a_folder_that_is_open_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let store = EmbeddedStore::open(&path).unwrap();
    let clone = store.clone();
    assert!(matches!(rejected(&path), EmbeddedStoreError::Locked { .. }));
    drop(store);
    assert!(matches!(rejected(&path), EmbeddedStoreError::Locked { .. }));
    drop(clone);
    EmbeddedStore::open(&path).unwrap();
}

#[tokio::test]
async fn a_newer_version_is_rejected_and_both_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    with_one_revocation(&path).await;
    for (file, at, known, name) in [
        ("tower-revoke", 15, 1, "schema"),
        ("data/version", 3, 3, "file format"),
    ] {
        let good = fs::read(path.join(file)).unwrap();
        let mut bytes = good.clone();
        assert_eq!(bytes[at], known);
        bytes[at] = 7;
        fs::write(path.join(file), &bytes).unwrap();
        let error = rejected(&path);
        let EmbeddedStoreError::Newer { what, found: 7, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(what, name);
        let words = error.to_string();
        let known = format!("knows {known}");
        assert!(words.contains("is 7") && words.contains(&known), "{words}");
        // It was left as it was.
        assert_eq!(fs::read(path.join(file)).unwrap(), bytes);
        fs::write(path.join(file), good).unwrap();
        assert!(has_it(&path).await);
    }
}

#[test]
fn what_another_program_wrote_is_rejected_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("of-another-program");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("notes"), "text").unwrap();
    assert!(matches!(
        rejected(&other),
        EmbeddedStoreError::Foreign { .. }
    ));
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
    let file = other.join("notes");
    assert!(matches!(
        rejected(&file),
        EmbeddedStoreError::Foreign { .. }
    ));
    for text in [
        "short",
        "a long text that is no ledger of a store of revocations",
    ] {
        let ledger = other.join("tower-revoke");
        fs::write(&ledger, text).unwrap();
        assert!(matches!(
            rejected(&other),
            EmbeddedStoreError::Foreign { .. }
        ));
        assert_eq!(fs::read_to_string(&ledger).unwrap(), text);
    }
}

/// The first start was cut off before it had written anything.
#[tokio::test]
async fn a_start_that_was_cut_off_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::create_dir(&path).unwrap();
    assert!(!has_it(&path).await, "an empty folder is as good as none");
    let ledger = fs::read(path.join("tower-revoke")).unwrap();
    let mut unmarked = ledger[..32].to_vec();
    unmarked.extend([[0; 8], [0xff; 8]].concat());
    for left in [Vec::new(), vec![0; 48], unmarked] {
        fs::remove_dir_all(path.join("data")).unwrap();
        fs::write(path.join("tower-revoke"), &left).unwrap();
        if !left.is_empty() && left[0] > 0 {
            fs::create_dir(path.join("data")).unwrap();
            fs::write(path.join("data/0.jnl"), "").unwrap();
        }
        with_one_revocation(&path).await;
        assert!(has_it(&path).await);
    }
}

#[test]
fn a_folder_that_is_not_there_is_no_place_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let error = rejected(&folder.path().join("none").join("a"));
    assert!(matches!(error, EmbeddedStoreError::Io { .. }), "{error:?}");
}

/// Not even root may write there.
#[cfg(target_os = "linux")]
#[test]
fn what_can_t_be_written_is_said_to_be_so() {
    let error = rejected(Path::new("/sys/kernel/a"));
    assert!(
        matches!(error, EmbeddedStoreError::ReadOnly { .. }),
        "{error:?}"
    );
}
