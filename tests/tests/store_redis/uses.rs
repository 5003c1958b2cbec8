//! Tests batched uses, and the index by which uses are loaded and purged.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use tower_revoke_core::{
    Change, ChangeFeed, Clock, KeyDigest, Revocation, Store, StoreError, UnixTime, Use, UseOutcome,
};
use tower_revoke_store_redis::RedisStore;
use tower_revoke_tests::{
    feed::whole_feed,
    load::{key, new_use, now, revocation},
    servers::Redis,
};

/// More than one script purges.
const TOKENS: u64 = 2_000;

async fn open(redis: &Redis) -> RedisStore {
    let store = RedisStore::connect(&redis.url()).await;
    store.expect("a running server")
}

/// Returns `start` plus this many seconds; no test's tokens expire before `start`.
fn at(start: UnixTime, seconds: u64) -> UnixTime {
    UnixTime::from_secs(start.as_secs() + 10_000 + seconds)
}

/// Returns the tokens that a load reports as spent.
async fn loaded(store: &RedisStore) -> BTreeSet<KeyDigest> {
    let changes = whole_feed(store).await.changes.into_iter();
    let spent = changes.filter_map(|change| match change {
        Change::UsedUp { key, .. } => Some(key),
        _ => None,
    });
    spent.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_use_is_loaded_and_is_purged_at_its_last_expiry() {
    let redis = Redis::start(&[]).await;
    let store = open(&redis).await;
    let start = Clock::system().now();
    let until = |number: u64, seconds: u64| {
        let mut use_ = new_use(number, 1, 1);
        use_.until = Some(at(start, seconds));
        use_
    };
    let take_all = async |uses: Vec<Use>| {
        for outcome in join_all(uses.iter().map(|use_| store.take_use(use_, now()))).await {
            assert_eq!(outcome.unwrap(), UseOutcome::Taken { left: 0 });
        }
    };
    // In one batch, with few distinct expiry times.
    take_all((0..TOKENS).map(|n| until(n, n % 5)).collect()).await;
    // Some of them again with a longer expiry, one by one: they are in the index at up to three
    // times.
    let lasting = |n: &u64| n.is_multiple_of(3);
    for number in (0..TOKENS).filter(lasting) {
        take_all(vec![until(number, 20)]).await;
        take_all(vec![until(number, 10)]).await;
    }
    // Each alone at its expiry time.
    for number in TOKENS..TOKENS + 40 {
        take_all(vec![until(number, 1_000 + number)]).await;
        take_all(vec![until(number, 2_000 + number)]).await;
    }
    let all = |from: u64, to: u64| (from..to).map(key).collect::<BTreeSet<_>>();
    assert_eq!(loaded(&store).await, all(0, TOKENS + 40));

    let few = (0..TOKENS).filter(|n| !lasting(n)).count() as u64;
    assert_eq!(store.purge(at(start, 5)).await.unwrap(), few);
    let mut left: BTreeSet<_> = (0..TOKENS).filter(lasting).map(key).collect();
    left.extend(all(TOKENS, TOKENS + 40));
    assert_eq!(loaded(&store).await, left);
    assert_eq!(store.purge(at(start, 20)).await.unwrap(), 0);
    assert_eq!(store.purge(at(start, 21)).await.unwrap(), TOKENS - few);
    assert_eq!(loaded(&store).await, all(TOKENS, TOKENS + 40));
    assert_eq!(store.purge(at(start, 2_000)).await.unwrap(), 0);
    assert_eq!(loaded(&store).await, all(TOKENS, TOKENS + 40));
    assert_eq!(store.purge(at(start, 9_000)).await.unwrap(), 40);

    // Only the mark of what was purged remains.
    let cli =
        |command: &str, name: &str| redis.cli(&[command, &format!("{{tower-revoke:0}}:{name}")]);
    assert_eq!(cli("HKEYS", "uses"), "purged");
    assert_eq!(cli("EXISTS", "uses-by-end"), "0");
}

#[tokio::test]
async fn uses_that_have_left_the_feed_are_loaded_and_purged() {
    let redis = Redis::start(&[]).await;
    let kept = Duration::from_millis(1);
    let store = RedisStore::builder(&redis.url()).feed_retention(kept);
    let store = store.connect().await.unwrap();
    for number in 0..20 {
        store.take_use(&new_use(number, 1, 1), now()).await.unwrap();
    }
    // Nearly every script of this many trims the feed.
    let mut first = 100;
    while redis.cli(&["HEXISTS", "{tower-revoke:0}:meta", "floor"]) != "1" {
        tokio::time::sleep(5 * kept).await;
        let many: Vec<_> = (first..first + 500).map(revocation).collect();
        store.revoke(&many).await.unwrap();
        first += 500;
    }
    assert_eq!(loaded(&store).await, (0..20).map(key).collect());
    let later = UnixTime::from_secs(u64::MAX);
    assert_eq!(store.purge(later).await.unwrap(), 20 + first - 100);
    assert_eq!(redis.cli(&["HKEYS", "{tower-revoke:0}:uses"]), "purged");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_uses_taken_together_one_wins() {
    let redis = Redis::start(&[]).await;
    let store = open(&redis).await;
    // The first two run alone, and all others wait for them.
    let uses: Vec<_> = (0..100)
        .flat_map(|number| [new_use(number, 1, 1), new_use(number, 2, 1)])
        .collect();
    let outcomes = join_all(uses.iter().map(|use_| store.take_use(use_, now()))).await;
    for outcomes in outcomes.chunks(2) {
        let won = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Ok(UseOutcome::Taken { left: 0 })));
        assert_eq!(won.count(), 1, "{outcomes:?}");
    }
}

