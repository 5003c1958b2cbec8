//! Tests a feed that fails, hangs, is slow or lies, and a store that is down: answers count until
//! the staleness bound, and then every token is looked up or rejected.

use std::time::Duration;

use tokio::time::Instant;
use tower_revoke_core::{Store, StoreError, TokenStatus};
use tower_revoke_list::MirrorState;
use tower_revoke_testing::{Behavior, StoreOp};

use super::{ANSWER_WITHIN, MAX_STALENESS, World};
use crate::{
    support::server::{ENDLESS, Lie},
    support::{ISSUED, end_of, new_use, token},
};

const BROKEN: [Behavior; 4] = [
    Behavior::Fails,
    Behavior::Frozen,
    Behavior::LosesTheAnswer,
    Behavior::Slow(Duration::from_secs(3)),
];

#[tokio::test(start_paused = true)]
async fn g4_with_a_broken_feed_a_revocation_is_rejected_within_max_staleness() {
    for mood in BROKEN {
        let world = World::new();
        let (a, b) = (world.ready_node().await, world.ready_node().await);
        let (seen, late) = (token("1"), token("2"));
        assert_eq!(b.list.known_status(&seen), Some(TokenStatus::Valid));
        b.script.set(StoreOp::Changes, mood);
        b.polled().await;
        a.list.revoke(end_of(&seen)).await.unwrap();
        a.list.revoke(end_of(&late)).await.unwrap();
        // No answer is older than the bound.
        world.hand.advance(MAX_STALENESS - Duration::from_millis(1));
        assert_eq!(
            b.list.known_status(&seen),
            Some(TokenStatus::Valid),
            "{mood:?}"
        );
        assert_eq!(
            b.list.known_status(&late),
            Some(TokenStatus::Valid),
            "{mood:?}"
        );
        assert_eq!(b.list.stats().mirror, MirrorState::Live);
        world.hand.advance(Duration::from_millis(1));
        for token in [&seen, &late] {
            assert_eq!(b.list.known_status(token), None, "{mood:?}");
            assert_eq!(b.status(token).await, TokenStatus::Revoked, "{mood:?}");
        }
        let stats = b.list.stats();
        assert_eq!(stats.mirror, MirrorState::Lost);
        assert_eq!(stats.mirror_lag, Some(MAX_STALENESS));
        assert!(stats.oldest_served < MAX_STALENESS);
        // The mirror was loaded once, and the list now looks up in the store: it is still ready.
        b.list.ready().await.unwrap();
        assert!(b.list.is_ready());
        let good = token("3");
        assert_eq!(b.status(&good).await, TokenStatus::Valid);
        assert_eq!(b.list.known_status(&good), Some(TokenStatus::Valid));

        b.script.set(StoreOp::Changes, Behavior::Works);
        b.becomes(MirrorState::Live).await;
        let asked = b.asked();
        assert_eq!(b.list.known_status(&seen), Some(TokenStatus::Revoked));
        assert_eq!(b.list.known_status(&token("4")), Some(TokenStatus::Valid));
        assert_eq!((b.asked(), b.list.stats().mirror_reloads), (asked, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_store_down_answers_last_until_the_bound() {
    for mood in [Behavior::Fails, Behavior::Frozen] {
        let world = World::new();
        let node = world.ready_node().await;
        let (seen, revoked, spent) = (token("1"), token("2"), token("3"));
        world.server.revoke(&[end_of(&revoked)]).await.unwrap();
        world
            .server
            .take_use(&new_use(&spent, 1, 1), ISSUED)
            .await
            .unwrap();
        node.polled().await;
        node.script.set_all(mood);
        node.polled().await;
        world.hand.advance(MAX_STALENESS - Duration::from_millis(1));
        assert_eq!(node.status(&seen).await, TokenStatus::Valid);
        assert_eq!(node.status(&token("new")).await, TokenStatus::Valid);
        node.list.take_use(new_use(&seen, 1, 1)).await.unwrap_err();
        world.hand.advance(Duration::from_millis(1));
        for token in [&seen, &token("new")] {
            assert_eq!(node.list.known_status(token), None);
            let begun = Instant::now();
            node.list.status(token).await.unwrap_err();
            assert!(begun.elapsed() <= ANSWER_WITHIN);
        }
        // A token that is known to be revoked stays rejected, even if it was never looked up.
        assert_eq!(node.status(&revoked).await, TokenStatus::Revoked);
        assert_eq!(node.status(&spent).await, TokenStatus::Spent);
        node.list.ready().await.unwrap_err();
        node.script.set_all(Behavior::Works);
        node.becomes(MirrorState::Live).await;
        assert_eq!(node.list.known_status(&seen), Some(TokenStatus::Valid));
        node.list.ready().await.unwrap();
    }
}

/// The age counts from before the page was requested.
#[tokio::test(start_paused = true)]
async fn a_slow_page_is_as_old_as_its_request() {
    let world = World::new();
    let node = world.ready_node().await;
    let token = token("1");
    world.server.hold(true);
    world.server.holds(world.server.held() + 1).await;
    world.server.revoke(&[end_of(&token)]).await.unwrap();
    world.hand.advance(MAX_STALENESS);
    world.server.hold(false);
    world.server.hold(true);
    world.server.holds(world.server.held() + 1).await;
    // The page was read before the revocation: it is applied, but makes nothing fresh.
    assert_eq!(node.list.stats().mirror_lag, Some(MAX_STALENESS));
    assert_eq!(node.list.known_status(&token), None);
    assert_eq!(node.status(&token).await, TokenStatus::Revoked);
}

#[tokio::test(start_paused = true)]
async fn an_endless_feed_starves_no_check_and_makes_no_list_ready() {
    let world = World::new();
    world.server.lie(Some(ENDLESS));
    let node = world.node();
    node.list.ready().await.unwrap_err();
    assert!(!node.list.is_ready());
    assert_eq!(node.status(&token("1")).await, TokenStatus::Valid);
    world.server.lie(None);
    node.becomes(MirrorState::Live).await;
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_rejects_its_own_cursors_is_not_polled_in_a_loop() {
    let world = World::new();
    let lies: [Lie; 3] = [
        |since, page| since.map_or(Ok(page), |_| Err(StoreError::ForeignCursor)),
        |since, page| since.map_or(Ok(page), |_| Err(StoreError::CursorTooOld)),
        |since, page| since.map_or(Ok(page), |_| Err(StoreError::HistoryWentBack)),
    ];
    for lie in lies {
        world.server.lie(Some(lie));
        let node = world.node();
        node.list.ready().await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(100)).await;
        let calls = node.script.calls(StoreOp::Changes);
        assert!(calls < 300, "{calls} calls");
        assert!(!node.list.is_ready());
        world.server.lie(None);
        node.becomes(MirrorState::Live).await;
        node.list.ready().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_without_a_feed_is_looked_up_each_time() {
    let world = World::new();
    world.server.hide_feed();
    let node = world.node();
    node.list.ready().await.unwrap();
    assert!(node.list.is_ready());
    assert_eq!(node.list.stats().mirror, MirrorState::Off);
    let token = token("1");
    node.list.revoke(end_of(&token)).await.unwrap();
    assert_eq!(node.list.known_status(&token), None);
    assert_eq!(node.status(&token).await, TokenStatus::Revoked);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(node.script.calls(StoreOp::Changes), 0);
}

/// A long bound must not delay the retry by a quarter of it.
#[tokio::test(start_paused = true)]
async fn a_failed_feed_is_retried_soon_however_long_the_bound_is() {
    let world = World::new();
    let node = world.node_with(|builder| builder.max_staleness(Duration::from_secs(600)));
    node.list.ready().await.unwrap();
    node.script.set(StoreOp::Changes, Behavior::Fails);
    let calls = node.script.calls(StoreOp::Changes);
    node.script.called(StoreOp::Changes, calls + 1).await;
    let failed = Instant::now();
    node.script.called(StoreOp::Changes, calls + 3).await;
    assert!(failed.elapsed() < Duration::from_secs(5));
}

/// A follower that panics is restarted by the next caller.
#[tokio::test(start_paused = true)]
async fn a_follower_that_panics_is_replaced() {
    let world = World::new();
    let node = world.ready_node().await;
    world.server.lie(Some(|_, _| panic!("told to panic")));
    node.becomes(MirrorState::Off).await;
    assert_eq!(node.list.known_status(&token("1")), None);
    world.server.lie(None);
    assert_eq!(node.status(&token("1")).await, TokenStatus::Valid);
    node.becomes(MirrorState::Live).await;
}
