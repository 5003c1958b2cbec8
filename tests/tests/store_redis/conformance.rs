//! The conformance suite on one server, and on a cluster.

use std::sync::{Mutex, OnceLock};

use tower_revoke_core::Clock;
use tower_revoke_store_redis::RedisStore;
use tower_revoke_testing::{
    conformance::{Ability, Fault, Fixture},
    store_conformance,
};
use tower_revoke_tests::{
    conformance::{keeps_every_clause, own_name},
    servers::{Redis, RedisCluster, SharedRedis, StoreServer},
};

/// A separate namespace on one server.
struct Single {
    server: Server,
    prefix: String,
}

enum Server {
    Unharmed(Box<SharedRedis>),
    Alone(Box<Alone>),
}

struct Alone {
    redis: tokio::sync::Mutex<Redis>,
    backup: Mutex<Vec<u8>>,
}

impl Fixture for Single {
    type Store = RedisStore;

    async fn empty(_: Clock) -> Self {
        Self {
            server: Server::Unharmed(Box::new(SharedRedis::start().await)),
            prefix: own_name(),
        }
    }

    async fn alone(_: Clock) -> Self {
        Self {
            server: Server::Alone(Box::new(Alone {
                redis: tokio::sync::Mutex::new(Redis::start(&[]).await),
                backup: Mutex::default(),
            })),
            prefix: own_name(),
        }
    }

    async fn open(&self) -> RedisStore {
        let url = match &self.server {
            Server::Unharmed(server) => server.url(),
            Server::Alone(alone) => alone.redis.lock().await.url(),
        };
        let store = RedisStore::builder(&url).key_prefix(&self.prefix);
        store.connect().await.expect("a running server")
    }

    async fn inject(&self, fault: Fault) {
        let Server::Alone(alone) = &self.server else {
            panic!("{fault:?} on a shared server");
        };
        let Alone { redis, backup } = &**alone;
        let mut redis = redis.lock().await;
        if redis.suffers(fault).await {
            return;
        }
        // A server that never rewrote its AOF has everything in one file.
        let aof = redis.data().join("appendonlydir/appendonly.aof.1.incr.aof");
        match fault {
            Fault::Trim => {
                // Purging trims the feed, through a store with a retention of zero.
                let store = RedisStore::builder(&redis.url())
                    .key_prefix(&self.prefix)
                    .feed_retention(std::time::Duration::ZERO);
                let store = store.connect().await.expect("a running server");
                let purged =
                    tower_revoke_core::Store::purge(&store, tower_revoke_core::UnixTime::EPOCH);
                assert_eq!(purged.await.expect("a running server"), 0);
            }
            Fault::Backup => *backup.lock().unwrap() = std::fs::read(aof).unwrap(),
            Fault::PlayBack => {
                redis.kill().await;
                std::fs::write(aof, &*backup.lock().unwrap()).unwrap();
                redis.restart().await;
            }
            other => panic!("{other:?}"),
        }
    }
}

mod single {
    use super::*;
    store_conformance!(Single);
}

/// The URLs of the cluster that the suite shares, because it takes seconds to start.
static CLUSTER: OnceLock<Vec<String>> = OnceLock::new();

/// A separate namespace on a cluster.
struct Clustered {
    prefix: String,
}

impl Fixture for Clustered {
    type Store = RedisStore;

    const LACKS: &'static [(Ability, &'static str)] = &[
        (Ability::Restart, "asked of one server"),
        (Ability::Outage, "asked of one server"),
        (Ability::Freeze, "asked of one server"),
        (Ability::Trim, "asked of one server"),
        (Ability::SetBack, "asked of one server"),
    ];

    async fn empty(_: Clock) -> Self {
        Self { prefix: own_name() }
    }

    async fn open(&self) -> RedisStore {
        let urls = CLUSTER.get().expect("a started cluster");
        let store = RedisStore::cluster(urls.iter().map(String::as_str)).key_prefix(&self.prefix);
        store.connect().await.expect("a ready cluster")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_passes_every_clause() {
    let cluster = RedisCluster::start().await;
    CLUSTER.set(cluster.urls()).expect("the only cluster");
    keeps_every_clause::<Clustered>().await;
}