#[tokio::test]
async fn a_full_server_is_loaded_and_purged() {
    let redis = Redis::start(&[]).await;
    let store = open(&redis).await;
    store.revoke(&[revocation(0)]).await.unwrap();
    for number in 1..4 {
        store.take_use(&new_use(number, 1, 1), now()).await.unwrap();
    }
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(loaded(&store).await.len(), 3);
    let later = UnixTime::from_secs(u64::MAX);
    assert_eq!(store.purge(later).await.unwrap(), 4);
    // The server is still full, because the room that was freed is far too little; what it can free
    // is in the error.
    assert!(matches!(
        store.revoke(&[revocation(5)]).await,
        Err(StoreError::Full(0))
    ));
}

#[tokio::test]
async fn a_load_of_a_full_server_continues_after_a_purge() {
    let redis = Redis::start(&[]).await;
    let store = open(&redis).await;
    let start = Clock::system().now();
    let ends = (0..3_000)
        .map(|n| Revocation::of_token(new_use(n, 1, 1).token, None).retained(Some(at(start, n))));
    store.revoke(&ends.collect::<Vec<_>>()).await.unwrap();
    let page = store.changes(None).await.unwrap();
    assert!(page.more);
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(store.purge(at(start, 2_100)).await.unwrap(), 2_100);
    let mut page = store.changes(Some(&page.next)).await.unwrap();
    let mut told = page.changes.len();
    while page.more {
        page = store.changes(Some(&page.next)).await.unwrap();
        told += page.changes.len();
    }
    assert!(told >= 900, "{told}");
}

/// A use that is returned and taken again keeps its place.
#[tokio::test(flavor = "multi_thread")]
async fn the_index_grows_with_tokens_not_with_uses() {
    let redis = Redis::start(&[]).await;
    let store = open(&redis).await;
    let index = "{tower-revoke:0}:uses-by-end";
    let mut keys_in_it = None;
    for round in 0..3 {
        for number in 0..30 {
            for turn in 0..50 {
                let mut again = new_use(number, round * 50 + turn, 1);
                again.until = Some(UnixTime::from_secs(4_000_000_000));
                store.take_use(&again, now()).await.unwrap();
                assert!(store.return_use(&again).await.unwrap());
            }
        }
        assert_eq!(loaded(&store).await.len(), 0);
        // A purge first indexes the new entries of the feed.
        assert_eq!(store.purge(UnixTime::EPOCH).await.unwrap(), 0);
        let places = redis.cli(&["ZRANGE", index, "0", "-1"]);
        assert_eq!(*keys_in_it.get_or_insert(places.len()), places.len());
    }
    let last = UnixTime::from_secs(4_000_000_001);
    assert_eq!(store.purge(last).await.unwrap(), 30);
    assert_eq!(redis.cli(&["EXISTS", index]), "0");
}

/// However many uses of one token there are, no script removes them all.
#[tokio::test(flavor = "multi_thread")]
async fn many_uses_of_one_token_are_purged_in_steps() {
    let redis = Redis::start(&[]).await;
    let store = open(&redis).await;
    let start = Clock::system().now();
    let uses = (0..2_000).map(|id| {
        let mut use_ = new_use(1, id, 2_000);
        use_.until = Some(at(start, 0));
        use_
    });
    let uses: Vec<_> = uses.collect();
    for outcome in join_all(uses.iter().map(|one| store.take_use(one, now()))).await {
        assert!(matches!(outcome.unwrap(), UseOutcome::Taken { .. }));
    }
    redis.cli(&["CONFIG", "RESETSTAT"]);
    assert_eq!(store.purge(at(start, 1)).await.unwrap(), 2_000);
    let scripts = redis.cli(&["INFO", "commandstats"]);
    let scripts = scripts.lines().find_map(|line| {
        let calls = line.strip_prefix("cmdstat_evalsha:calls=")?;
        calls.split(',').next()?.parse::<u64>().ok()
    });
    assert!(scripts.is_some_and(|scripts| scripts >= 4), "{scripts:?}");
    assert_eq!(redis.cli(&["EXISTS", "{tower-revoke:0}:held"]), "0");
    assert_eq!(redis.cli(&["HKEYS", "{tower-revoke:0}:uses"]), "purged");
}

/// The future of each request contains it, and so do all futures around that.
#[tokio::test]
async fn the_future_of_a_use_is_small() {
    let redis = Redis::start(&[]).await;
    let store = open(&redis).await;
    let use_ = new_use(1, 1, 1);
    let size = size_of_val(&store.take_use(&use_, now()));
    println!("{size} bytes");
    assert!(size <= 3_000, "{size} bytes");
}
