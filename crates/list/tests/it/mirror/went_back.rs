//! Tests a store that loses acknowledged writes: the nodes write back what they know before they
//! are ready again, and no lift is undone by that.

use std::{sync::Arc, time::Duration};

use tower_revoke_core::{
    KeyDigest, Revocations, Store, TokenEnd, TokenStatus, UnixTime, UseOutcome,
};
use tower_revoke_list::MirrorState;
use tower_revoke_testing::{Behavior, StoreOp};

use super::{ANSWER_WITHIN, MAX_STALENESS, Node, World, timed_out};
use crate::support::{ISSUED, ann_logs_out, end_of, lift, new_use, token};

/// Waits until the node has noticed the loss, written back and reloaded.
async fn comes_back(node: &Node) {
    for _ in 0..3 {
        node.polled().await;
    }
    node.becomes(MirrorState::Live).await;
    node.list.ready().await.unwrap();
    assert!(node.list.is_ready());
}

#[tokio::test(start_paused = true)]
async fn g3_lost_writes_are_written_back() {
    let world = World::new();
    let (a, b) = (world.ready_node().await, world.ready_node().await);
    let (kept, lost, spent, used) = (token("1"), token("2"), token("3"), token("4"));
    a.list.revoke(end_of(&kept)).await.unwrap();
    let history = world.server.history();
    a.list.revoke(end_of(&lost)).await.unwrap();
    a.list.take_use(new_use(&spent, 1, 1)).await.unwrap();
    a.list.take_use(new_use(&used, 1, 3)).await.unwrap();
    a.list.take_use(new_use(&used, 2, 3)).await.unwrap();
    b.list.take_use(new_use(&used, 3, 3)).await.unwrap();
    let bob = tower_revoke_core::RevocationKey::subject(crate::support::ISSUER, "bob");
    let rule = tower_revoke_core::Revocation::rule(bob.clone(), ISSUED).unwrap();
    a.list.revoke(rule).await.unwrap();
    a.polled().await;
    b.polled().await;

    world.server.set_back(history, true).await;
    assert_eq!(world.server.lists(lost.keys()[0]).await, None);
    // What the mirrors know counts within the bound.
    assert_eq!(b.list.known_status(&lost), Some(TokenStatus::Revoked));
    comes_back(&a).await;
    comes_back(&b).await;
    for key in [kept.keys()[0], lost.keys()[0], bob.digest()] {
        assert!(world.server.lists(key).await.is_some());
    }
    for node in [&a, &b] {
        for token in [&kept, &lost] {
            assert_eq!(node.status(token).await, TokenStatus::Revoked);
        }
        assert_ne!(node.status(&spent).await, TokenStatus::Valid);
        assert_ne!(node.status(&used).await, TokenStatus::Valid);
        assert!(node.list.stats().written_back > 0);
        assert_eq!(node.list.stats().mirror_reloads, 1);
    }
    // Any further use is rejected, under a new id as before.
    for token in [&spent, &used] {
        let limit = if token.id() == spent.id() { 1 } else { 3 };
        let again = a.list.take_use(new_use(token, 9, limit)).await.unwrap();
        assert_eq!(again, UseOutcome::Spent);
    }
}

/// A token whose uses were all taken here gets its uses back, not a revocation, because a use can
/// be returned.
#[tokio::test(start_paused = true)]
async fn g2_uses_are_written_back_under_their_own_ids() {
    let world = World::new();
    let node = world.ready_node().await;
    let (spent, half) = (token("1"), token("2"));
    node.list.take_use(new_use(&spent, 1, 1)).await.unwrap();
    node.list.take_use(new_use(&half, 1, 2)).await.unwrap();
    node.list.take_use(new_use(&half, 2, 2)).await.unwrap();
    assert!(node.list.return_use(new_use(&half, 2, 2)).await.unwrap());
    node.polled().await;
    world.server.set_back(0, true).await;
    comes_back(&node).await;
    assert_eq!(node.list.stats().written_back, 2);
    assert_eq!(node.status(&spent).await, TokenStatus::Spent);
    assert_eq!(node.status(&half).await, TokenStatus::Valid);
    let won = node.list.take_use(new_use(&half, 3, 2)).await.unwrap();
    assert_eq!(won, UseOutcome::Taken { left: 0 });
    assert!(node.list.return_use(new_use(&spent, 1, 1)).await.unwrap());
    node.polled().await;
    assert_eq!(node.status(&spent).await, TokenStatus::Valid);
}

