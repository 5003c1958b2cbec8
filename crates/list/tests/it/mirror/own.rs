//! Tests that a write through a list is visible there when the call returns, whatever pages were
//! read before it and are applied after it.

use tower_revoke_core::{Store, TokenStatus, UseOutcome};
use tower_revoke_list::MirrorState;

use super::World;
use crate::support::{ISSUED, ann_logs_out, end_of, lift, new_use, token};

#[tokio::test(start_paused = true)]
async fn a_local_revocation_is_rejected_locally_without_a_look_up() {
    let world = World::new();
    let node = world.ready_node().await;
    world.server.hold(true);
    let (revoked, spent, lost, ruled) = (token("1"), token("2"), token("3"), token("4"));
    for token in [&revoked, &spent, &lost, &ruled] {
        assert_eq!(node.list.known_status(token), Some(TokenStatus::Valid));
    }
    node.list.revoke(end_of(&revoked)).await.unwrap();
    assert_eq!(node.list.known_status(&revoked), Some(TokenStatus::Revoked));
    node.list.take_use(new_use(&spent, 1, 1)).await.unwrap();
    assert_eq!(node.list.known_status(&spent), Some(TokenStatus::Spent));
    world
        .server
        .take_use(&new_use(&lost, 1, 1), ISSUED)
        .await
        .unwrap();
    let outcome = node.list.take_use(new_use(&lost, 2, 1)).await.unwrap();
    assert_eq!(outcome, UseOutcome::Spent);
    assert_eq!(node.list.known_status(&lost), Some(TokenStatus::Spent));
    node.list.revoke(ann_logs_out(ISSUED)).await.unwrap();
    assert_eq!(node.list.known_status(&ruled), Some(TokenStatus::Revoked));
    assert_eq!(node.asked(), 1);
    world.server.hold(false);
    node.polled().await;
    for token in [&revoked, &spent, &lost, &ruled] {
        assert_eq!(node.list.known_status(token), Some(TokenStatus::Revoked));
    }
    assert_eq!(node.list.stats().written_back, 0);
}

#[tokio::test(start_paused = true)]
async fn a_locally_lifted_token_is_looked_up_until_the_feed_catches_up() {
    let world = World::new();
    let node = world.ready_node().await;
    let (revoked, spent) = (token("1"), token("2"));
    node.list.revoke(end_of(&revoked)).await.unwrap();
    node.list.take_use(new_use(&spent, 1, 1)).await.unwrap();
    node.polled().await;
    world.server.hold(true);
    assert!(node.list.lift(lift(revoked.id())).await.unwrap());
    assert!(node.list.return_use(new_use(&spent, 1, 1)).await.unwrap());
    let asked = node.asked();
    for token in [&revoked, &spent] {
        assert_eq!(node.list.known_status(token), None);
        assert_eq!(node.status(token).await, TokenStatus::Valid);
    }
    assert_eq!(node.asked(), asked + 2);
    world.server.hold(false);
    node.polled().await;
    for jti in ["1", "2"] {
        assert_eq!(
            node.list.known_status(&token(jti)),
            Some(TokenStatus::Valid)
        );
    }
    assert_eq!(node.asked(), asked + 2);
}

/// TRAPS 2, for the mirror: a page with a lift was read before the token was revoked again.
#[tokio::test(start_paused = true)]
async fn trap_02_a_page_that_was_read_before_a_write_does_not_undo_it() {
    let world = World::new();
    let node = world.ready_node().await;
    let (revoked, spent, lifted) = (token("1"), token("2"), token("3"));
    world.server.revoke(&[end_of(&revoked)]).await.unwrap();
    world
        .server
        .take_use(&new_use(&spent, 1, 1), ISSUED)
        .await
        .unwrap();
    node.polled().await;
    // These are read and held: the revocation is lifted, the use is free, the third token is
    // revoked.
    world.server.lift(&lift(revoked.id())).await.unwrap();
    world
        .server
        .return_use(&new_use(&spent, 1, 1))
        .await
        .unwrap();
    world.server.revoke(&[end_of(&lifted)]).await.unwrap();
    world.server.hold(true);
    world.server.holds(world.server.held() + 1).await;
    // The time of this revocation is before the lift: it counts nevertheless.
    node.list.revoke(end_of(&revoked).at(ISSUED)).await.unwrap();
    node.list.take_use(new_use(&spent, 2, 1)).await.unwrap();
    assert!(node.list.lift(lift(lifted.id())).await.unwrap());
    let seen = |jti: &str| {
        let seen = node.list.known_status(&token(jti));
        assert_ne!(seen, Some(TokenStatus::Valid), "{jti}");
        seen
    };
    let is_whole = || {
        assert_eq!(seen("1"), Some(TokenStatus::Revoked));
        assert_eq!(seen("2"), Some(TokenStatus::Spent));
        assert_eq!(seen("3"), None);
    };
    is_whole();
    let calls = node.script.calls(tower_revoke_testing::StoreOp::Changes);
    // The next page is held too, once the first one is applied.
    let held = world.server.held();
    world.server.hold(false);
    world.server.hold(true);
    world.server.holds(held + 1).await;
    assert!(node.script.calls(tower_revoke_testing::StoreOp::Changes) > calls);
    is_whole();
    world.server.hold(false);
    node.polled().await;
    assert_eq!(seen("1"), Some(TokenStatus::Revoked));
    assert_eq!(seen("2"), Some(TokenStatus::Spent));
    assert_eq!(
        node.list.known_status(&token("3")),
        Some(TokenStatus::Valid)
    );
    assert_eq!(node.list.stats().mirror, MirrorState::Live);
}

/// Another node lifts a local revocation before this node has read either from the feed.
#[tokio::test(start_paused = true)]
async fn a_remote_lift_in_the_same_page_as_a_local_revocation_counts() {
    let world = World::new();
    let node = world.ready_node().await;
    let token = token("1");
    node.list.revoke(end_of(&token)).await.unwrap();
    world.server.lift(&lift(token.id())).await.unwrap();
    node.polled().await;
    assert_eq!(node.list.known_status(&token), Some(TokenStatus::Valid));
    assert_eq!(world.server.lists(token.keys()[0]).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_token_revoked_and_lifted_before_the_next_page_is_looked_up() {
    let world = World::new();
    let node = world.ready_node().await;
    world.server.hold(true);
    let token = token("1");
    node.list.revoke(end_of(&token)).await.unwrap();
    assert!(node.list.lift(lift(token.id())).await.unwrap());
    assert_eq!(node.list.known_status(&token), None);
    assert_eq!(node.status(&token).await, TokenStatus::Valid);
    node.list.revoke(end_of(&token)).await.unwrap();
    assert_eq!(node.list.known_status(&token), None);
    assert_eq!(node.status(&token).await, TokenStatus::Revoked);
    world.server.hold(false);
    node.polled().await;
    assert_eq!(node.list.known_status(&token), Some(TokenStatus::Revoked));
}
