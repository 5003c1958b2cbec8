//! Tests the loss of a primary, with Sentinel.

use std::{slice, time::Duration};

use tower_revoke_core::{ChangeFeed, Store, StoreError, UseOutcome};
use tower_revoke_store_redis::{RedisStore, RedisStoreBuilder, RedisStoreError};
use tower_revoke_tests::{
    feed::whole_feed,
    load::{Load, forgotten, key, new_use, now, revocation},
    servers::{Redis, StoreServer, WatchedRedis, replicas_catch_up, wait_until},
};

fn store(servers: &WatchedRedis) -> RedisStoreBuilder {
    RedisStore::sentinel(WatchedRedis::NAME, [servers.url().as_str()])
}

async fn open(servers: &WatchedRedis) -> RedisStore {
    let store = store(servers).connect().await;
    store.expect("a running primary")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_killed_under_load_is_replaced() {
    let mut servers = WatchedRedis::start().await;
    let stores = [open(&servers).await, open(&servers).await];
    let load = Load::start(&stores);
    load.goes_on(2_000).await;
    let replicated = load.so_far();
    replicas_catch_up(&servers.servers).await;
    servers.servers[0].kill().await;
    load.goes_on(2_000).await;
    let done = load.stop().await;
    // Without restarting the store.
    let lost = done.lost(&stores[0]).await;
    let won_twice = done.won_twice();
    println!(
        "Sentinel: {} acknowledged, {lost} lost in the replication lag, {won_twice} won twice",
        done.acknowledged()
    );
    assert_eq!(forgotten(&stores[0], &replicated).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_went_back_is_noticed_and_written_back() {
    let mut servers = WatchedRedis::start().await;
    let store = open(&servers).await;
    store.revoke(&[revocation(1)]).await.unwrap();
    wait_until("the replica has it", || {
        let index = "{tower-revoke:0}:listed-by-end";
        servers.servers[1].cli(&["ZCARD", index]) == "1"
    })
    .await;

    // The replica misses the following writes.
    servers.servers[1].freeze();
    servers.servers[0].cut_replicas();
    store.revoke(&[revocation(2)]).await.unwrap();
    let use_ = new_use(3, 7, 1);
    assert_eq!(
        store.take_use(&use_, now()).await.unwrap(),
        UseOutcome::Taken { left: 0 }
    );
    let known = whole_feed(&store).await;
    servers.servers[0].kill().await;
    servers.servers[1].thaw();
    wait_until("the replica is the primary", || {
        servers.servers[1].cli(&["ROLE"]).starts_with("master")
    })
    .await;

    // Even after new history has grown past what was lost.
    for number in 10..20 {
        while store.revoke(&[revocation(number)]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let found = store.look_up(&[key(1), key(2), key(3)]).await.unwrap();
    assert!(found[0].is_some() && found[1].is_none() && found[2].is_none());
    assert!(matches!(
        store.changes(Some(&known.next)).await,
        Err(StoreError::HistoryWentBack)
    ));
    store.restore(&known.changes).await.unwrap();
    store.take_use(&use_, now()).await.unwrap();
    let found = store.look_up(&[key(1), key(2), key(3)]).await.unwrap();
    assert!(found.iter().all(Option::is_some), "{found:?}");
    assert!(whole_feed(&store).await.changes.len() >= 13);
}

/// Makes the sentinel name another primary, without notifying the old one. The new primary has a
/// replica.
async fn another_primary(servers: &mut WatchedRedis) -> [Redis; 2] {
    let primary = Redis::start(&[]).await;
    let port = primary.port().to_string();
    let of = format!("127.0.0.1 {port}");
    let replica = Redis::start(&["--replicaof", &of, "--repl-diskless-sync-delay", "0"]).await;
    wait_until("the new primary has a replica", || {
        primary
            .cli(&["INFO", "replication"])
            .contains("state=online")
    })
    .await;
    let name = WatchedRedis::NAME;
    let sentinel = &servers.sentinel;
    assert_eq!(sentinel.cli(&["SENTINEL", "REMOVE", name]), "OK");
    let monitor = ["SENTINEL", "MONITOR", name, "127.0.0.1", &port, "1"];
    assert_eq!(sentinel.cli(&monitor), "OK");
    servers.servers[1].kill().await;
    [primary, replica]
}

/// One primary that rejects writes without a replica, and one whose writes reach no replica.
#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_primary_is_abandoned() {
    let mut servers = WatchedRedis::start().await;
    servers.servers[0].cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let strict = open(&servers).await;
    let careful = store(&servers)
        .request_timeout(Duration::from_secs(20))
        .wait_for_replicas(1, Duration::from_secs(3));
    let careful = careful.connect().await.unwrap();
    for store in [&strict, &careful] {
        store.revoke(&[revocation(1)]).await.unwrap();
    }
    let _new = another_primary(&mut servers).await;
    wait_until("the old primary takes no writes", || {
        servers.servers[0]
            .cli(&["SET", "a", "b"])
            .starts_with("NOREPLICAS")
    })
    .await;
    strict.revoke(&[revocation(2)]).await.unwrap();

    servers.servers[0].cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    let rejected = careful.revoke(&[revocation(3)]).await;
    assert!(rejected.is_err(), "no replica has the write");
    careful.revoke(&[revocation(4)]).await.unwrap();
    // Each node reads from the server that it writes to.
    for store in [&strict, &careful] {
        let found = store.look_up(&[key(1), key(2), key(4)]).await.unwrap();
        let found: Vec<_> = found.iter().map(Option::is_some).collect();
        assert_eq!(found, [false, true, true]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_no_replica_has_is_not_acknowledged() {
    let servers = WatchedRedis::start().await;
    // On a busy machine the replica is slow too.
    let careful = store(&servers)
        .request_timeout(Duration::from_secs(20))
        .wait_for_replicas(1, Duration::from_secs(3));
    let careful = careful.connect().await.unwrap();
    careful.revoke(&[revocation(1)]).await.unwrap();
    // Concurrent writes share one wait for the replica.
    let uses = (0..200).map(|number| {
        let careful = careful.clone();
        tokio::spawn(async move { careful.take_use(&new_use(number, 1, 1), now()).await })
    });
    for use_ in uses.collect::<Vec<_>>() {
        assert_eq!(use_.await.unwrap().unwrap(), UseOutcome::Taken { left: 0 });
    }

    servers.servers[1].freeze();
    let (revoked, used) = (revocation(900).because(""), new_use(901, 1, 1));
    for error in [
        careful.revoke(slice::from_ref(&revoked)).await.unwrap_err(),
        careful.take_use(&used, now()).await.unwrap_err(),
    ] {
        let StoreError::Unavailable(source) = &error else {
            panic!("{error:?}");
        };
        assert!(
            matches!(
                source.downcast_ref(),
                Some(RedisStoreError::TooFewReplicas {
                    acknowledged: 0,
                    wanted: 1
                })
            ),
            "{source:?}"
        );
    }
    // Repeating the same writes over a new connection writes nothing, and no replica has them yet.
    for repeated in [
        careful.revoke(slice::from_ref(&revoked)).await,
        careful.take_use(&used, now()).await.map(drop),
    ] {
        repeated.unwrap_err();
    }
    // The outcome is unknown to the caller; the use did succeed, and belongs to this caller alone.
    servers.servers[1].thaw();
    let mine = loop {
        if let Ok(outcome) = careful.take_use(&new_use(901, 1, 1), now()).await {
            break outcome;
        }
    };
    assert_eq!(mine, UseOutcome::Taken { left: 0 });
    assert_eq!(
        careful.take_use(&new_use(901, 2, 1), now()).await.unwrap(),
        UseOutcome::Spent
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_sentinel_knows_is_an_error() {
    let servers = WatchedRedis::start().await;
    let error = RedisStore::sentinel("somebody", [servers.url().as_str()])
        .connect()
        .await
        .unwrap_err();
    assert!(
        matches!(error, RedisStoreError::NoPrimary { .. }),
        "{error:?}"
    );
    // One of two sentinels is enough.
    let urls = ["redis://127.0.0.1:1", &servers.url()];
    let store = RedisStore::sentinel(WatchedRedis::NAME, urls)
        .connect()
        .await;
    store.expect("a running sentinel");
}
