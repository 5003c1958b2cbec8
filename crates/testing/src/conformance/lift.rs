//! Clauses of `lift`.

use std::time::Duration;

use tower_revoke_core::{Change, KeyDigest, LiftRecord, Listed, Store};

use super::{
    Fixture, records,
    world::{World, key, lift, revocation, rule, subject, token, worked},
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
        assert!(nodes[0].listed(end.key().clone()).await.is_some());
        assert!(nodes[1].lift(end).await, "{end:?}");
        for node in &nodes {
            assert_eq!(node.listed(end.key().clone()).await, None, "{end:?}");
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
pub async fn a_revocation_after_a_lift_takes_effect<G: Fixture>() {
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

/// The records return the last lift of a key with its author and reason. A lift of nothing leaves no
/// record. Of a later lift that is restored, author and reason are unknown; an earlier one has no effect.
pub async fn the_last_lift_is_recorded<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let Some(of_lifts) = records::port::<G, _>(&nodes[1]) else {
        return;
    };
    let last_lift = async |key: KeyDigest| {
        let lift = nodes[1].in_time("last_lift", of_lifts.last_lift(&key));
        worked("last_lift", lift.await)
    };
    let (now, until) = (world.now(), Some(world.end()));
    let lifts = [(token(1).into(), until), (subject(1), None)];
    for (lifted, until) in lifts {
        let digest = lifted.digest();
        assert!(!nodes[0].lift(&lift(lifted.clone(), now)).await);
        assert_eq!(last_lift(digest).await, None, "there was nothing to lift");
        let revocation = match lifted.is_rule() {
            true => rule(lifted.clone(), now),
            false => revocation(1, until),
        };
        for (second, by) in [(10, "ann"), (20, "bob")] {
            let revocation = revocation.clone().at(world.after(second - 5));
            nodes[0].revoke(&[revocation]).await;
            let at = world.after(second);
            let lift = lift(lifted.clone(), at).by(by).because("a mistake");
            assert!(nodes[0].lift(&lift).await);
            let expected = LiftRecord {
                at,
                by: by.to_owned(),
                reason: "a mistake".to_owned(),
                until,
            };
            assert_eq!(last_lift(digest).await, Some(expected));
        }
        if nodes[0].store.feed().is_some() {
            for (second, by) in [(15, "bob"), (20, "bob"), (25, "")] {
                let at = world.after(second);
                let known = Change::Lifted {
                    key: digest,
                    at,
                    until,
                };
                nodes[0].restore(&[known]).await;
                let last = last_lift(digest).await.expect("the last lift");
                let expected = (at.max(world.after(20)), by);
                assert_eq!((last.at, last.by.as_str()), expected, "restored {at}");
            }
        }
    }
    assert_eq!(last_lift(key(2)).await, None, "of another key");
}
