//! Tests one server that is killed, frozen and loses its connections.

use std::time::Duration;

use tower_revoke_core::{Store, StoreError, UseOutcome};
use tower_revoke_tests::{
    crash_tests,
    load::{key, new_use, now, revocation},
    servers::{Redis, StoreServer},
};

crash_tests!(Redis);

/// TRAPS 29: `SET NX PXAT` with a time in the past answers OK and stores nothing.
#[tokio::test(flavor = "multi_thread")]
async fn trap_29_an_expired_use_is_rejected_before_redis_is_called() {
    let redis = Redis::start(&[]).await;
    let store = redis.open().await;
    // The server can't answer.
    redis.freeze();
    for ago in [0, 1, 3600] {
        let mut use_ = new_use(1, 1, 1);
        let now = now();
        use_.until = Some(now.saturating_sub(Duration::from_secs(ago)));
        let rejected = store.take_use(&use_, now).await;
        assert!(matches!(rejected, Err(StoreError::Expired)), "{rejected:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_and_scripts_cause_no_errors() {
    let redis = Redis::start(&[]).await;
    let store = redis.open().await;
    for number in 0..5 {
        store.revoke(&[revocation(number)]).await.unwrap();
        redis.cli(&["SCRIPT", "FLUSH"]);
        assert_eq!(
            store.take_use(&new_use(number, 1, 1), now()).await.unwrap(),
            UseOutcome::Taken { left: 0 }
        );
        redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    assert!(store.look_up(&[key(4)]).await.unwrap()[0].is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_keys_have_no_ttl() {
    let redis = Redis::start(&[]).await;
    let store = redis.open().await;
    store.revoke(&[revocation(1)]).await.unwrap();
    store.take_use(&new_use(2, 1, 1), now()).await.unwrap();
    store.take_use(&new_use(3, 1, 2), now()).await.unwrap();
    let keys = redis.cli(&["KEYS", "*"]);
    assert!(keys.lines().count() >= 6, "{keys}");
    for key in keys.lines() {
        assert_eq!(redis.cli(&["PTTL", key]), "-1", "{key}");
    }
}
