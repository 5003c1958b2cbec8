//! Clauses of `purge`.

use tower_revoke_core::{Change, Listed};

use super::{
    Ability, Fixture,
    world::{World, key, lacks, lift, listed_rule, new_use, revocation, rule, subject, token},
};

/// Keeps entries whose `until` is the time given to `purge` or later, or that never expire.
pub async fn purging_keeps_unexpired_entries<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let before = world.after(7_200);
    let later = world.after(7_201);
    nodes[0]
        .revoke(&[
            revocation(1, Some(before)),
            revocation(2, Some(later)),
            revocation(3, None),
            rule(subject(1), world.now()),
            rule(subject(2), world.now()).retained(Some(before)),
        ])
        .await;
    let uses = [
        new_use(token(4), 1, 1, Some(before)),
        new_use(token(5), 1, 1, Some(later)),
        new_use(token(6), 1, 1, None),
        new_use(token(7), 1, 2, Some(before)),
    ];
    for use_ in &uses {
        assert!(nodes[0].wins(use_).await);
    }
    assert_eq!(nodes[0].purge(before).await, 0, "nothing has ended");
    for node in &nodes {
        for number in 1..7 {
            let listed = node.listed(token(number)).await;
            assert!(listed.is_some(), "token {number} was forgotten");
        }
        for number in [1, 2] {
            let listed = node.listed(subject(number)).await;
            assert!(listed.is_some(), "rule {number} was forgotten");
        }
    }
    let held = new_use(token(7), 1, 2, Some(before));
    assert!(
        nodes[1].return_use(&held).await,
        "a taken use was forgotten"
    );
}

/// A rule without an `until` is never purged: a token that it revokes may have any lifetime.
// First seen as TRAPS 33.
pub async fn purging_keeps_rules_that_never_expire<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    node.revoke(&[rule(subject(1), world.now())]).await;
    node.purge(tower_revoke_core::UnixTime::from_secs(u64::MAX))
        .await;
    let kept = listed_rule(world.now(), None);
    assert_eq!(node.listed(subject(1)).await, Some(kept));
}

/// Purges expired revocations, rules and uses, and nothing else.
pub async fn purging_deletes_expired_entries<G: Fixture>() {
    if lacks::<G>(Ability::Purge) {
        return;
    }
    let world = World::<G>::new().await;
    let node = world.node().await;
    let ended = Some(world.after(3_600));
    let before = world.after(3_601);
    node.revoke(&[
        revocation(1, ended),
        revocation(2, Some(before)),
        rule(subject(1), world.now()).retained(Some(world.after(3_600))),
    ])
    .await;
    assert!(node.wins(&new_use(token(3), 1, 1, ended)).await);
    assert!(node.wins(&new_use(token(4), 1, 1, Some(before))).await);
    let dropped = node.purge(before).await;
    assert!(dropped >= 3, "it says that {dropped} were dropped");
    for node in [&node, &world.node().await] {
        assert_eq!(node.listed(token(1)).await, None);
        assert!(node.listed(token(2)).await.is_some());
        assert_eq!(node.listed(subject(1)).await, None);
        assert_eq!(node.listed(token(3)).await, None);
        assert!(node.listed(token(4)).await.is_some());
    }
    assert_eq!(node.purge(before).await, 0, "all was dropped before");
}

/// A lift is remembered as long as the longest revocation that was ever lifted under its key, so
/// that `restore` can't bring one back.
pub async fn a_lift_is_remembered_as_long_as_its_revocation<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let node = world.node().await;
    let (now, soon, long) = (world.now(), world.after(3_600), world.after(7_200));
    for until in [long, soon] {
        let revocation = revocation(1, Some(until)).at(now);
        node.revoke(&[revocation]).await;
        assert!(node.lift(&lift(token(1), now)).await);
    }
    let lifted = |number, at, until| Change::Lifted {
        key: key(number),
        at: world.after(at),
        until: Some(until),
    };
    node.restore(&[lifted(2, 10, long), lifted(2, 20, soon)])
        .await;
    node.restore(&[lifted(3, 20, soon), lifted(3, 10, long)])
        .await;
    node.revoke(&[rule(subject(1), now).at(now)]).await;
    assert!(node.lift(&lift(subject(1), now)).await);
    for before in [world.after(3_601), long] {
        node.purge(before).await;
        for known in [key(1), key(2), key(3)] {
            let listed = Listed::Revoked { until: Some(long) };
            node.restore(&[Change::Listed {
                key: known,
                listed,
                at: now,
            }])
            .await;
        }
        let listed = listed_rule(now, None);
        node.restore(&[Change::Listed {
            key: subject(1).digest(),
            listed,
            at: now,
        }])
        .await;
        let keys = [key(1), key(2), key(3), subject(1).digest()];
        let listed = node.look_up(&keys).await;
        assert_eq!(
            listed, [None; 4],
            "revived after a purge of before {before}"
        );
    }
}

/// A restored lift is remembered as long as the revocation that it ended, even if it was made for one
/// that expires earlier.
pub async fn a_restored_lift_is_remembered_as_long_as_the_revocation_that_it_ended<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let node = world.node().await;
    let (now, soon, long) = (world.now(), world.after(3_600), world.after(7_200));
    node.revoke(&[revocation(1, Some(long)).at(now)]).await;
    let lifted = Change::Lifted {
        key: key(1),
        at: world.after(10),
        until: Some(soon),
    };
    node.restore(&[lifted]).await;
    assert_eq!(node.listed(token(1)).await, None, "the lift ended it");
    node.purge(world.after(3_601)).await;
    let listed = Listed::Revoked { until: Some(long) };
    let known = Change::Listed {
        key: key(1),
        listed,
        at: now,
    };
    node.restore(&[known]).await;
    assert_eq!(node.listed(token(1)).await, None, "revived after a purge");
}
