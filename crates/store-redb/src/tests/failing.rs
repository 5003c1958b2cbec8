//! Tests failures of the disk, and damaged files.

use std::{fs, io::ErrorKind, num::NonZeroU32, path::Path, time::Duration};

use tower_revoke_core::{
    ChangeFeed, Clock, KeyDigest, ManualClock, Revocation, Store, StoreError, TokenId, UnixTime,
    Use, UseId, UseOutcome,
};

use crate::{RedbStore, RedbStoreError, disk::tests::DiskFault};

const NOW: UnixTime = UnixTime::from_secs(1_000_000);

fn open(path: &Path) -> (RedbStore, ManualClock) {
    let (clock, hand) = Clock::manual(NOW);
    // Without a cache, so that reads come from the file.
    let builder = RedbStore::builder(path).clock(clock).cache_bytes(0);
    (builder.open().expect("a store"), hand)
}

fn token(number: u8) -> TokenId {
    TokenId::from_bytes([number; 16])
}

fn end_of(number: u8) -> Revocation {
    Revocation::of_token(token(number), None)
}

async fn is_revoked(store: &RedbStore, number: u8) -> Result<bool, StoreError> {
    let keys = [KeyDigest::of_token(token(number))];
    Ok(store.look_up(&keys).await?[0].is_some())
}

fn harm(store: &RedbStore, harm: DiskFault) {
    store.shared().place.health.set(harm);
}

#[tokio::test]
async fn a_full_disk_rejects_writes_answers_reads_and_is_retried() {
    let folder = tempfile::tempdir().unwrap();
    let (store, hand) = open(&folder.path().join("a"));
    let long = "long ".repeat(20_000);
    let mut kept = 0;
    for kind in [
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::FileTooLarge,
    ] {
        let full = DiskFault {
            grow: Some(kind),
            ..DiskFault::default()
        };
        harm(&store, full);
        let rejected = loop {
            match store.revoke(&[end_of(kept).because(&long)]).await {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        let is_full = |rejected: &StoreError| matches!(rejected, StoreError::Full(count) if *count == u64::from(kept));
        assert!(is_full(&rejected), "{rejected:?}");
        harm(&store, DiskFault::default());
        hand.advance(Duration::from_millis(500));
        let rejected = store.revoke(&[end_of(kept)]).await.unwrap_err();
        assert!(is_full(&rejected), "too early: {rejected:?}");
        for number in 0..=kept {
            assert_eq!(is_revoked(&store, number).await.unwrap(), number < kept);
        }
        hand.advance(Duration::from_millis(500));
        store.revoke(&[end_of(kept).because(&long)]).await.unwrap();
        kept += 1;
    }
}

#[tokio::test]
async fn a_disk_that_comes_back_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, hand) = open(&folder.path().join("a"));
    store.revoke(&[end_of(1)]).await.unwrap();
    for broken in [
        DiskFault {
            read: Some(ErrorKind::Other),
            ..DiskFault::default()
        },
        DiskFault {
            write: Some(ErrorKind::Other),
            read: Some(ErrorKind::Other),
            ..DiskFault::default()
        },
    ] {
        harm(&store, broken);
        let rejected = store.revoke(&[end_of(2)]).await;
        assert!(
            matches!(rejected, Err(StoreError::Unavailable(_))),
            "{rejected:?}"
        );
        let rejected = is_revoked(&store, 1).await;
        assert!(
            matches!(rejected, Err(StoreError::Unavailable(_))),
            "{rejected:?}"
        );
        harm(&store, DiskFault::default());
        hand.advance(Duration::from_secs(1));
        assert!(is_revoked(&store, 1).await.unwrap());
    }
    hand.advance(Duration::from_secs(1));
    store.revoke(&[end_of(2)]).await.unwrap();
}

/// After a failed flush, the operating system may show data that is not on disk, and report success
/// for the next flush.
#[tokio::test]
async fn a_failed_flush_stops_the_store_until_it_is_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let (store, hand) = open(&path);
    store.revoke(&[end_of(1)]).await.unwrap();
    let failing = DiskFault {
        sync: Some(ErrorKind::Other),
        ..DiskFault::default()
    };
    harm(&store, failing);
    let rejected = store.revoke(&[end_of(2)]).await;
    assert!(matches!(rejected, Err(StoreError::Unavailable(_))));
    harm(&store, DiskFault::default());
    hand.advance(Duration::from_secs(3_600));
    for rejected in [
        store.revoke(&[end_of(2)]).await,
        is_revoked(&store, 1).await.map(drop),
        store.changes(None).await.map(drop),
    ] {
        let Err(StoreError::Unavailable(why)) = rejected else {
            panic!("{rejected:?}");
        };
        assert!(why.to_string().contains("mend the disk"), "{why}");
    }
    drop(store);
    let (store, _) = open(&path);
    assert!(is_revoked(&store, 1).await.unwrap());
}

#[tokio::test]
async fn a_failure_is_reported_to_every_caller_in_the_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let (store, hand) = open(&folder.path().join("a"));
    let full = DiskFault {
        write: Some(ErrorKind::StorageFull),
        ..DiskFault::default()
    };
    harm(&store, full);
    let use_ = |id| Use::new(token(1), UseId::from_bytes([id; 16]), NonZeroU32::MIN, None);
    let uses: Vec<_> = (0..20).map(use_).collect();
    let asked = futures_util::future::join_all(uses.iter().map(|use_| store.take_use(use_, NOW)));
    for rejected in asked.await {
        assert!(matches!(rejected, Err(StoreError::Full(0))), "{rejected:?}");
    }
    harm(&store, DiskFault::default());
    hand.advance(Duration::from_secs(1));
    assert!(!is_revoked(&store, 1).await.unwrap());
}

#[tokio::test]
async fn damaged_pages_fail_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let (store, _) = open(&path);
    let many: Vec<_> = (0..=255).map(end_of).collect();
    store.revoke(&many).await.unwrap();
    drop(store);
    let (store, _) = open(&path);
    // Overwrites everything after the headers.
    let mut bytes = fs::read(&path).unwrap();
    bytes[4_096..].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    for number in 0..=255 {
        let looked = is_revoked(&store, number).await;
        assert!(!matches!(looked, Ok(false)), "a revoked token was accepted");
    }
    assert!(store.revoke(&[end_of(1)]).await.is_err());
    drop(store);
    let rejected = RedbStore::open(&path).unwrap_err();
    assert!(
        matches!(rejected, RedbStoreError::Corrupt { .. }),
        "{rejected:?}"
    );
}

#[tokio::test]
async fn a_crash_between_two_writes_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("a"), folder.path().join("b"));
    let (store, _) = open(&path);
    let own = Use::new(token(9), UseId::from_bytes([1; 16]), NonZeroU32::MIN, None);
    store.revoke(&[end_of(1)]).await.unwrap();
    store.take_use(&own, NOW).await.unwrap();
    // The file as it is on disk while the store is open.
    fs::copy(&path, &copy).unwrap();
    let (after, _) = open(&copy);
    assert!(is_revoked(&after, 1).await.unwrap());
    assert_eq!(
        after.take_use(&own, NOW).await.unwrap(),
        UseOutcome::Taken { left: 0 }
    );
}
