//! Tests that fresh answers come only from a server that accepts writes.

use tower_revoke_core::{ChangeFeed, Cursor, Lift, Store, UseOutcome};
use tower_revoke_store_redis::{RedisStore, RedisStoreError};
use tower_revoke_tests::{
    feed::whole_feed,
    load::{key, new_use, now, revocation},
    servers::{Redis, is_outage},
};

/// Asserts that neither the feed nor a look-up answers.
async fn answers_nothing(store: &RedisStore, since: &Cursor) {
    let page = store.changes(Some(since)).await.unwrap_err();
    assert!(is_outage(&page), "{page:?}");
    let listed = store.look_up(&[key(1)]).await.unwrap_err();
    assert!(is_outage(&listed), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_became_a_replica_answers_nothing() {
    let (old, new) = (Redis::start(&[]).await, Redis::start(&[]).await);
    let store = RedisStore::connect(&old.url()).await.unwrap();
    store.revoke(&[revocation(1)]).await.unwrap();
    let seen = whole_feed(&store).await.next;
    let url = new.url();
    let (_, port) = url.rsplit_once(':').unwrap();
    old.cli(&["REPLICAOF", "127.0.0.1", port]);
    answers_nothing(&store, &seen).await;
    old.cli(&["REPLICAOF", "NO", "ONE"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_cut_off_from_its_replicas_answers_nothing() {
    let redis = Redis::start(&[]).await;
    let store = RedisStore::connect(&redis.url()).await.unwrap();
    store.revoke(&[revocation(1)]).await.unwrap();
    let seen = whole_feed(&store).await.next;
    redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    answers_nothing(&store, &seen).await;
    redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    store.changes(Some(&seen)).await.unwrap();
    assert!(store.look_up(&[key(1)]).await.unwrap()[0].is_some());
}

/// Returns the number of changes to the data set so far.
fn writes(redis: &Redis) -> String {
    let info = redis.cli(&["INFO", "persistence"]);
    let line = info
        .lines()
        .find(|line| line.starts_with("rdb_changes_since_last_save"));
    line.expect("the number of changes").to_owned()
}

/// Loads an index that changes between pages, and then reads a page of the feed.
#[tokio::test(flavor = "multi_thread")]
async fn reading_writes_nothing() {
    let redis = Redis::start(&["--save", ""]).await;
    let store = RedisStore::connect(&redis.url()).await.unwrap();
    let all: Vec<_> = (0..5_000).map(revocation).collect();
    store.revoke(&all).await.unwrap();
    for number in 10_000..10_010 {
        store.take_use(&new_use(number, 1, 1), now()).await.unwrap();
    }
    let mut page = store.changes(None).await.unwrap();
    let mut read = page.changes.len();
    // The last key of the page leaves the index, so the next page can't continue by its rank.
    for number in 0..5_000 {
        if page
            .changes
            .last()
            .is_some_and(|last| *last.key() == key(number))
        {
            let lift = Lift::new(revocation(number).key().clone()).at(now());
            assert!(store.lift(&lift).await.unwrap());
        }
    }
    let before = writes(&redis);
    while page.more {
        page = store.changes(Some(&page.next)).await.unwrap();
        read += page.changes.len();
    }
    store.look_up(&[key(1), key(2)]).await.unwrap();
    assert_eq!(writes(&redis), before);
    assert!(read >= 5_010, "{read}");
    let spent = store.take_use(&new_use(10_000, 2, 1), now()).await.unwrap();
    assert_eq!(spent, UseOutcome::Spent);
}

/// A read-only login is rejected when the store opens.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_not_write_is_rejected() {
    let redis = Redis::start(&[]).await;
    let may = "+@read +@connection +info +role +script|load +config|get";
    let mut user = vec!["ACL", "SETUSER", "reader", "on", ">secret", "~*", "&*"];
    user.extend(may.split(' '));
    redis.cli(&user);
    let url = redis.url().replace("redis://", "redis://reader:secret@");
    let error = RedisStore::connect(&url).await.unwrap_err();
    assert!(
        matches!(error, RedisStoreError::Forbidden { .. }),
        "{error:?}"
    );
}
