//! Clauses of `lift`.

use std::time::Duration;

use tower_revoke_core::Listed;

use super::{
    Fixture,
    world::{World, lift, revocation, rule, subject, token},
};

/// A look-up reports a token that is revoked and spent as revoked, and as spent once the revocation
/// is lifted.
pub async fn a_revocation_hides_the_uses_until_it_is_lifted<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    let until = Some(world.end());
    let (spent, revoked) = (Listed::Spent { until }, Listed::Revoked { until });
    assert!(node.wins(&world.new_use(token(1), 1, 1)).await);
    assert_eq!(node.listed(token(1)).await, Some(spent));
    node.revoke(&[revocation(1, until)]).await;
    assert_eq!(node.listed(token(1)).await, Some(revoked));
    assert!(node.lift(&lift(token(1), world.now())).await);
    assert_eq!(node.listed(token(1)).await, Some(spent));
    // The same with the revocation first.
    node.revoke(&[revocation(2, until)]).await;
    assert!(node.wins(&world.new_use(token(2), 1, 1)).await);
    assert_eq!(node.listed(token(2)).await, Some(revoked));
    assert!(node.return_use(&world.new_use(token(2), 1, 1)).await);
    assert_eq!(node.listed(token(2)).await, Some(revoked));
}

/// A lift ends a revocation or a rule for every handle and returns `true`. It returns `false` if
/// there is none, or if it was lifted before.
pub async fn a_revocation_is_lifted_once<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let (by_token, by_rule) = (lift(token(1), world.now()), lift(subject(1), world.now()));
    for end in [&by_token, &by_rule] {
        assert!(!nodes[0].lift(end).await, "there was nothing to lift");
    }
    // The lifts above don't affect a later revocation.
    let revocations = [
        revocation(1, Some(world.end())).at(world.now()),
        rule(subject(1), world.now()).at(world.now()),
        revocation(2, None).at(world.now()),
    ];
    nodes[0].revoke(&revocations).await;
    for end in [&by_token, &by_rule] {
        assert!(nodes[0].listed(end.key.clone()).await.is_some());
        assert!(nodes[1].lift(end).await, "{end:?}");
        for node in &nodes {
            assert_eq!(node.listed(end.key.clone()).await, None, "{end:?}");
            assert!(!node.lift(end).await, "a second time: {end:?}");
        }
    }
    assert!(nodes[0].listed(token(2)).await.is_some(), "not asked for");
}

/// A lift returns no use of the token.
pub async fn a_lift_returns_no_use<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    let own = world.new_use(token(1), 1, 1);
    assert!(node.wins(&own).await);
    assert!(!node.lift(&lift(token(1), world.now())).await, "only spent");
    node.revoke(&[revocation(1, Some(world.end()))]).await;
    assert!(node.lift(&lift(token(1), world.now())).await);
    assert!(!node.wins(&world.new_use(token(1), 2, 1)).await);
    assert!(node.return_use(&own).await, "its use still holds it");
}

/// A revocation after a lift takes effect, even within the same second or if the clock was set
/// back.
pub async fn a_revocation_after_a_lift_stands<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let now = world.now();
    let earlier = now.saturating_sub(Duration::from_secs(600));
    let until = Some(world.end());
    for (number, said_again) in [(1, Some(now)), (2, Some(earlier)), (3, None)] {
        let revocation = revocation(number, until);
        let again = match said_again {
            Some(at) => revocation.clone().at(at),
            None => revocation.clone(),
        };
        nodes[0].revoke(&[revocation.at(now)]).await;
        assert!(nodes[0].lift(&lift(token(number), now)).await);
        nodes[1].revoke(&[again]).await;
        for node in &nodes {
            let listed = node.listed(token(number)).await;
            assert_eq!(listed, Some(Listed::Revoked { until }), "{said_again:?}");
        }
        assert!(nodes[0].lift(&lift(token(number), now)).await, "and again");
    }
}
