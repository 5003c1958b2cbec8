//! Tests a healthy feed: unlisted tokens need no look-up, and each node learns what the others
//! write.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::Instant;
use tower_revoke_core::{Revocation, Store, TokenStatus, UnixTime, UseOutcome, retention};
use tower_revoke_list::{MirrorState, RevocationList};
use tower_revoke_testing::{Behavior, StoreOp};

use super::{ANSWER_WITHIN, MAX_STALENESS, World, timed_out};
use crate::support::{ISSUED, ISSUER, ann_logs_out, end_of, lift, new_use, token, token_of};

#[tokio::test(start_paused = true)]
async fn listed_and_unlisted_tokens_are_known_without_a_look_up() {
    let world = World::new();
    let server = &world.server;
    server.page(3);
    let revoked: Vec<_> = (0..10).map(|jti| token(&format!("r{jti}"))).collect();
    for token in &revoked {
        server.revoke(&[end_of(token)]).await.unwrap();
    }
    let (spent, half_spent) = (token("s"), token("h"));
    server
        .take_use(&new_use(&spent, 1, 1), ISSUED)
        .await
        .unwrap();
    server
        .take_use(&new_use(&half_spent, 1, 2), ISSUED)
        .await
        .unwrap();
    let bob = token_of(json!({"iss": ISSUER, "sub": "bob", "jti": "b", "iat": ISSUED}));
    let bob_logs_out = tower_revoke_core::RevocationKey::subject(ISSUER, "bob");
    let bob_logs_out = Revocation::rule(bob_logs_out, ISSUED).unwrap();
    server.revoke(&[bob_logs_out]).await.unwrap();
    let for_ever = token("f");
    let revocation = Revocation::of_token(for_ever.id(), None);
    server.revoke(&[revocation]).await.unwrap();

    let node = world.ready_node().await;
    for token in revoked.iter().chain([&bob, &for_ever]) {
        assert_eq!(node.list.known_status(token), Some(TokenStatus::Revoked));
        assert_eq!(node.status(token).await, TokenStatus::Revoked);
    }
    assert_eq!(node.list.known_status(&spent), Some(TokenStatus::Spent));
    let later = token_of(json!({
        "iss": ISSUER, "sub": "bob", "jti": "l", "iat": ISSUED.as_secs() + 31,
    }));
    for token in [&half_spent, &token("new"), &later] {
        for _ in 0..2 {
            assert_eq!(node.list.known_status(token), Some(TokenStatus::Valid));
            assert_eq!(node.status(token).await, TokenStatus::Valid);
        }
    }
    let stats = node.list.stats();
    // `ready` checks that the store answers; there was no other call.
    assert_eq!((node.asked(), stats.asked), (1, 0));
    assert_eq!(stats.mirrored, 13);
    assert_eq!(stats.mirror_lag, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn g4_a_revocation_on_one_node_is_rejected_on_the_other_right_after_its_poll() {
    let world = World::new();
    let (a, b) = (world.ready_node().await, world.ready_node().await);
    let (seen, spent, new) = (token("1"), token("2"), token("3"));
    for token in [&seen, &spent] {
        assert_eq!(b.list.known_status(token), Some(TokenStatus::Valid));
    }
    a.list.revoke(end_of(&token("1"))).await.unwrap();
    a.list.revoke(end_of(&new)).await.unwrap();
    a.list.take_use(new_use(&token("2"), 1, 1)).await.unwrap();
    b.polled().await;
    assert_eq!(b.list.known_status(&seen), Some(TokenStatus::Revoked));
    assert_eq!(b.list.known_status(&new), Some(TokenStatus::Revoked));
    assert_eq!(b.list.known_status(&spent), Some(TokenStatus::Spent));
    let ann = token("4");
    assert_eq!(b.list.known_status(&ann), Some(TokenStatus::Valid));
    a.list.revoke(ann_logs_out(ISSUED)).await.unwrap();
    b.polled().await;
    assert_eq!(b.list.known_status(&ann), Some(TokenStatus::Revoked));
    assert_eq!(b.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn lifts_and_returned_uses_arrive_through_the_feed_too() {
    let world = World::new();
    let (a, b) = (world.ready_node().await, world.ready_node().await);
    let (revoked, spent) = (token("1"), token("2"));
    a.list.revoke(end_of(&revoked)).await.unwrap();
    a.list.revoke(end_of(&spent)).await.unwrap();
    a.list.take_use(new_use(&spent, 1, 1)).await.unwrap();
    b.polled().await;
    for token in [&revoked, &spent] {
        assert_eq!(b.list.known_status(token), Some(TokenStatus::Revoked));
        assert!(a.list.lift(lift(token.id())).await.unwrap());
    }
    b.polled().await;
    assert_eq!(b.list.known_status(&revoked), Some(TokenStatus::Valid));
    assert_eq!(b.list.known_status(&spent), Some(TokenStatus::Spent));
    assert!(a.list.return_use(new_use(&spent, 1, 1)).await.unwrap());
    b.polled().await;
    assert_eq!(b.list.known_status(&spent), Some(TokenStatus::Valid));
    // Both lifts are remembered, in case the store forgets them.
    assert_eq!(b.list.stats().mirrored, 2);
}

/// Without a push, the next poll would come in 15 minutes.
#[tokio::test(start_paused = true)]
async fn a_store_that_pushes_is_followed_at_once() {
    let world = World::new();
    world.server.push();
    let node = world.node_with(|builder| builder.max_staleness(Duration::from_secs(3_600)));
    node.list.ready().await.unwrap();
    let token = token("1");
    assert_eq!(node.list.known_status(&token), Some(TokenStatus::Valid));
    let begun = Instant::now();
    world.server.revoke(&[end_of(&token)]).await.unwrap();
    while node.list.known_status(&token) != Some(TokenStatus::Revoked) {
        assert!(begun.elapsed() < Duration::from_secs(1), "not woken");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The next call of the feed would be due in 15 minutes, and is made a second after the change.
#[tokio::test(start_paused = true)]
async fn changes_that_come_with_a_hint_are_applied_before_the_feed_is_read() {
    let world = World::new();
    world.server.hand_over();
    let node = world.node_with(|builder| builder.max_staleness(Duration::from_secs(3_600)));
    node.list.ready().await.unwrap();
    let calls = node.script.calls(StoreOp::Changes);
    for jti in ["1", "2", "3"] {
        let token = token(jti);
        world.server.revoke(&[end_of(&token)]).await.unwrap();
        world.passes(Duration::from_millis(50)).await;
        assert_eq!(node.list.known_status(&token), Some(TokenStatus::Revoked));
    }
    assert!(world.server.lift(&lift(token("1").id())).await.unwrap());
    world.passes(Duration::from_millis(50)).await;
    let status = node.list.known_status(&token("1"));
    assert_eq!(status, Some(TokenStatus::Valid));
    assert_eq!(node.script.calls(StoreOp::Changes), calls);
    world.passes(Duration::from_secs(2)).await;
    assert_eq!(node.script.calls(StoreOp::Changes), calls + 1);
}

/// The server that hands them over may have been cut off, and miss those that another one takes.
#[tokio::test(start_paused = true)]
async fn g4_changes_that_come_with_a_hint_make_the_mirror_no_younger() {
    let world = World::new();
    world.server.hand_over();
    let node = world.ready_node().await;
    let mut oldest = Duration::ZERO;
    for jti in 0..100 {
        let token = token(&jti.to_string());
        world.server.revoke(&[end_of(&token)]).await.unwrap();
        world.passes(Duration::from_millis(100)).await;
        assert_eq!(node.list.known_status(&token), Some(TokenStatus::Revoked));
        oldest = oldest.max(node.list.stats().mirror_lag.unwrap());
    }
    let expected = Duration::from_millis(900)..Duration::from_millis(1_200);
    assert!(expected.contains(&oldest), "{oldest:?}");
}

/// TRAPS 7: it served although the start-up load had failed.
/// A readiness probe may be all that asks a new node.
#[tokio::test(start_paused = true)]
async fn a_node_that_is_only_probed_becomes_ready() {
    let world = World::new();
    let node = world.node();
    assert!(!node.list.is_ready());
    node.becomes(MirrorState::Live).await;
    assert!(node.list.is_ready());
    assert!(RevocationList::in_memory().is_ready());
}

#[tokio::test(start_paused = true)]
async fn trap_07_a_node_is_not_ready_before_its_mirror_is_loaded() {
    let world = World::new();
    let revoked = token("1");
    world.server.revoke(&[end_of(&revoked)]).await.unwrap();
    for mood in [
        Behavior::Frozen,
        Behavior::Fails,
        Behavior::Slow(ANSWER_WITHIN * 2),
    ] {
        let node = world.node();
        node.script.set(StoreOp::Changes, mood);
        let begun = Instant::now();
        let error = node.list.ready().await.unwrap_err();
        assert_eq!(timed_out(&error), Some(ANSWER_WITHIN), "{error:?}");
        assert_eq!(begun.elapsed(), ANSWER_WITHIN);
        assert!(!node.list.is_ready());
        assert_eq!(node.list.stats().mirror, MirrorState::Loading);
        // A check before that is answered by the store.
        assert_eq!(node.list.known_status(&revoked), None);
        assert_eq!(node.status(&revoked).await, TokenStatus::Revoked);
        assert_eq!(node.status(&token("2")).await, TokenStatus::Valid);
        assert_eq!(node.asked(), 2);
        assert!(!node.list.is_ready());
        node.script.set(StoreOp::Changes, Behavior::Works);
        node.becomes(MirrorState::Live).await;
        node.list.ready().await.unwrap();
        assert!(node.list.is_ready());
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_check_loads_the_mirror() {
    let world = World::new();
    let node = world.node();
    assert_eq!(node.list.stats().mirror, MirrorState::Off);
    assert_eq!(node.list.known_status(&token("1")), None);
    assert_eq!(node.status(&token("1")).await, TokenStatus::Valid);
    node.becomes(MirrorState::Live).await;
    assert!(node.list.is_ready());
    assert_eq!(
        node.list.known_status(&token("2")),
        Some(TokenStatus::Valid)
    );
}

#[tokio::test(start_paused = true)]
async fn the_follower_ends_with_the_last_handle() {
    let world = World::new();
    let node = world.ready_node().await;
    let clone = node.list.clone();
    drop(node.list);
    assert!(world.server.shared() > 1);
    drop(clone);
    while world.server.shared() > 1 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_list_that_outlives_its_runtime_is_followed_in_the_next_one() {
    let world = World::new();
    let node = world.node();
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            node.list.ready().await.unwrap();
            assert_eq!(node.list.stats().mirror, MirrorState::Live);
        });
        drop(runtime);
        assert_eq!(node.list.stats().mirror, MirrorState::Off);
        assert_eq!(node.list.known_status(&token("1")), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_feed_reloads_and_no_old_answer_survives() {
    let world = World::new();
    let node = world.ready_node().await;
    let (seen, lifted) = (token("1"), token("2"));
    world.server.revoke(&[end_of(&lifted)]).await.unwrap();
    node.polled().await;
    assert_eq!(node.list.known_status(&seen), Some(TokenStatus::Valid));
    node.script.set(StoreOp::Changes, Behavior::Fails);
    node.polled().await;
    world.server.revoke(&[end_of(&seen)]).await.unwrap();
    world.server.lift(&lift(lifted.id())).await.unwrap();
    world.server.trim();
    node.script.set(StoreOp::Changes, Behavior::Works);
    node.polled().await;
    node.polled().await;
    assert_eq!(node.list.known_status(&seen), Some(TokenStatus::Revoked));
    assert_eq!(node.list.known_status(&lifted), Some(TokenStatus::Valid));
    let stats = node.list.stats();
    assert_eq!((stats.mirror_reloads, stats.mirror), (1, MirrorState::Live));
    assert_eq!(stats.written_back, 0);
}

#[tokio::test(start_paused = true)]
async fn above_its_capacity_the_mirror_is_off_and_the_store_is_asked() {
    let world = World::new();
    let node = world.node_with(|builder| builder.mirror_capacity(3));
    node.list.ready().await.unwrap();
    for jti in 0..3 {
        let revocation = end_of(&token(&jti.to_string()));
        world.server.revoke(&[revocation]).await.unwrap();
    }
    node.polled().await;
    assert_eq!(node.list.stats().mirror, MirrorState::Live);
    let seen = token("seen");
    assert_eq!(node.list.known_status(&seen), Some(TokenStatus::Valid));
    // Local writes count as well.
    node.list.revoke(end_of(&token("3"))).await.unwrap();
    node.becomes(MirrorState::Full).await;
    assert_eq!(node.list.stats().mirrored, 0);
    assert_eq!(node.list.known_status(&token("3")), None);
    assert_eq!(node.status(&token("3")).await, TokenStatus::Revoked);
    // An earlier answer stays valid within the bound.
    assert_eq!(node.list.known_status(&seen), Some(TokenStatus::Valid));
    world.hand.advance(MAX_STALENESS);
    assert_eq!(node.list.known_status(&seen), None);
    assert_eq!(node.status(&seen).await, TokenStatus::Valid);
    node.list.ready().await.unwrap();
    assert!(node.list.is_ready());

    // The same at the start.
    let late = world.node_with(|builder| builder.mirror_capacity(3));
    late.list.ready().await.unwrap();
    assert_eq!(late.list.stats().mirror, MirrorState::Full);
    assert_eq!(late.status(&token("3")).await, TokenStatus::Revoked);
    let none = world.node_with(|builder| builder.mirror_capacity(0));
    none.list.ready().await.unwrap();
    assert_eq!(none.status(&token("3")).await, TokenStatus::Revoked);
    assert_eq!(none.script.calls(StoreOp::Changes), 0);
}

/// Expired entries leave the mirror by a clock that never steps back. If the wall clock is set
/// back, forgotten tokens are rejected.
#[tokio::test(start_paused = true)]
async fn expired_entries_leave_the_mirror_and_are_never_valid() {
    let world = World::new();
    let node = world.ready_node().await;
    let (revoked, spent, other) = (token("1"), token("2"), token("3"));
    node.list.revoke(end_of(&revoked)).await.unwrap();
    node.list.take_use(new_use(&spent, 1, 1)).await.unwrap();
    world
        .server
        .revoke(&[ann_logs_out(UnixTime::EPOCH)])
        .await
        .unwrap();
    node.polled().await;
    // Two keys, a rule, and the use that was taken here.
    assert_eq!(node.list.stats().mirrored, 4);
    world.hand.step_wall(1_000_000);
    world.hand.advance(Duration::from_secs(61));
    node.polled().await;
    assert_eq!(node.list.stats().mirrored, 4, "the clock was stepped");
    world.hand.step_wall(-1_000_000);
    world.hand.advance(Duration::from_secs(10_000));
    node.polled().await;
    assert_eq!(node.list.stats().mirrored, 1, "the rule has no end");
    world.hand.step_wall(-10_000);
    for token in [&revoked, &spent, &other] {
        assert_eq!(node.list.known_status(token), Some(TokenStatus::Revoked));
    }
}

#[tokio::test(start_paused = true)]
async fn a_local_use_is_known_until_it_is_returned() {
    let world = World::new();
    let node = world.ready_node().await;
    let token = token("1");
    let won = node.list.take_use(new_use(&token, 1, 2)).await.unwrap();
    assert_eq!(won, UseOutcome::Taken { left: 1 });
    assert_eq!(node.list.stats().mirrored, 1);
    assert!(node.list.return_use(new_use(&token, 1, 2)).await.unwrap());
    assert_eq!(node.list.stats().mirrored, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_that_read_while_the_feed_is_followed_see_every_revocation() {
    let world = World::new();
    world.server.push();
    world.server.page(7);
    let (a, b) = (world.ready_node().await, world.ready_node().await);
    let tokens: Arc<Vec<_>> = Arc::new((0..2_000).map(|jti| token(&jti.to_string())).collect());
    let (done, is_done) = tokio::sync::watch::channel(0);
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (list, tokens, is_done) = (a.list.clone(), tokens.clone(), is_done.clone());
        readers.spawn(async move {
            while *is_done.borrow() < tokens.len() {
                let revoked = *is_done.borrow();
                for token in &tokens[..revoked] {
                    assert_ne!(list.known_status(token), Some(TokenStatus::Valid));
                }
                tokio::task::yield_now().await;
            }
        });
    }
    for (number, token) in tokens.iter().enumerate() {
        a.list.revoke(end_of(token)).await.unwrap();
        done.send_replace(number + 1);
        tokio::task::yield_now().await;
    }
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
    world.server.page(usize::MAX);
    b.polled().await;
    for token in tokens.iter() {
        assert_eq!(b.list.known_status(token), Some(TokenStatus::Revoked));
        assert_eq!(a.list.known_status(token), Some(TokenStatus::Revoked));
    }
}

/// The issuer knows when the last token of a grant expires, so no list prolongs it.
#[tokio::test(start_paused = true)]
async fn the_revocation_of_a_grant_ends_with_the_grant() {
    let world = World::new();
    let follows = world.node_with(|builder| builder);
    follows.list.ready().await.unwrap();
    let life = Duration::from_secs(60);
    let revokes = world.node_with(|builder| builder.max_token_life(life));
    let grant = tower_revoke_core::RevocationKey::grant(ISSUER, "g1");
    let exp = ISSUED.saturating_add(Duration::from_secs(3_600));
    let revocation = Revocation::of_grant(grant.clone(), Some(exp)).unwrap();
    revokes.list.revoke(revocation).await.unwrap();
    follows.polled().await;
    revokes.polled().await;
    let kept = world.server.lists(grant.digest()).await.unwrap();
    assert_eq!(kept.until(), retention::of_token(Some(exp)));
    assert_eq!(follows.script.calls(StoreOp::Restore), 0);
}

/// Lists with different values of `max_token_life`: a purge by the shorter one must not revive
/// tokens that the other accepts.
#[tokio::test(start_paused = true)]
async fn trap_43_rules_of_a_list_with_a_shorter_max_token_life_are_prolonged() {
    for life in [Some(Duration::from_secs(3_600)), None] {
        let world = World::new();
        let longer = || {
            world.node_with(|builder| match life {
                Some(life) => builder.max_token_life(life),
                None => builder,
            })
        };
        let minute = Duration::from_secs(60);
        let shorter = world.node_with(|builder| builder.max_token_life(minute));
        let follows = longer();
        follows.list.ready().await.unwrap();
        shorter.list.ready().await.unwrap();
        let rule = ann_logs_out(ISSUED).key().digest();
        let until = retention::of_rule(ISSUED, life);

        shorter.list.revoke(ann_logs_out(ISSUED)).await.unwrap();
        follows.polled().await;
        assert_eq!(world.server.lists(rule).await.unwrap().until(), until);
        shorter.list.revoke(ann_logs_out(ISSUED)).await.unwrap();
        follows.polled().await;
        shorter.polled().await;
        assert_eq!(world.server.lists(rule).await.unwrap().until(), until);
        assert_eq!(follows.script.calls(StoreOp::Restore), 1);
        assert_eq!(shorter.script.calls(StoreOp::Restore), 0);
        assert_eq!(follows.list.stats().written_back, 0);
        world.hand.advance(Duration::from_secs(3_000));
        shorter.list.purge().await.unwrap();
        assert_eq!(follows.status(&token("1")).await, TokenStatus::Revoked);

        // A later node finds it in its first load.
        let bob = tower_revoke_core::RevocationKey::subject(ISSUER, "bob");
        let bob_logs_out = Revocation::rule(bob.clone(), ISSUED).unwrap();
        follows
            .list
            .lift(lift(ann_logs_out(ISSUED).key().clone()))
            .await
            .unwrap();
        drop(follows);
        shorter.list.revoke(bob_logs_out).await.unwrap();
        let loads = longer();
        loads.list.ready().await.unwrap();
        loads.polled().await;
        let kept = world.server.lists(bob.digest()).await.unwrap();
        assert_eq!(kept.until(), until);
    }
}
