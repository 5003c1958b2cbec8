//! The cache, and a store that is down.

use crate::support::{World, of_ann, presented, reason, verified};
use tower_revoke_core::{Reason, TokenVerifier};
use tower_revoke_issued::IssueError;
use tower_revoke_testing::{Behavior, StoreOp};

const FIND: StoreOp = StoreOp::FindIssuedToken;

#[tokio::test]
async fn the_store_is_asked_once_for_a_token_and_each_time_for_an_unknown_one() {
    let world = World::new();
    let verifier = world.verifier();
    let token = world.issue(of_ann()).await;
    assert!(verifier.verify_cached(&presented(&token)).is_none());
    for _ in 0..3 {
        assert_eq!(reason(&verifier, &token).await, None);
        let cached = verifier.verify_cached(&presented(&token));
        assert!(cached.unwrap().is_ok());
    }
    assert_eq!(world.script.calls(FIND), 1);
    let without = world.builder().any_audience().cache_capacity(0).build();
    let without = without.unwrap();
    for calls in 2..5 {
        assert_eq!(reason(&without, &token).await, None);
        assert!(without.verify_cached(&presented(&token)).is_none());
        assert_eq!(world.script.calls(FIND), calls);
    }
}

/// A rejected token is asked for again: it may be issued, or accepted, a moment later.
#[tokio::test]
async fn a_rejection_is_not_cached() {
    let world = World::new();
    let token = world.issue(of_ann()).await;
    let verifier = world.verifier();
    world.script.set(FIND, Behavior::Fails);
    assert_eq!(reason(&verifier, &token).await, Some(Reason::Unavailable));
    world.script.set(FIND, Behavior::Works);
    assert_eq!(reason(&verifier, &token).await, None);
}

#[tokio::test]
async fn while_the_store_is_down_tokens_that_were_seen_work_and_others_are_a_503() {
    let world = World::new();
    let verifier = world.verifier();
    let (seen, unseen) = (world.issue(of_ann()).await, world.issue(of_ann()).await);
    assert_eq!(reason(&verifier, &seen).await, None);
    world.script.set_all(Behavior::Fails);
    assert_eq!(reason(&verifier, &seen).await, None);
    let rejected = verifier.verify(&presented(&unseen)).await.unwrap_err();
    assert_eq!(rejected.reason(), Reason::Unavailable);
    assert_eq!(rejected.reason().status(), 503);
}

#[tokio::test]
async fn a_token_is_returned_only_if_it_is_stored() {
    let world = World::new();
    for behavior in [Behavior::Fails, Behavior::LosesTheAnswer] {
        world.script.set(StoreOp::InsertIssuedToken, behavior);
        let refused = world.tokens.issue(of_ann()).await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, IssueError::Store(_)), "{refused:?}");
    }
    world.script.set_all(Behavior::Works);
    let token = world.issue(of_ann()).await;
    assert!(verified(&world.verifier(), &token).await.is_ok());
}
