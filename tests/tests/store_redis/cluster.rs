//! Tests a cluster that loses a master.

use std::time::Duration;

use tower_revoke_core::{ChangeFeed, Store, StoreError, UseOutcome};
use tower_revoke_store_redis::{RedisStore, RedisStoreError};
use tower_revoke_tests::{
    feed::whole_feed,
    load::{Load, forgotten, key, new_use, now, revocation},
    servers::{RedisCluster, StoreServer, replicas_catch_up, wait_until},
};

async fn open(cluster: &RedisCluster) -> RedisStore {
    let urls = cluster.urls();
    let store = RedisStore::cluster(urls.iter().map(String::as_str));
    store.connect().await.expect("a ready cluster")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_killed_under_load_is_replaced() {
    let mut cluster = RedisCluster::start().await;
    let stores = [open(&cluster).await, open(&cluster).await];
    let load = Load::start(&stores);
    load.goes_on(3_000).await;
    let replicated = load.so_far();
    replicas_catch_up(&cluster.servers).await;
    cluster.servers[0].kill().await;
    load.goes_on(3_000).await;
    wait_until("all slots are served again", || {
        cluster.servers[1]
            .cli(&["CLUSTER", "INFO"])
            .contains("cluster_state:ok")
    })
    .await;
    load.goes_on(3_000).await;
    let done = load.stop().await;
    let lost = done.lost(&stores[0]).await;
    println!(
        "Cluster: {} acknowledged, {lost} lost in the replication lag, {} won twice",
        done.acknowledged(),
        done.won_twice()
    );
    assert_eq!(forgotten(&stores[0], &replicated).await, 0);
    // Every token has a server again, and one winner.
    for number in 900_000..900_064 {
        let won = stores[0]
            .take_use(&new_use(number, 1, 1), now())
            .await
            .unwrap();
        assert_eq!(won, UseOutcome::Taken { left: 0 });
        let spent = stores[1]
            .take_use(&new_use(number, 2, 1), now())
            .await
            .unwrap();
        assert_eq!(spent, UseOutcome::Spent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_lost_writes_is_noticed() {
    let mut cluster = RedisCluster::start().await;
    let store = open(&cluster).await;
    let numbers = || 0..200_u64;
    // The replicas miss the following writes, and the first master won't come back to replicate
    // them.
    for server in &cluster.servers[3..] {
        server.freeze();
    }
    for server in &cluster.servers[..3] {
        server.cut_replicas();
    }
    for number in numbers() {
        store.revoke(&[revocation(number)]).await.unwrap();
    }
    let known = whole_feed(&store).await;
    cluster.servers[0].kill().await;
    for server in &cluster.servers[3..] {
        server.thaw();
    }
    let notices = async {
        loop {
            match store.changes(Some(&known.next)).await {
                Err(StoreError::Unavailable(_) | StoreError::TimedOut(_)) => {}
                Ok(page) => assert!(page.changes.is_empty(), "there are no writes"),
                Err(noticed) => return noticed,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let noticed = tokio::time::timeout(Duration::from_secs(60), notices).await;
    let noticed = noticed.expect("the lost writes are noticed");
    assert!(
        matches!(noticed, StoreError::HistoryWentBack),
        "{noticed:?}"
    );
    store.restore(&known.changes).await.unwrap();
    let keys: Vec<_> = numbers().map(key).collect();
    let found = store.look_up(&keys).await.unwrap();
    assert!(found.iter().all(Option::is_some));
}

#[tokio::test(flavor = "multi_thread")]
async fn migrated_slots_keep_their_tokens() {
    let cluster = RedisCluster::start().await;
    let store = open(&cluster).await;
    for number in 0..200 {
        store.take_use(&new_use(number, 1, 1), now()).await.unwrap();
    }
    let id = |server: usize| cluster.servers[server].cli(&["CLUSTER", "MYID"]);
    let load = Load::start(&[store.clone(), open(&cluster).await]);
    load.goes_on(500).await;
    let (from, to) = (id(0), id(1));
    let url = format!("127.0.0.1:{}", cluster.servers[0].port());
    let args = ["--cluster-from", &from, "--cluster-to", &to];
    let said = [&["--cluster", "reshard", &url][..], &args]
        .concat()
        .into_iter()
        .chain(["--cluster-slots", "5461", "--cluster-yes"]);
    let said = cluster.servers[0].cli(&said.collect::<Vec<_>>());
    assert!(!said.contains("ERR"), "{said}");
    load.goes_on(500).await;
    let done = load.stop().await;
    assert_eq!(done.lost(&store).await, 0);
    assert_eq!(done.won_twice(), 0);
    for number in 0..200 {
        let outcome = store.take_use(&new_use(number, 2, 1), now()).await.unwrap();
        assert_eq!(outcome, UseOutcome::Spent, "{number}");
    }
}

/// While a slot migrates, its old server redirects requests for keys that have moved, and its new
/// server lacks those that have not.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_correct_while_a_slot_migrates() {
    let cluster = RedisCluster::start().await;
    let store = open(&cluster).await;
    // Some hash tags have revocations and no uses, some uses and no revocations.
    let tag = |number: &u64| key(*number).as_bytes()[0] % 16;
    let (revoked, spent): (Vec<_>, Vec<_>) = (0..64).partition(|number| tag(number) < 8);
    for number in &revoked {
        store.revoke(&[revocation(*number)]).await.unwrap();
    }
    for number in &spent {
        store
            .take_use(&new_use(*number, 1, 1), now())
            .await
            .unwrap();
    }
    let id = |server: usize| cluster.servers[server].cli(&["CLUSTER", "MYID"]);
    let ids = [id(0), id(1), id(2)];
    let is_sent_away = |server: usize, name: &str| {
        let answer = cluster.servers[server].cli(&["TYPE", name]);
        answer.starts_with("MOVED")
    };
    for number in 0..16 {
        let name = format!("{{tower-revoke:{number}}}:feed");
        let slot = cluster.servers[0].cli(&["CLUSTER", "KEYSLOT", &name]);
        let from = (0..3).find(|server| !is_sent_away(*server, &name));
        let from = from.expect("the slot's master");
        let to = (from + 1) % 3;
        let set = |server: usize, state: &str, other: usize| {
            let args = ["CLUSTER", "SETSLOT", &slot, state, &ids[other]];
            assert_eq!(cluster.servers[server].cli(&args), "OK");
        };
        set(to, "IMPORTING", from);
        set(from, "MIGRATING", to);
    }
    // No key has moved yet.
    let keys: Vec<_> = (0..64).map(key).collect();
    let found = store.look_up(&keys).await.unwrap();
    assert!(found.iter().all(Option::is_some), "{found:?}");
}

/// The master is partitioned from the others, which have given its slots to its replica.
#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_master_is_abandoned() {
    let cluster = RedisCluster::start().await;
    let store = open(&cluster).await;
    let keys: Vec<_> = (0..64).map(key).collect();
    let all: Vec<_> = (0..64).map(revocation).collect();
    store.revoke(&all).await.unwrap();
    replicas_catch_up(&cluster.servers).await;
    let ids = cluster.servers.iter();
    let ids: Vec<_> = ids.map(|server| server.cli(&["CLUSTER", "MYID"])).collect();
    let heirs = cluster.servers[3..].iter();
    let mut heirs = heirs.filter(|heir| {
        heir.cli(&["CLUSTER", "NODES"])
            .lines()
            .any(|line| line.contains("myself") && line.contains(&ids[0]))
    });
    let heir = heirs.next().expect("a replica");
    for id in &ids[1..] {
        cluster.servers[0].cli(&["CLUSTER", "FORGET", id]);
    }
    assert_eq!(heir.cli(&["CLUSTER", "FAILOVER", "TAKEOVER"]), "OK");
    wait_until("the master notices the partition", || {
        let info = cluster.servers[0].cli(&["CLUSTER", "INFO"]);
        info.contains("cluster_state:fail")
    })
    .await;
    let found = async {
        loop {
            if let Ok(found) = store.look_up(&keys).await {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(60), found).await;
    let found = found.expect("another server has its slots");
    assert!(found.iter().all(Option::is_some), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_and_a_single_server_are_not_mixed_up() {
    let cluster = RedisCluster::start().await;
    let error = RedisStore::connect(&cluster.urls()[0]).await.unwrap_err();
    assert!(matches!(error, RedisStoreError::Setting(_)), "{error:?}");
}
