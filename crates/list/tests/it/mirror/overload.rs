//! Tests a mirror under more writes, or with more entries, than it can easily follow.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_revoke_core::{Store, TokenStatus, UnixTime, UseOutcome};
use tower_revoke_list::MirrorState;
use tower_revoke_testing::{Behavior, StoreOp};

use super::{MAX_STALENESS, World};
use crate::{
    support::server::ENDLESS,
    support::{ISSUED, ann_logs_out, end_of, lift, new_use, token},
};

const MILLISECOND: Duration = Duration::from_millis(1);

/// TRAPS 55: by the end of a load, the feed had trimmed the position where the load began.
#[tokio::test(start_paused = true)]
async fn trap_55_a_load_ends_while_more_is_written_than_the_feed_keeps() {
    let world = World::new();
    let server = &world.server;
    let all: Vec<_> = (0..50_000)
        .map(|jti| end_of(&token(&jti.to_string())))
        .collect();
    server.revoke(&all).await.unwrap();
    server.keep_changes(100);
    server.page(5_000);
    let node = world.node();
    node.script
        .set(StoreOp::Changes, Behavior::Slow(20 * MILLISECOND));
    let writer = server.clone();
    let writer = tokio::spawn(async move {
        for written in 0.. {
            writer
                .revoke(&[end_of(&token(&format!("w{written}")))])
                .await
                .unwrap();
            sleep(MILLISECOND).await;
        }
    });
    node.list.ready().await.unwrap();
    let stats = node.list.stats();
    assert_eq!((stats.mirror, stats.mirror_reloads), (MirrorState::Live, 0));
    assert!(stats.mirrored > 50_200, "{} entries", stats.mirrored);
    for jti in ["0", "49999", "w0", "w200"] {
        assert_eq!(
            node.list.known_status(&token(jti)),
            Some(TokenStatus::Revoked),
            "{jti}"
        );
    }
    writer.abort();
}

#[tokio::test(start_paused = true)]
async fn a_busy_feed_is_read_in_bulk_and_a_single_change_at_once() {
    let world = World::new();
    world.server.push();
    let node = world.ready_node().await;
    let millisecond = async || {
        world.hand.advance(MILLISECOND);
        sleep(MILLISECOND).await;
    };
    let calls = node.script.calls(StoreOp::Changes);
    for jti in 0..2_000 {
        let revocation = end_of(&token(&jti.to_string()));
        world.server.revoke(&[revocation]).await.unwrap();
        millisecond().await;
    }
    let calls = node.script.calls(StoreOp::Changes) - calls;
    assert!((15..40).contains(&calls), "{calls} calls in two seconds");
    for _ in 0..500 {
        millisecond().await;
    }
    let lone = token("lone");
    world.server.revoke(&[end_of(&lone)]).await.unwrap();
    let revoked = Instant::now();
    while node.list.known_status(&lone) != Some(TokenStatus::Revoked) {
        millisecond().await;
    }
    assert!(
        revoked.elapsed() <= 2 * MILLISECOND,
        "{:?}",
        revoked.elapsed()
    );
}

/// The idle poll interval is a quarter of `max_staleness`, here 1.25 s.
#[tokio::test(start_paused = true)]
async fn fifty_idle_followers_ask_forty_times_a_second() {
    let world = World::new();
    world.server.push();
    let mut nodes = Vec::new();
    for _ in 0..50 {
        nodes.push(world.ready_node().await);
    }
    let asked = || -> u64 {
        let calls = nodes.iter().map(|node| node.script.calls(StoreOp::Changes));
        calls.sum()
    };
    let pass = async |times: u32| {
        for _ in 0..times {
            world.hand.advance(10 * MILLISECOND);
            sleep(10 * MILLISECOND).await;
        }
    };
    let idle = asked();
    pass(6_000).await;
    let idle = asked() - idle;
    assert!((2_300..=2_400).contains(&idle), "{idle} calls in a minute");
    // A lone change is read at once, by one call of each.
    let (lone, calls) = (token("lone"), asked());
    world.server.revoke(&[end_of(&lone)]).await.unwrap();
    pass(1).await;
    for node in &nodes {
        assert_eq!(node.list.known_status(&lone), Some(TokenStatus::Revoked));
    }
    assert!(asked() - calls <= 2 * 50, "{} calls", asked() - calls);
}