#[tokio::test(start_paused = true)]
async fn g5_a_node_is_not_ready_and_rejects_until_it_has_written_back() {
    for mood in [Behavior::Fails, Behavior::Frozen] {
        let world = World::new();
        let node = world.ready_node().await;
        let (revoked, spent) = (token("1"), token("2"));
        world.server.revoke(&[end_of(&revoked)]).await.unwrap();
        world
            .server
            .take_use(&new_use(&spent, 1, 1), ISSUED)
            .await
            .unwrap();
        node.polled().await;
        node.script.set(StoreOp::Restore, mood);
        world.server.set_back(0, true).await;
        node.script.called(StoreOp::Restore, 1).await;
        let error = node.list.ready().await.unwrap_err();
        assert_eq!(timed_out(&error), Some(ANSWER_WITHIN), "{error:?}");
        assert!(!node.list.is_ready());
        world.hand.advance(MAX_STALENESS);
        assert_eq!(node.list.stats().mirror, MirrorState::Lost);
        // The store would call them valid.
        assert_eq!(node.status(&revoked).await, TokenStatus::Revoked);
        assert_eq!(node.status(&spent).await, TokenStatus::Spent);
        assert_eq!(node.status(&token("3")).await, TokenStatus::Valid);
        node.script.set(StoreOp::Restore, Behavior::Works);
        comes_back(&node).await;
        assert_eq!(node.status(&revoked).await, TokenStatus::Revoked);
        assert_ne!(node.status(&spent).await, TokenStatus::Valid);
        let listed = world.server.lists(spent.keys()[0]).await;
        assert!(
            listed.is_some(),
            "uses of other nodes are written back as a revocation"
        );
    }
}

/// The feed was broken when the store lost data, so the store was asked and answered "valid".
#[tokio::test(start_paused = true)]
async fn g3_answers_after_a_loss_are_dropped_once_it_is_noticed() {
    let world = World::new();
    let node = world.ready_node().await;
    let revoked = token("1");
    world.server.revoke(&[end_of(&revoked)]).await.unwrap();
    node.polled().await;
    node.script.set(StoreOp::Changes, Behavior::Fails);
    node.script.set(StoreOp::Restore, Behavior::Fails);
    node.polled().await;
    world.server.set_back(0, true).await;
    world.hand.advance(MAX_STALENESS);
    assert_eq!(node.status(&revoked).await, TokenStatus::Valid);
    assert_eq!(node.list.known_status(&revoked), Some(TokenStatus::Valid));
    node.script.set(StoreOp::Changes, Behavior::Works);
    node.script.called(StoreOp::Restore, 1).await;
    assert_eq!(node.list.known_status(&revoked), None);
    assert_eq!(node.status(&revoked).await, TokenStatus::Revoked);
    node.script.set(StoreOp::Restore, Behavior::Works);
    comes_back(&node).await;
    assert_eq!(node.list.known_status(&revoked), Some(TokenStatus::Revoked));
}

