//! What is kept, for how long, and what becomes of its room.

use std::{fs, path::Path, time::Duration};

use tower_revoke_core::{
    ChangeFeed, Clock, Cursor, KeyDigest, Revocation, Store, StoreError, TokenId, UnixTime,
};
use tower_revoke_list::{MirrorState, RevocationList};
use tower_revoke_testing::{Behavior, ScriptedStore, StoreOp};

use super::NOW;
use crate::EmbeddedStore;

fn end_of(number: u32, until: UnixTime) -> Revocation {
    let token = TokenId::of_jwt("keeping", &number.to_string());
    Revocation::of_token(token, None).retained(Some(until))
}

fn after(secs: u64) -> UnixTime {
    NOW.saturating_add(Duration::from_secs(secs))
}

async fn revoke(store: &EmbeddedStore, number: u32) {
    store.revoke(&[end_of(number, after(60))]).await.unwrap();
}

async fn seen_since(store: &EmbeddedStore, cursor: &Cursor) -> Result<usize, StoreError> {
    Ok(store.changes(Some(cursor)).await?.changes.len())
}

async fn is_too_old(store: &EmbeddedStore, cursor: &Cursor) {
    let rejected = seen_since(store, cursor).await;
    assert!(
        matches!(rejected, Err(StoreError::CursorTooOld)),
        "{rejected:?}"
    );
}

#[tokio::test]
async fn the_feed_keeps_so_many_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let open = |kept| {
        EmbeddedStore::builder(&path)
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
    is_too_old(&store, &start).await;
    // With nothing left, the feed goes on where it was, also after a restart.
    drop(store);
    let store = open(0);
    let now = store.changes(None).await.unwrap().next;
    revoke(&store, 4).await;
    is_too_old(&store, &now).await;
    drop(store);
    let store = open(10);
    is_too_old(&store, &now).await;
    let now = store.changes(None).await.unwrap().next;
    revoke(&store, 5).await;
    assert_eq!(seen_since(&store, &now).await.unwrap(), 1);
}

#[tokio::test]
async fn the_feed_keeps_changes_for_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = Clock::manual(NOW);
    let builder = EmbeddedStore::builder(folder.path().join("a")).clock(clock);
    let store = builder
        .feed_retention(Duration::from_secs(10))
        .open()
        .unwrap();
    let start = store.changes(None).await.unwrap().next;
    revoke(&store, 0).await;
    hand.advance(Duration::from_secs(10));
    revoke(&store, 1).await;
    assert_eq!(seen_since(&store, &start).await.unwrap(), 2);
    hand.advance(Duration::from_secs(1));
    revoke(&store, 2).await;
    is_too_old(&store, &start).await;
    // Who is up to date stays so, however long nothing happens.
    let now = store.changes(None).await.unwrap().next;
    hand.advance(Duration::from_secs(100_000));
    revoke(&store, 3).await;
    assert_eq!(seen_since(&store, &now).await.unwrap(), 1);
}

/// TRAPS 55: by the end of a load, the feed had trimmed the position where the load began.
#[tokio::test]
async fn trap_55_a_load_ends_while_more_is_written_than_the_feed_keeps() {
    const ROWS: u32 = 50_000;
    let folder = tempfile::tempdir().unwrap();
    let builder = EmbeddedStore::builder(folder.path().join("a")).feed_capacity(100);
    let store = builder
        .request_timeout(Duration::from_secs(600))
        .open()
        .unwrap();
    let until = UnixTime::from_secs(4_000_000_000);
    let some = move |numbers: std::ops::Range<u32>| -> Vec<_> {
        numbers.map(|number| end_of(number, until)).collect()
    };
    store.revoke(&some(0..ROWS)).await.unwrap();
    let (scripted, script) = ScriptedStore::over(store.clone());
    // Each page takes long enough for what is written meanwhile.
    let slow = Behavior::Slow(Duration::from_millis(20));
    script.set(StoreOp::Changes, slow);
    let writer = tokio::spawn(async move {
        for page in 0.. {
            script.called(StoreOp::Changes, u64::from(page) + 1).await;
            let first = ROWS + page * 30;
            store.revoke(&some(first..first + 30)).await.unwrap();
        }
    });
    let list = RevocationList::builder(scripted)
        .store_timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    list.ready().await.unwrap();
    let stats = list.stats();
    assert_eq!((stats.mirror, stats.mirror_reloads), (MirrorState::Live, 0));
    assert!(stats.mirrored > u64::from(ROWS) + 300, "{stats:?}");
    writer.abort();
}

