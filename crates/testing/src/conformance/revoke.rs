//! Clauses of `revoke` and `look_up`.

use tower_revoke_core::{KeyDigest, Listed};

use super::{
    Ability, Fault, Fixture,
    world::{World, key, lacks, lift, listed_rule, revocation, rule, subject, token},
};

/// An acknowledged revocation is visible at once through every handle, even one that is opened
/// later.
pub async fn a_revocation_is_seen_by_every_handle<G: Fixture>() {
    let world = World::<G>::new().await;
    let (one, other) = (world.node().await, world.node().await);
    assert_eq!(other.listed(token(1)).await, None, "before it was revoked");
    let until = Some(world.end());
    let logged_out = rule(subject(1), world.now());
    one.revoke(&[revocation(1, until), logged_out]).await;
    let revoked = Some(Listed::Revoked { until });
    let rule = Some(listed_rule(world.now(), None));
    for node in [one, other, world.node().await] {
        assert_eq!(node.listed(token(1)).await, revoked);
        assert_eq!(node.listed(subject(1)).await, rule);
        assert_eq!(node.listed(token(2)).await, None);
    }
}

/// Acknowledged writes survive a crash of the store: revocations, rules, lifts, taken and returned
/// uses, and limits.
pub async fn acknowledged_writes_survive_a_restart<G: Fixture>() {
    if lacks::<G>(Ability::Restart) {
        return;
    }
    let world = World::<G>::alone().await;
    let until = Some(world.end());
    let node = world.node().await;
    node.revoke(&[
        revocation(1, until),
        revocation(2, until),
        rule(subject(1), world.now()),
    ])
    .await;
    assert!(node.lift(&lift(token(2), world.now())).await);
    assert!(node.wins(&world.new_use(token(3), 1, 1)).await);
    assert!(node.wins(&world.new_use(token(4), 1, 2)).await);
    assert!(node.wins(&world.new_use(token(5), 1, 1)).await);
    assert!(node.return_use(&world.new_use(token(5), 1, 1)).await);
    drop(node);
    world.inject(Fault::Restart).await;
    let node = world.node().await;
    assert_eq!(
        node.listed(token(1)).await,
        Some(Listed::Revoked { until }),
        "a revocation was forgotten"
    );
    assert!(node.listed(subject(1)).await.is_some(), "a rule is gone");
    assert_eq!(node.listed(token(2)).await, None, "a lift was forgotten");
    assert!(
        !node.wins(&world.new_use(token(3), 2, 1)).await,
        "a use was won twice"
    );
    assert!(node.wins(&world.new_use(token(3), 1, 1)).await);
    assert!(node.wins(&world.new_use(token(4), 2, 2)).await);
    assert!(!node.wins(&world.new_use(token(4), 3, 2)).await);
    assert!(node.wins(&world.new_use(token(5), 2, 1)).await);
}

/// A repeated revocation changes nothing.
pub async fn revoking_again_changes_nothing<G: Fixture>() {
    let world = World::<G>::new().await;
    let until = Some(world.end());
    let revocations = [
        revocation(1, until).at(world.now()),
        rule(subject(1), world.now()).at(world.now()),
    ];
    let keys = [key(1), subject(1).digest()];
    for node in world.nodes(3).await {
        node.revoke(&revocations).await;
        let listed = [
            Some(Listed::Revoked { until }),
            Some(listed_rule(world.now(), None)),
        ];
        assert_eq!(node.look_up(&keys).await, listed);
    }
}

/// Of two revocations of a token the later `until` is kept. `None` is later than any time.
pub async fn a_revocation_is_never_shortened<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let end = |secs| world.end_plus(secs);
    for (at, (said, kept)) in [
        (end(20), end(20)),
        (end(10), end(20)),
        (end(30), end(30)),
        (None, None),
        (end(40), None),
    ]
    .into_iter()
    .enumerate()
    {
        let node = &nodes[at % 2];
        node.revoke(&[revocation(1, said)]).await;
        assert_eq!(
            node.listed(token(1)).await,
            Some(Listed::Revoked { until: kept }),
            "after a revocation until {said:?}"
        );
    }
}

/// Of two rules of one key the later `until` and the later `issued_at_or_before` are kept.
pub async fn a_rule_is_never_shortened<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let (at, end) = (
        |secs| world.after(secs),
        |secs: u64| world.after(9_000 + secs),
    );
    let ann = || subject(1);
    for (turn, (said, issued, until)) in [
        (
            rule(ann(), at(20)).retained(Some(end(99))),
            20,
            Some(end(99)),
        ),
        (
            rule(ann(), at(10)).retained(Some(end(50))),
            20,
            Some(end(99)),
        ),
        (
            rule(ann(), at(30)).retained(Some(end(50))),
            30,
            Some(end(99)),
        ),
        (rule(ann(), at(5)), 30, None),
        (rule(ann(), at(7)).retained(Some(end(1))), 30, None),
    ]
    .into_iter()
    .enumerate()
    {
        let node = &nodes[turn % 2];
        let words = format!("after {said:?}");
        node.revoke(&[said]).await;
        let kept = listed_rule(at(issued), until);
        assert_eq!(node.listed(ann()).await, Some(kept), "{words}");
    }
}

/// Every revocation of a batch takes effect, in any order and with repeated keys. An empty batch
/// succeeds.
pub async fn a_batch_is_revoked_completely<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    node.revoke(&[]).await;
    let mut batch: Vec<_> = (0..1_000)
        .map(|number| revocation(number, world.end_plus(number)))
        .collect();
    // Repeats two keys: the longer `until` comes first for one and last for the other.
    batch.push(revocation(7, Some(world.end())));
    batch.insert(0, revocation(9, Some(world.end())));
    batch.push(rule(subject(1), world.now()));
    node.revoke(&batch).await;
    let keys: Vec<_> = (0..1_000).map(key).collect();
    let listed = world.node().await.look_up(&keys).await;
    for (number, listed) in (0..).zip(listed) {
        let until = world.end_plus(number);
        assert_eq!(listed, Some(Listed::Revoked { until }), "number {number}");
    }
    assert!(node.listed(subject(1)).await.is_some());
}

/// `look_up` returns one result per key in the order of the keys, also for no key and for repeated
/// keys.
pub async fn look_ups_answer_in_the_order_of_the_keys<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    let revoked: Vec<_> = (0..1_000)
        .filter(|number: &u64| number.is_multiple_of(3))
        .map(|number| revocation(number, world.end_plus(number)))
        .collect();
    node.revoke(&revoked).await;
    let listed = |number: u64| {
        let until = world.end_plus(number);
        number
            .is_multiple_of(3)
            .then_some(Listed::Revoked { until })
    };
    let scattered = (0..1_000).map(|number| number * 7 % 1_000);
    for asked in [
        vec![],
        vec![3],
        vec![4],
        vec![9, 1, 0, 2, 6],
        vec![6, 6, 5, 6, 5],
        scattered.collect::<Vec<u64>>(),
        (0..1_000).rev().collect(),
    ] {
        let keys: Vec<KeyDigest> = asked.iter().copied().map(key).collect();
        let expected: Vec<_> = asked.iter().copied().map(listed).collect();
        assert_eq!(node.look_up(&keys).await, expected, "asked for {asked:?}");
    }
}