#[tokio::test(start_paused = true)]
async fn no_lift_is_undone_by_a_write_back() {
    let world = World::new();
    let (a, b) = (world.ready_node().await, world.ready_node().await);
    let (lifted, unseen) = (token("1"), token("2"));
    for token in [&lifted, &unseen] {
        let said = end_of(token).at(UnixTime::from_secs(ISSUED.as_secs() - 10));
        world.server.revoke(&[said]).await.unwrap();
    }
    a.polled().await;
    b.polled().await;
    let history = world.server.history();
    // Both nodes have read one lift; neither has read the other, which the store still has.
    world.server.lift(&lift(unseen.id())).await.unwrap();
    let with_unseen = world.server.history();
    assert_eq!(with_unseen, history + 1);
    for node in [&a, &b] {
        node.script.set(StoreOp::Changes, Behavior::Fails);
    }
    a.polled().await;
    b.polled().await;
    world.server.set_back(with_unseen, true).await;
    for node in [&a, &b] {
        node.script.set(StoreOp::Changes, Behavior::Works);
        comes_back(node).await;
        assert_eq!(node.status(&unseen).await, TokenStatus::Valid);
        assert_eq!(node.status(&lifted).await, TokenStatus::Revoked);
    }
    // A lift that was read is written back itself.
    let before = world.server.history();
    world.server.lift(&lift(lifted.id())).await.unwrap();
    a.polled().await;
    b.polled().await;
    assert_eq!(a.list.known_status(&lifted), Some(TokenStatus::Valid));
    world.server.set_back(before, true).await;
    assert!(world.server.lists(lifted.keys()[0]).await.is_some());
    comes_back(&a).await;
    comes_back(&b).await;
    for node in [&a, &b] {
        assert_eq!(node.status(&lifted).await, TokenStatus::Valid);
        assert_eq!(node.status(&unseen).await, TokenStatus::Valid);
    }
    assert_eq!(world.server.lists(lifted.keys()[0]).await, None);
}

/// A revocation after a lift is newer than the lift, and is written back.
#[tokio::test(start_paused = true)]
async fn a_revocation_after_a_lift_is_written_back_and_stays() {
    let world = World::new();
    let token = token("1");
    world
        .server
        .revoke(&[end_of(&token).at(ISSUED)])
        .await
        .unwrap();
    world.server.lift(&lift(token.id())).await.unwrap();
    let history = world.server.history();
    let again = UnixTime::from_secs(ISSUED.as_secs() + 9);
    world
        .server
        .revoke(&[end_of(&token).at(again)])
        .await
        .unwrap();
    // The node has never read the lift, only the current state.
    let node = world.ready_node().await;
    assert_eq!(node.list.known_status(&token), Some(TokenStatus::Revoked));
    world.server.set_back(history, true).await;
    comes_back(&node).await;
    assert!(world.server.lists(token.keys()[0]).await.is_some());
    assert_eq!(node.status(&token).await, TokenStatus::Revoked);
}

/// A failover that lost the last writes doesn't invalidate any cursor: the node that made the
/// writes notices.
#[tokio::test(start_paused = true)]
async fn g3_a_local_write_missing_from_the_feed_is_written_again() {
    let world = World::new();
    let node = world.ready_node().await;
    let (kept, revoked, spent) = (token("1"), token("2"), token("3"));
    node.list.revoke(end_of(&kept)).await.unwrap();
    node.polled().await;
    let history = world.server.history();
    world.server.hold(true);
    world.server.holds(world.server.held() + 1).await;
    node.list.revoke(end_of(&revoked)).await.unwrap();
    node.list.take_use(new_use(&spent, 1, 1)).await.unwrap();
    node.list
        .revoke(ann_logs_out(UnixTime::EPOCH))
        .await
        .unwrap();
    world.server.set_back(history, false).await;
    assert_eq!(world.server.lists(revoked.keys()[0]).await, None);
    world.server.hold(false);
    for _ in 0..3 {
        node.polled().await;
        assert_eq!(node.list.known_status(&revoked), Some(TokenStatus::Revoked));
    }
    assert!(world.server.lists(revoked.keys()[0]).await.is_some());
    let rule = ann_logs_out(UnixTime::EPOCH).key().digest();
    assert!(world.server.lists(rule).await.is_some());
    assert_eq!(node.status(&spent).await, TokenStatus::Spent);
    assert_eq!(node.list.stats().written_back, 3);
    let key: KeyDigest = spent.keys()[0];
    assert!(world.server.lists(key).await.is_some());
}

