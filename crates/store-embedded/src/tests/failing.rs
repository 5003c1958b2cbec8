//! What the store says and does when the disk fails.

use std::{
    io::{self, ErrorKind},
    num::NonZeroU32,
    path::Path,
    time::Duration,
};

use tower_revoke_core::{
    Clock, KeyDigest, ManualClock, Revocation, Store, StoreError, TokenId, Use, UseId,
};

use super::NOW;
use crate::{
    EmbeddedStore,
    fault::Fault,
    shared::{Shared, locked, not_durable},
};

fn open(path: &Path) -> (EmbeddedStore, ManualClock) {
    let (clock, hand) = Clock::manual(NOW);
    let store = EmbeddedStore::builder(path).clock(clock).open();
    (store.unwrap(), hand)
}

fn token(number: u8) -> TokenId {
    TokenId::from_bytes([number; 16])
}

async fn revoke(store: &EmbeddedStore, number: u8) -> Result<(), StoreError> {
    store
        .revoke(&[Revocation::of_token(token(number), None)])
        .await
}

async fn is_revoked(store: &EmbeddedStore, number: u8) -> bool {
    let keys = [KeyDigest::of_token(token(number))];
    store.look_up(&keys).await.unwrap()[0].is_some()
}

impl Shared {
    /// Fails a commit as the disk would.
    pub(crate) fn fail_if_harmed(&self) -> Result<(), Fault> {
        match *locked(&self.harm) {
            Some(kind) => Err(not_durable(io::Error::from(kind).into())),
            None => Ok(()),
        }
    }
}

fn harm(store: &EmbeddedStore, kind: Option<ErrorKind>) {
    *locked(&store.shared().harm) = kind;
}

#[tokio::test]
async fn a_full_disk_rejects_writes_answers_reads_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, hand) = open(&folder.path().join("a"));
    let full = [
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::FileTooLarge,
    ];
    for (kept, kind) in (1..).zip(full) {
        revoke(&store, kept).await.unwrap();
        harm(&store, Some(kind));
        let is_full = |rejected: &StoreError| matches!(rejected, StoreError::Full(count) if *count == u64::from(kept));
        let rejected = revoke(&store, kept + 1).await.unwrap_err();
        assert!(is_full(&rejected), "{rejected:?}");
        harm(&store, None);
        hand.advance(Duration::from_millis(500));
        let rejected = revoke(&store, kept + 1).await.unwrap_err();
        assert!(is_full(&rejected), "too early: {rejected:?}");
        // What is there already needs no room.
        revoke(&store, kept).await.unwrap();
        for number in 1..=kept + 1 {
            assert_eq!(is_revoked(&store, number).await, number <= kept);
        }
        hand.advance(Duration::from_millis(500));
    }
    revoke(&store, 4).await.unwrap();
}

/// After a flush that failed, the system may show what is not on the disk, and report success for
/// the next flush.
#[tokio::test]
async fn a_flush_that_fails_ends_all_writes_until_the_store_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let (store, hand) = open(&path);
    revoke(&store, 1).await.unwrap();
    harm(&store, Some(ErrorKind::Other));
    revoke(&store, 2).await.unwrap_err();
    harm(&store, None);
    hand.advance(Duration::from_secs(3_600));
    let Err(StoreError::Unavailable(why)) = revoke(&store, 2).await else {
        panic!("it was written");
    };
    assert!(why.to_string().contains("mend the disk"), "{why}");
    assert!(is_revoked(&store, 1).await && !is_revoked(&store, 2).await);
    drop(store);
    let (store, _) = open(&path);
    assert!(is_revoked(&store, 1).await);
    revoke(&store, 2).await.unwrap();
}

#[tokio::test]
async fn a_failure_is_told_to_all_who_shared_the_group() {
    let folder = tempfile::tempdir().unwrap();
    let (store, hand) = open(&folder.path().join("a"));
    harm(&store, Some(ErrorKind::StorageFull));
    let use_ = |id| Use::new(token(1), UseId::from_bytes([id; 16]), NonZeroU32::MIN, None);
    let uses: Vec<_> = (0..20).map(use_).collect();
    let asked = futures_util::future::join_all(uses.iter().map(|use_| store.take_use(use_, NOW)));
    for rejected in asked.await {
        assert!(matches!(rejected, Err(StoreError::Full(0))), "{rejected:?}");
    }
    harm(&store, None);
    hand.advance(Duration::from_secs(1));
    assert!(!is_revoked(&store, 1).await);
}

/// As when the folder was moved away meanwhile.
#[tokio::test]
async fn a_store_that_can_t_be_opened_again_is_tried_once_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("a"), folder.path().join("b"));
    let (store, hand) = open(&path);
    revoke(&store, 1).await.unwrap();
    harm(&store, Some(ErrorKind::StorageFull));
    revoke(&store, 2).await.unwrap_err();
    harm(&store, None);
    std::fs::rename(&path, &moved).unwrap();
    for _ in 0..2 {
        hand.advance(Duration::from_secs(1));
        let rejected = revoke(&store, 2).await;
        assert!(
            matches!(rejected, Err(StoreError::Unavailable(_))),
            "{rejected:?}"
        );
        let keys = [KeyDigest::of_token(token(1))];
        let rejected = store.look_up(&keys).await;
        assert!(
            matches!(rejected, Err(StoreError::Unavailable(_))),
            "{rejected:?}"
        );
    }
    std::fs::rename(&moved, &path).unwrap();
    hand.advance(Duration::from_secs(1));
    assert!(is_revoked(&store, 1).await);
    revoke(&store, 2).await.unwrap();
}