#[tokio::test(start_paused = true)]
async fn endless_empty_pages_are_not_read_in_a_tight_loop() {
    let world = World::new();
    world.server.lie(Some(ENDLESS));
    let node = world.node();
    node.list.ready().await.unwrap_err();
    let calls = node.script.calls(StoreOp::Changes);
    sleep(Duration::from_secs(10)).await;
    let calls = node.script.calls(StoreOp::Changes) - calls;
    assert!(calls < 600, "{calls} calls in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn an_overfull_mirror_returns_at_nine_tenths_of_its_capacity() {
    let world = World::new();
    let in_use = |until| UnixTime::from_secs(ISSUED.as_secs() + until);
    // Each expires a minute after the previous one.
    for minute in 1..=11_u64 {
        let revocation = end_of(&token(&minute.to_string()));
        let revocation = revocation.retained(Some(in_use(100_000 + minute * 60)));
        world.server.revoke(&[revocation]).await.unwrap();
    }
    let node = world.node_with(|builder| builder.mirror_capacity(10));
    node.list.ready().await.unwrap();
    assert_eq!(node.list.stats().mirror, MirrorState::Full);
    let hours = async || {
        let calls = node.script.calls(StoreOp::Changes);
        sleep(Duration::from_secs(3 * 3_600)).await;
        node.script.calls(StoreOp::Changes) - calls
    };
    // Just below the mirror's capacity.
    world.server.purge(in_use(100_000 + 61)).await.unwrap();
    assert!((2..60).contains(&hours().await));
    assert_eq!(node.list.stats().mirror, MirrorState::Full);
    assert!(node.list.is_ready());
    assert_eq!(node.status(&token("11")).await, TokenStatus::Revoked);

    world.server.purge(in_use(100_000 + 121)).await.unwrap();
    hours().await;
    let stats = node.list.stats();
    assert_eq!((stats.mirror, stats.mirrored), (MirrorState::Live, 9));
    assert_eq!(
        node.list.known_status(&token("11")),
        Some(TokenStatus::Revoked)
    );
    assert_eq!(
        node.list.known_status(&token("12")),
        Some(TokenStatus::Valid)
    );
    // A local write is visible at once, as in any mirror.
    node.list.revoke(end_of(&token("12"))).await.unwrap();
    assert_eq!(
        node.list.known_status(&token("12")),
        Some(TokenStatus::Revoked)
    );
}

/// The store lost writes, and then gained so many that the feed no longer shows the loss.
#[tokio::test(start_paused = true)]
async fn g3_writes_lost_behind_a_gap_in_the_feed_are_written_back() {
    let world = World::new();
    let server = &world.server;
    let node = world.ready_node().await;
    let (revoked, lifted, spent, others) = (token("1"), token("2"), token("3"), token("4"));
    server
        .revoke(&[end_of(&revoked), ann_logs_out(UnixTime::EPOCH)])
        .await
        .unwrap();
    server
        .revoke(&[end_of(&lifted).at(UnixTime::EPOCH)])
        .await
        .unwrap();
    server.lift(&lift(lifted.id())).await.unwrap();
    node.list.take_use(new_use(&spent, 1, 1)).await.unwrap();
    server
        .take_use(&new_use(&others, 1, 1), ISSUED)
        .await
        .unwrap();
    node.polled().await;
    node.script.set(StoreOp::Changes, Behavior::Fails);
    node.polled().await;
    server.set_back(0, false).await;
    for jti in 10..20 {
        let revocation = end_of(&token(&jti.to_string()));
        server.revoke(&[revocation]).await.unwrap();
    }
    server.trim();
    // Another node writes back what it knew before the lift.
    server
        .revoke(&[end_of(&lifted).at(UnixTime::EPOCH)])
        .await
        .unwrap();
    world.hand.advance(MAX_STALENESS);
    node.script.set(StoreOp::Changes, Behavior::Works);
    node.becomes(MirrorState::Live).await;
    node.polled().await;
    assert_eq!(node.list.stats().mirror_reloads, 1);
    for key in [
        revoked.keys()[0],
        ann_logs_out(UnixTime::EPOCH).key().digest(),
    ] {
        assert!(server.lists(key).await.is_some());
    }
    assert_eq!(node.list.known_status(&revoked), Some(TokenStatus::Revoked));
    assert_eq!(server.lists(lifted.keys()[0]).await, None);
    assert_eq!(node.list.known_status(&lifted), Some(TokenStatus::Valid));
    let again = node.list.take_use(new_use(&spent, 2, 1)).await.unwrap();
    assert_eq!(again, UseOutcome::Spent);
    // Only the other list knows whether its use has been returned.
    assert_eq!(server.lists(others.keys()[0]).await, None);
}
