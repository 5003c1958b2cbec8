//! Tests retention, and the disk space that is freed.

use std::{fs, time::Duration};

use tower_revoke_core::{
    ChangeFeed, Clock, Cursor, KeyDigest, Revocation, Store, StoreError, TokenId, UnixTime,
};

use crate::RedbStore;

const NOW: UnixTime = UnixTime::from_secs(1_000_000);

fn end_of(number: u32, until: UnixTime) -> Revocation {
    let token = TokenId::of_jwt("keeping", &number.to_string());
    Revocation::of_token(token, None).retained(Some(until))
}

fn after(secs: u64) -> UnixTime {
    NOW.saturating_add(Duration::from_secs(secs))
}

async fn revoke(store: &RedbStore, number: u32) {
    store.revoke(&[end_of(number, after(60))]).await.unwrap();
}

async fn seen_since(store: &RedbStore, cursor: &Cursor) -> Result<usize, StoreError> {
    Ok(store.changes(Some(cursor)).await?.changes.len())
}

#[tokio::test]
async fn the_feed_keeps_changes_up_to_its_capacity() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let open = |kept| {
        RedbStore::builder(&path)
            .feed_capacity(kept)
            .open()
            .unwrap()
    };
    let store = open(3);
    let start = store.changes(None).await.unwrap().next;
    for number in 0..3 {
        revoke(&store, number).await;
    }
    assert_eq!(seen_since(&store, &start).await.unwrap(), 3);
    revoke(&store, 3).await;
    let rejected = seen_since(&store, &start).await;
    assert!(
        matches!(rejected, Err(StoreError::CursorTooOld)),
        "{rejected:?}"
    );
    // The empty feed continues where it was, also after a restart.
    drop(store);
    let store = open(0);
    let now = store.changes(None).await.unwrap().next;
    revoke(&store, 4).await;
    let rejected = seen_since(&store, &now).await;
    assert!(
        matches!(rejected, Err(StoreError::CursorTooOld)),
        "{rejected:?}"
    );
    drop(store);
    let store = open(10);
    let rejected = seen_since(&store, &now).await;
    assert!(
        matches!(rejected, Err(StoreError::CursorTooOld)),
        "{rejected:?}"
    );
    let now = store.changes(None).await.unwrap().next;
    revoke(&store, 5).await;
    assert_eq!(seen_since(&store, &now).await.unwrap(), 1);
}

#[tokio::test]
async fn the_feed_keeps_changes_for_the_retention() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = Clock::manual(NOW);
    let builder = RedbStore::builder(folder.path().join("a")).clock(clock);
    let builder = builder.feed_retention(Duration::from_secs(10));
    let store = builder.open().unwrap();
    let start = store.changes(None).await.unwrap().next;
    revoke(&store, 0).await;
    hand.advance(Duration::from_secs(10));
    revoke(&store, 1).await;
    assert_eq!(seen_since(&store, &start).await.unwrap(), 2);
    hand.advance(Duration::from_secs(1));
    revoke(&store, 2).await;
    let rejected = seen_since(&store, &start).await;
    assert!(
        matches!(rejected, Err(StoreError::CursorTooOld)),
        "{rejected:?}"
    );
}

/// A file that was opened very often has forgotten its first openings.
#[tokio::test]
async fn a_very_old_cursor_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path().join("a")).unwrap();
    let own = store.changes(None).await.unwrap().next;
    let mut cursor = crate::cursor::FeedCursor::read(&own).unwrap();
    assert_eq!(seen_since(&store, &own).await.unwrap(), 0);
    cursor.opening += 1;
    let rejected = seen_since(&store, &cursor.write()).await;
    assert!(
        matches!(rejected, Err(StoreError::HistoryWentBack)),
        "{rejected:?}"
    );
    drop(store);
    let path = folder.path().join("a");
    let db = redb::Database::open(&path).unwrap();
    let txn = db.begin_write().unwrap();
    let mut openings = txn.open_table(crate::schema::OPENINGS).unwrap();
    for opening in 1..1_024 {
        openings.insert(opening, [0; 16].as_slice()).unwrap();
    }
    drop(openings);
    txn.commit().unwrap();
    drop(db);
    let store = RedbStore::open(&path).unwrap();
    let rejected = seen_since(&store, &own).await;
    assert!(
        matches!(rejected, Err(StoreError::CursorTooOld)),
        "{rejected:?}"
    );
}

#[tokio::test]
async fn a_purge_frees_disk_space() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let builder = RedbStore::builder(&path).feed_capacity(100);
    let store = builder
        .request_timeout(Duration::from_secs(600))
        .open()
        .unwrap();
    let long = "long ".repeat(2_000);
    let many = (0..4_000).map(|n| end_of(n, after(60)).because(&long));
    let many: Vec<_> = many.collect();
    store.revoke(&many).await.unwrap();
    let kept = end_of(1_000_000, after(61));
    store.revoke(std::slice::from_ref(&kept)).await.unwrap();
    let size = || fs::metadata(&path).unwrap().len();
    let full = size();
    assert!(full > 16 << 20, "{full}");
    assert_eq!(store.purge(after(61)).await.unwrap(), 4_000);
    let left = size();
    assert!(left < full / 8, "{left} of {full} bytes are left");
    let keys = [kept.key().digest(), many[0].key().digest()];
    let listed = store.look_up(&keys).await.unwrap();
    assert!(listed[0].is_some() && listed[1].is_none());
    // The store continues to work, with correct answers.
    revoke(&store, 1).await;
    drop(store);
    let store = RedbStore::open(&path).unwrap();
    assert!(store.look_up(&[kept.key().digest()]).await.unwrap()[0].is_some());
    assert!(!store.compact().await.unwrap() || size() <= left);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let builder = RedbStore::builder(folder.path().join("a"));
    let store = builder
        .request_timeout(Duration::from_secs(2))
        .open()
        .unwrap();
    let (hangs, goes_on) = std::sync::mpsc::channel::<()>();
    let (hung, is_hung) = tokio::sync::oneshot::channel();
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .alone(move |_| {
                    let _ = hung.send(());
                    let _ = goes_on.recv();
                    Ok(())
                })
                .await
        }
    });
    is_hung.await.unwrap();
    let revocation = end_of(1, after(60));
    let rejected = store.revoke(std::slice::from_ref(&revocation)).await;
    let limit = Duration::from_secs(2);
    assert!(matches!(rejected, Err(StoreError::TimedOut(time)) if time == limit));
    // Reads don't wait for writes.
    let keys: [KeyDigest; 1] = [revocation.key().digest()];
    tokio::time::resume();
    assert_eq!(store.look_up(&keys).await.unwrap(), [None]);
    drop(hangs);
    writer.await.unwrap().unwrap();
    // The write that timed out was not done.
    store.revoke(&[]).await.unwrap();
    assert_eq!(store.look_up(&keys).await.unwrap(), [None]);
    store
        .revoke(std::slice::from_ref(&revocation))
        .await
        .unwrap();
    assert!(store.look_up(&keys).await.unwrap()[0].is_some());
}