/// More changes than a row of the feed, and than a page.
#[tokio::test]
async fn a_large_group_is_told_whole() {
    let folder = tempfile::tempdir().unwrap();
    let builder = EmbeddedStore::builder(folder.path().join("a"));
    let builder = builder.request_timeout(Duration::from_secs(600));
    let store = builder.open().unwrap();
    let start = store.changes(None).await.unwrap().next;
    let many: Vec<_> = (0..10_000)
        .map(|number| end_of(number, after(60)))
        .collect();
    store.revoke(&many).await.unwrap();
    let (mut cursor, mut seen) = (start, 0);
    loop {
        let page = store.changes(Some(&cursor)).await.unwrap();
        seen += page.changes.len();
        cursor = page.next;
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, many.len());
}

fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    let bytes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => size(&entry.path()),
        // Journals reserve their room.
        false if entry.path().extension().is_some_and(|name| name == "jnl") => 0,
        false => entry.metadata().unwrap().len(),
    });
    bytes.sum()
}

#[tokio::test]
async fn a_purge_gives_room_back_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let builder = EmbeddedStore::builder(&path).feed_capacity(100);
    let store = builder
        .request_timeout(Duration::from_secs(600))
        .open()
        .unwrap();
    let long = "long ".repeat(2_000);
    let many = (0..4_000).map(|n| end_of(n, after(60)).because(&long));
    let many: Vec<_> = many.collect();
    store.revoke(&many).await.unwrap();
    super::flush(&store);
    let kept = end_of(1_000_000, after(61));
    store.revoke(std::slice::from_ref(&kept)).await.unwrap();
    let mut full = 0;
    // It is written in the background.
    while full < 30 << 20 {
        tokio::task::yield_now().await;
        full = size(&path);
    }
    assert_eq!(store.purge(after(61)).await.unwrap(), 4_000);
    // The files go with the next ones that are written.
    revoke(&store, 1).await;
    super::flush(&store);
    let left = size(&path);
    assert!(left < full / 8, "{left} of {full} bytes are left");
    let keys = [kept.key().digest(), many[0].key().digest()];
    let listed = store.look_up(&keys).await.unwrap();
    assert!(listed[0].is_some() && listed[1].is_none());
    drop(store);
    let store = EmbeddedStore::open(&path).unwrap();
    assert!(store.look_up(&[kept.key().digest()]).await.unwrap()[0].is_some());
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path().join("a")).unwrap();
    let (hangs, goes_on) = std::sync::mpsc::channel::<()>();
    let (hung, is_hung) = tokio::sync::oneshot::channel();
    let other = store.clone();
    let writer = tokio::spawn(async move {
        let hang = other.alone(move |_| {
            let _ = hung.send(());
            let _ = goes_on.recv();
        });
        hang.await;
    });
    is_hung.await.unwrap();
    let revocation = [end_of(1, after(60))];
    let rejected = store.revoke(&revocation).await;
    let limit = Duration::from_secs(2);
    assert!(matches!(rejected, Err(StoreError::TimedOut(time)) if time == limit));
    // Reads don't wait for writes.
    let keys: [KeyDigest; 1] = [revocation[0].key().digest()];
    tokio::time::resume();
    assert_eq!(store.look_up(&keys).await.unwrap(), [None]);
    drop(hangs);
    writer.await.unwrap();
    // Nobody waited for it any more: it was not done.
    store.alone(|_| ()).await;
    assert_eq!(store.look_up(&keys).await.unwrap(), [None]);
    store.revoke(&revocation).await.unwrap();
    assert!(store.look_up(&keys).await.unwrap()[0].is_some());
}
