//! Tests the metrics that a recorder gets when the feed breaks and recovers.

use std::collections::BTreeMap;

use metrics_util::{
    MetricKind,
    debugging::{DebugValue, DebuggingRecorder, Snapshotter},
};
use tower_revoke_core::{HealthSource, HealthStatus, Store, TokenStatus};
use tower_revoke_list::{ListStats, MirrorState};
use tower_revoke_testing::{Behavior, StoreOp};

use super::{MAX_STALENESS, World};
use crate::support::{end_of, new_use, token};

/// Records `stats`, and returns the values of the recorder by name, without the common prefix.
fn told(stats: &ListStats) -> BTreeMap<String, f64> {
    let recorder = DebuggingRecorder::new();
    let snapshotter: Snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || stats.report());
    let all = snapshotter.snapshot().into_vec().into_iter();
    all.map(|(key, unit, described, value)| {
        let name = key.key().name();
        assert!(unit.is_some() && described.is_some(), "{name}");
        assert_eq!(key.key().labels().len(), 0, "{name}");
        let is_total = name.ends_with("_total");
        assert_eq!(key.kind() == MetricKind::Counter, is_total, "{name}");
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(level) => level.0,
            DebugValue::Histogram(_) => panic!("{name} is a histogram"),
        };
        let name = name.strip_prefix("tower_revoke_list_").expect("our own");
        (name.to_owned(), value)
    })
    .collect()
}

#[tokio::test(start_paused = true)]
async fn g4_metrics_show_the_bound_and_when_only_the_bound_holds() {
    let world = World::new();
    let node = world.ready_node().await;
    node.list.revoke(end_of(&token("1"))).await.unwrap();
    node.list
        .take_use(new_use(&token("2"), 1, 1))
        .await
        .unwrap();
    node.polled().await;
    let (bound, entries) = (MAX_STALENESS.as_secs_f64(), node.list.stats().mirrored);
    assert_eq!(
        node.list.known_status(&token("3")),
        Some(TokenStatus::Valid)
    );
    let live = told(&node.list.stats());
    let expected = [
        ("max_staleness_seconds", bound),
        ("mirror_live", 1.0),
        ("mirror_full", 0.0),
        ("mirror_age_seconds", 0.0),
        ("mirror_entries", entries as f64),
        ("max_answer_age_seconds", 0.0),
        (
            "last_answer_timestamp_seconds",
            world.clock.now().as_secs() as f64,
        ),
        ("cached_answers", node.list.stats().kept as f64),
        ("local_answers_total", 1.0),
        ("store_lookups_total", 0.0),
        ("store_failures_total", 0.0),
        ("mirror_reloads_total", 0.0),
        ("restored_entries_total", 0.0),
        ("snapshots_written_total", 0.0),
        ("snapshot_failures_total", 0.0),
        ("snapshots_rejected_total", 0.0),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(live, BTreeMap::from(expected));
    assert!(entries >= 2);

    // The feed breaks: the age grows from the first second on, until it reaches the bound.
    node.script.set(StoreOp::Changes, Behavior::Fails);
    node.polled().await;
    world.hand.advance(MAX_STALENESS / 2);
    let aging = told(&node.list.stats());
    assert_eq!(aging["mirror_live"], 1.0);
    assert_eq!(aging["mirror_age_seconds"], bound / 2.0);
    assert!(aging["store_failures_total"] >= 1.0);
    world.hand.advance(MAX_STALENESS / 2);
    let lost = told(&node.list.stats());
    assert_eq!(lost["mirror_live"], 0.0);
    assert_eq!(lost["mirror_age_seconds"], bound);
    assert_eq!(node.status(&token("4")).await, TokenStatus::Valid);
    let asked = told(&node.list.stats());
    assert_eq!(asked["store_lookups_total"], 1.0);
    assert!(asked["max_answer_age_seconds"] < asked["max_staleness_seconds"]);

    node.script.set(StoreOp::Changes, Behavior::Works);
    node.becomes(MirrorState::Live).await;
    assert_eq!(told(&node.list.stats())["mirror_live"], 1.0);
}

#[tokio::test(start_paused = true)]
async fn metrics_show_that_the_mirror_is_full() {
    let world = World::new();
    world.server.revoke(&[end_of(&token("1"))]).await.unwrap();
    world.server.revoke(&[end_of(&token("2"))]).await.unwrap();
    let node = world.node_with(|builder| builder.mirror_capacity(1));
    node.list.ready().await.unwrap();
    let full = told(&node.list.stats());
    assert_eq!((full["mirror_full"], full["mirror_live"]), (1.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn health_tells_whether_the_list_is_fresh_and_how_far_the_feed_is_behind() {
    let world = World::new();
    let node = world.ready_node().await;
    let told = || {
        let checks = node.list.health().into_iter();
        let told = checks.map(|check| (check.status, check.output));
        let told: Vec<_> = told.collect();
        let [list, _, feed] = told.try_into().expect("a list, a store, a feed");
        (list, feed)
    };
    node.polled().await;
    let (list, feed) = told();
    let fresh = (HealthStatus::Pass, "fresh: answers from memory".to_owned());
    assert_eq!(list, fresh);
    assert_eq!(feed.1, "0.0 s behind, of 5.0 s");
    node.script.set(StoreOp::Changes, Behavior::Fails);
    node.polled().await;
    world.hand.advance(MAX_STALENESS / 2);
    let (list, feed) = told();
    assert_eq!((list, feed.0), (fresh.clone(), HealthStatus::Pass));
    assert_eq!(feed.1, "2.5 s behind, of 5.0 s");
    world.hand.advance(MAX_STALENESS / 2);
    let (list, feed) = told();
    assert_eq!((list.0, feed.0), (HealthStatus::Warn, HealthStatus::Warn));
    assert!(list.1.starts_with("stale: "), "{}", list.1);
    node.script.set(StoreOp::Changes, Behavior::Works);
    node.becomes(MirrorState::Live).await;
    assert_eq!(told().0, fresh);
}

#[tokio::test(start_paused = true)]
async fn missing_values_are_exported_as_nan() {
    let world = World::new();
    let node = world.node_with(|builder| builder.mirror_capacity(0));
    let none = told(&node.list.stats());
    assert!(none["mirror_age_seconds"].is_nan());
    assert!(none["last_answer_timestamp_seconds"].is_nan());
    assert_eq!(none["mirror_live"], 0.0);
    node.list.ready().await.unwrap();
    let answered_at = told(&node.list.stats())["last_answer_timestamp_seconds"];
    assert_eq!(answered_at, world.clock.now().as_secs() as f64);
}
