//! Tests the loss of a primary whose replica lags behind: counts second winners during the
//! failover, and checks that the nodes write back what they know.

use std::sync::Arc;

use http::Method;
use tower_revoke_tests::servers::{Redis, RedisCluster, StoreServer, WatchedRedis, wait_until};

use crate::{
    kit::{IN_THE_END, Node, PATIENT, SPENT, Stage},
    load::Load,
};

/// Primaries and the replicas that take over from them.
trait Replicated {
    const KIND: &'static str;

    async fn start() -> Self;
    fn place(&self) -> String;
    /// The primaries that have a replica at the start; the first one will be lost.
    fn primaries(&mut self) -> &mut [Redis];
    fn replicas(&self) -> &[Redis];
}

impl Replicated for WatchedRedis {
    const KIND: &'static str = "redis-sentinel";

    async fn start() -> Self {
        Self::start().await
    }

    fn place(&self) -> String {
        self.url()
    }

    fn primaries(&mut self) -> &mut [Redis] {
        &mut self.servers[..1]
    }

    fn replicas(&self) -> &[Redis] {
        &self.servers[1..]
    }
}

impl Replicated for RedisCluster {
    const KIND: &'static str = "redis-cluster";

    async fn start() -> Self {
        Self::start().await
    }

    fn place(&self) -> String {
        self.urls().join(",")
    }

    fn primaries(&mut self) -> &mut [Redis] {
        &mut self.servers[..3]
    }

    fn replicas(&self) -> &[Redis] {
        &self.servers[3..]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_nodes_write_back_what_a_sentinel_replica_lacked() {
    lost_writes::<WatchedRedis>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_nodes_write_back_what_a_cluster_replica_lacked() {
    lost_writes::<RedisCluster>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g2_second_winners_while_sentinel_elects_are_counted() {
    lost_primary::<WatchedRedis>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g2_second_winners_while_a_cluster_elects_are_counted() {
    lost_primary::<RedisCluster>().await;
}

async fn lost_primary<R: Replicated>() {
    let mut servers = R::start().await;
    let stage = Arc::new(Stage::new(R::KIND, servers.place()));
    let (one, other) = (stage.node(&[]).await, stage.node(&[]).await);
    let known = stage.token("known");
    let load = Load::start(&stage, [&one, &other], &known).await;
    let well = [
        (0, "/invoice", "200"),
        (1, "/invoice", "200"),
        (0, "/orders", "200"),
    ];
    load.says(&well).await;
    servers.primaries()[0].kill().await;
    load.says(&[(0, "/invoice", "503"), (1, "/invoice", "503")])
        .await;
    load.says(&well).await;
    let winners = load.stop().await;
    let won_twice = winners.values().filter(|nodes| nodes.len() > 1).count();
    println!(
        "{}: {} tokens won, {won_twice} won twice",
        R::KIND,
        winners.len()
    );
    // By nodes that didn't know of each other's uses; a node always knows its own.
    let by_one_node = winners.values().filter(|nodes| {
        let of = |node| nodes.iter().filter(|winner| **winner == node).count();
        of(0) > 1 || of(1) > 1
    });
    assert_eq!(by_one_node.count(), 0);
    for node in [&one, &other] {
        ends_ready(node).await;
        rejects(node, winners.keys()).await;
    }
    rejects(&stage.node(&[]).await, winners.keys()).await;
}

async fn lost_writes<R: Replicated>() {
    let mut servers = R::start().await;
    let stage = Stage::new(R::KIND, servers.place());
    let (one, other) = (stage.node(&[PATIENT]).await, stage.node(&[PATIENT]).await);
    let (spent, revoked) = (stage.tokens(100), stage.tokens(100));
    // The replicas miss the following writes, and the first primary won't come back to replicate
    // them.
    for replica in servers.replicas() {
        replica.freeze();
    }
    for primary in servers.primaries() {
        primary.cut_replicas();
    }
    let (mut caller, mut elsewhere) = (one.caller().await, other.caller().await);
    for token in &spent {
        assert_eq!(caller.invoice(token).await, "200");
    }
    for token in &revoked {
        assert_eq!(caller.ask(Method::POST, "/log-out", token).await, "204");
    }
    for token in spent.iter().chain(&revoked) {
        elsewhere.is_rejected(token, &["200"]).await;
    }
    servers.primaries()[0].kill().await;
    for replica in servers.replicas() {
        replica.thaw();
    }
    wait_until("a replica is a primary", || {
        let mut replicas = servers.replicas().iter();
        replicas.any(|replica| replica.cli(&["ROLE"]).starts_with("master"))
    })
    .await;
    for node in [&one, &other] {
        node.tells("it was written back", |told| {
            told["restored_entries_total"] > 0.0
        })
        .await;
        ends_ready(node).await;
        rejects(node, spent.iter().chain(&revoked)).await;
    }
    // A new node knows only what the store has.
    rejects(&stage.node(&[]).await, spent.iter().chain(&revoked)).await;
}

async fn ends_ready(node: &Node) {
    let ready = async {
        while !node.is_ready().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let ready = tokio::time::timeout(IN_THE_END, ready).await;
    ready.expect("the node is ready in the end");
}

async fn rejects<'a>(node: &Node, tokens: impl Iterator<Item = &'a String>) {
    let mut caller = node.caller().await;
    for token in tokens {
        assert_eq!(caller.invoice(token).await, SPENT);
    }
}
