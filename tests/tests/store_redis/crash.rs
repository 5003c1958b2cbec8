//! One server that is killed, frozen and robbed of its connections.

use std::time::Duration;

use tower_revoke_core::{ClaimOutcome, Store, StoreError};
use tower_revoke_store_redis::RedisStore;
use tower_revoke_tests::servers::Redis;

use tower_revoke_tests::load::{Load, claim, key, revocation};

async fn open(redis: &Redis) -> RedisStore {
    let store = RedisStore::connect(&redis.url()).await;
    store.expect("a server that is up")
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_lose_nothing_that_was_acknowledged() {
    let mut redis = Redis::start(&[]).await;
    let load = Load::start(&[open(&redis).await, open(&redis).await]);
    for _ in 0..10 {
        load.goes_on(300).await;
        redis.kill().await;
        redis.restart().await;
    }
    load.goes_on(300).await;
    let done = load.stop().await;
    assert_eq!(done.lost(&open(&redis).await).await, 0);
    assert_eq!(done.won_twice(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_given_up_in_time_and_taken_again() {
    let redis = Redis::start(&[]).await;
    let store = RedisStore::single(&redis.url()).answer_within(Duration::from_millis(500));
    let store = store.connect().await.expect("a server that is up");
    redis.freeze();
    for round in 0..3 {
        let (claim, keys) = (claim(1, 1, 1), [key(1)]);
        let answers = async {
            tokio::join!(
                store.claim(&claim),
                store.look_up(&keys),
                store.changes(None),
            )
        };
        // Far more than it may take: the test is that it ends.
        let answers = tokio::time::timeout(Duration::from_secs(30), answers).await;
        let (claimed, found, changes) = answers.expect("an answer in bounded time");
        assert!(is_late(&claimed.unwrap_err()), "round {round}");
        assert!(is_late(&found.unwrap_err()), "round {round}");
        assert!(is_late(&changes.unwrap_err()), "round {round}");
    }
    redis.thaw();
    let mine = loop {
        match store.claim(&claim(1, 1, 1)).await {
            Ok(outcome) => break outcome,
            // For a moment, all are told of the last attempt to connect.
            Err(error) => assert!(is_late(&error)),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(mine, ClaimOutcome::Won { left: 0 });
    assert_eq!(
        store.claim(&claim(1, 2, 1)).await.unwrap(),
        ClaimOutcome::Spent
    );
}

/// TRAPS 29: `SET NX PXAT` with a time in the past answers OK and keeps nothing.
#[tokio::test(flavor = "multi_thread")]
async fn trap_29_a_life_that_is_past_is_refused_before_redis_is_asked() {
    let redis = Redis::start(&[]).await;
    let store = open(&redis).await;
    // Nobody is there who could answer.
    redis.freeze();
    for ago in [0, 1, 3600] {
        let mut claim = claim(1, 1, 1);
        let now = tower_revoke_core::Clock::system().now();
        claim.until = Some(now.saturating_sub(Duration::from_secs(ago)));
        let refused = store.claim(&claim).await;
        assert!(
            matches!(refused, Err(StoreError::LifeIsPast)),
            "{refused:?}"
        );
    }
}

fn is_late(error: &StoreError) -> bool {
    matches!(error, StoreError::TimedOut(_) | StoreError::Unavailable(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_and_scripts_are_no_matter() {
    let redis = Redis::start(&[]).await;
    let store = open(&redis).await;
    for number in 0..5 {
        store.revoke(&[revocation(number)]).await.unwrap();
        redis.cli(&["SCRIPT", "FLUSH"]);
        assert_eq!(
            store.claim(&claim(number, 1, 1)).await.unwrap(),
            ClaimOutcome::Won { left: 0 }
        );
        redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    assert!(store.look_up(&[key(4)]).await.unwrap()[0].is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_has_no_time_to_live() {
    let redis = Redis::start(&[]).await;
    let store = open(&redis).await;
    store.revoke(&[revocation(1)]).await.unwrap();
    store.claim(&claim(2, 1, 1)).await.unwrap();
    store.claim(&claim(3, 1, 2)).await.unwrap();
    let keys = redis.cli(&["KEYS", "*"]);
    assert!(keys.lines().count() >= 6, "{keys}");
    for key in keys.lines() {
        assert_eq!(redis.cli(&["PTTL", key]), "-1", "{key}");
    }
}
