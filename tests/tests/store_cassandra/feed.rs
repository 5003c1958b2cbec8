//! Tests the logs of the writers: buckets that are deleted, and loads that outlast them.

use std::collections::HashSet;

use tower_revoke_core::{Change, ChangeFeed, Cursor, KeyDigest, Revocation, Store, StoreError};
use tower_revoke_tests::servers::SharedCassandra;

use super::tools::{driver, key, keyspace, numbers, revocation};

/// A follower of the feed.
#[derive(Default)]
struct Follower {
    cursor: Option<Cursor>,
    listed: HashSet<KeyDigest>,
}

impl Follower {
    fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Listed { key, .. } => self.listed.insert(key),
                Change::Lifted { key, .. } => self.listed.remove(&key),
                other => panic!("{other:?}"),
            };
        }
    }

    async fn catch_up(&mut self, feed: &dyn ChangeFeed) {
        let mut more = true;
        while more {
            let page = feed.changes(self.cursor.as_ref()).await.expect("a page");
            self.take(page.changes);
            (self.cursor, more) = (Some(page.next), page.more);
        }
    }

    fn knows_all(&self, numbers: impl IntoIterator<Item = u64>) -> bool {
        let mut numbers = numbers.into_iter();
        numbers.all(|number| self.listed.contains(&key(number)))
    }
}

/// A log in one partition would grow for as long as changes are kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_deleted_bucket_by_bucket() {
    let server = SharedCassandra::start().await;
    let address = server.address();
    let name = format!("Buckets_{}", std::process::id());
    let builder = keyspace(&address, &name).await.feed_capacity(100);
    let store = builder.clone().connect().await.expect("a running server");
    let feed = store.feed().expect("a feed");
    let mut follower = Follower::default();
    store.revoke(&[revocation(0)]).await.expect("a revocation");
    follower.catch_up(feed).await;
    let begun = follower.cursor.clone();
    for number in 1..1_000 {
        let revoked = store.revoke(&[revocation(number)]).await;
        revoked.expect("a revocation");
        if number % 50 == 0 {
            follower.catch_up(feed).await;
            assert!(follower.knows_all([number]), "told at once");
        }
    }
    follower.catch_up(feed).await;
    assert!(follower.knows_all(0..1_000));
    let session = driver(&address).await;
    let count = format!("SELECT count(*) FROM \"{name}\".log GROUP BY writer, bucket");
    let buckets = numbers(&session, &count).await;
    assert!(
        buckets.iter().all(|entries| *entries < 400) && buckets.len() <= 3,
        "entries in each bucket: {buckets:?}"
    );
    let missed = feed.changes(begun.as_ref()).await;
    assert!(
        matches!(missed, Err(StoreError::CursorTooOld)),
        "{missed:?}"
    );
    // Another handle finds the last bucket.
    let other = builder.clone().connect().await.expect("a running server");
    let feed = other.feed().expect("a feed");
    let end = feed.end().await.expect("an answer").expect("an end");
    store
        .revoke(&[revocation(1_001)])
        .await
        .expect("a revocation");
    let since = feed.changes(Some(&end)).await.expect("a page").changes;
    let told: Vec<_> = since.iter().map(Change::key).collect();
    assert!(told.contains(&&key(1_001)) && told.len() < 5, "{told:?}");
}

/// TRAPS 55: by the end of a load, the log was trimmed after the position where the load began.
#[tokio::test(flavor = "multi_thread")]
async fn trap_55_a_load_ends_while_more_is_written_than_the_feed_keeps() {
    const ROWS: u64 = 20_000;
    let server = SharedCassandra::start().await;
    let name = format!("Load_{}", std::process::id());
    let builder = keyspace(&server.address(), &name).await.feed_capacity(1);
    let store = builder.connect().await.expect("a running server");
    let rows: Vec<Revocation> = (0..ROWS).map(revocation).collect();
    for rows in rows.chunks(1_000) {
        store.revoke(rows).await.expect("revocations");
    }
    let feed = store.feed().expect("a feed");
    let begin = feed.end().await.expect("an answer");
    let mut follower = Follower {
        cursor: begin.clone(),
        ..Follower::default()
    };
    let mut written = ROWS;
    let (mut after, mut more): (Option<Cursor>, bool) = (None, true);
    while more {
        let page = feed.listed(after.as_ref()).await.expect("a page");
        follower.take(page.changes);
        (after, more) = (Some(page.next), page.more);
        follower.catch_up(feed).await;
        // Each in an entry of its own.
        for number in written..written + 50 {
            let revoked = store.revoke(&[revocation(number)]).await;
            revoked.expect("a revocation");
        }
        written += 50;
    }
    follower.catch_up(feed).await;
    assert!(follower.knows_all(0..written));
    let missed = feed.changes(begin.as_ref()).await;
    assert!(
        matches!(missed, Err(StoreError::CursorTooOld)),
        "the load wasn't long enough: {missed:?}"
    );
}