/// An empty database under the same name: it doesn't know the last cursor that was read.
#[tokio::test(start_paused = true)]
async fn trap_47_a_replaced_database_is_refilled_from_the_mirrors() {
    let world = World::new();
    let (a, b) = (world.ready_node().await, world.ready_node().await);
    let (revoked, spent, used, lifted) = (token("1"), token("2"), token("3"), token("4"));
    a.list.revoke(end_of(&revoked)).await.unwrap();
    a.list.revoke(ann_logs_out(UnixTime::EPOCH)).await.unwrap();
    a.list.revoke(end_of(&lifted)).await.unwrap();
    a.list.lift(lift(lifted.id())).await.unwrap();
    a.list.take_use(new_use(&spent, 1, 1)).await.unwrap();
    b.list.take_use(new_use(&used, 2, 2)).await.unwrap();
    a.polled().await;
    b.polled().await;

    world.server.replace().await;
    comes_back(&a).await;
    comes_back(&b).await;
    let rule = ann_logs_out(UnixTime::EPOCH).key().digest();
    for key in [revoked.keys()[0], spent.keys()[0], rule] {
        assert!(world.server.lists(key).await.is_some());
    }
    for node in [&a, &b] {
        assert_eq!(node.status(&revoked).await, TokenStatus::Revoked);
        assert_eq!(node.status(&lifted).await, TokenStatus::Valid);
        assert!(node.list.stats().written_back > 0);
    }
    let again = a.list.take_use(new_use(&spent, 9, 1)).await.unwrap();
    assert_eq!(again, UseOutcome::Spent);
    let last = a.list.take_use(new_use(&used, 9, 2)).await.unwrap();
    assert_eq!(last, UseOutcome::Taken { left: 0 });
}

#[tokio::test(start_paused = true)]
async fn trap_47_a_node_is_not_ready_until_it_has_refilled_a_replaced_database() {
    let world = World::new();
    let node = world.ready_node().await;
    let revoked = token("1");
    node.list.revoke(end_of(&revoked)).await.unwrap();
    node.polled().await;
    node.script.set(StoreOp::Restore, Behavior::Fails);
    world.server.replace().await;
    node.becomes(MirrorState::Lost).await;
    node.script.called(StoreOp::Restore, 1).await;
    assert!(!node.list.is_ready());
    world.hand.advance(MAX_STALENESS);
    assert_eq!(node.status(&revoked).await, TokenStatus::Revoked);
    node.script.set(StoreOp::Restore, Behavior::Works);
    comes_back(&node).await;
    assert!(world.server.lists(revoked.keys()[0]).await.is_some());
}

/// The database is replaced during a node's first load.
#[tokio::test(start_paused = true)]
async fn trap_47_a_node_that_knows_nothing_loads_a_replaced_database() {
    let world = World::new();
    world.server.page(1);
    for number in ["1", "2", "3"] {
        world
            .server
            .revoke(&[end_of(&token(number))])
            .await
            .unwrap();
    }
    world.server.hold(true);
    let node = world.node();
    let (ready, ()) = tokio::join!(node.list.ready(), async {
        world.server.holds(1).await;
        world.server.replace().await;
        world.server.revoke(&[end_of(&token("4"))]).await.unwrap();
        world.server.hold(false);
    });
    ready.unwrap();
    assert_eq!(node.list.stats().written_back, 0);
    assert_eq!(node.status(&token("1")).await, TokenStatus::Valid);
    assert_eq!(node.status(&token("4")).await, TokenStatus::Revoked);
}

#[tokio::test(start_paused = true)]
async fn g4_watches_learn_of_revocations_while_a_loss_is_written_back() {
    let world = World::new();
    let node = world.ready_node().await;
    let (before, meanwhile) = (token("1"), token("2"));
    world.server.revoke(&[end_of(&before)]).await.unwrap();
    node.polled().await;
    let list: Arc<dyn Revocations> = node.list.clone().into();
    let watch = |token| list.clone().watch(token, None);
    let watches = [watch(&before), watch(&meanwhile), watch(&token("3"))];
    node.script.set(StoreOp::Restore, Behavior::Fails);
    world.server.set_back(0, true).await;
    node.script.called(StoreOp::Restore, 1).await;
    world.server.revoke(&[end_of(&meanwhile)]).await.unwrap();
    for _ in 0..40 {
        world.hand.advance(Duration::from_millis(250));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(!node.list.is_ready());
    let ends = watches.each_ref().map(|watch| watch.end());
    // The store has forgotten the first one, which ends no revocation.
    let revoked = Some(TokenEnd::Revoked);
    assert_eq!(ends, [revoked, revoked, None]);
}
