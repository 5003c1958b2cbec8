//! Clauses of `restore`.

use std::time::Duration;

use proptest::{
    prelude::{Just, Strategy, any, prop},
    prop_oneof,
    strategy::ValueTree,
    test_runner::TestRunner,
};
use tower_revoke_core::{Change, KeyDigest, Listed, UnixTime};

use super::{
    Fixture,
    world::{World, key, lift, listed_rule, revocation, rule, subject, token},
};

const fn revoked(key: KeyDigest, until: Option<UnixTime>, at: UnixTime) -> Change {
    let listed = Listed::Revoked { until };
    Change::Listed { key, listed, at }
}

/// A restored revocation or rule takes effect for every handle, in the kind that it had. A restored
/// token without uses is listed as spent, even if it was lifted before. A returned use and an empty
/// list change nothing.
pub async fn a_restored_revocation_takes_effect<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let nodes = world.nodes(2).await;
    let (now, until) = (world.now(), Some(world.end()));
    let logged_out = listed_rule(now, None);
    let known = [
        revoked(key(1), until, now),
        Change::Listed {
            key: subject(1).digest(),
            listed: logged_out,
            at: now,
        },
        Change::UsedUp { key: key(2), until },
        Change::Returned { key: key(2) },
        Change::Returned { key: key(3) },
        Change::Listed {
            key: key(4),
            listed: Listed::Spent { until },
            at: now,
        },
        Change::Lifted {
            key: key(5),
            at: now,
            until,
        },
        Change::UsedUp { key: key(5), until },
    ];
    nodes[0].restore(&[]).await;
    for node in [&nodes[0], &nodes[1], &nodes[0]] {
        node.restore(&known).await;
        for node in &nodes {
            let (revoked, spent) = (Listed::Revoked { until }, Listed::Spent { until });
            assert_eq!(node.listed(token(1)).await, Some(revoked));
            assert_eq!(node.listed(subject(1)).await, Some(logged_out));
            assert_eq!(node.listed(token(2)).await, Some(spent), "it was used up");
            assert_eq!(node.listed(token(3)).await, None);
            assert_eq!(node.listed(token(4)).await, Some(spent));
            assert_eq!(node.listed(token(5)).await, Some(spent), "lifted, used up");
        }
    }
    // All are revocations now.
    for number in [1, 2, 4, 5] {
        assert!(nodes[1].lift(&lift(token(number), now)).await, "{number}");
    }
    assert!(nodes[1].lift(&lift(subject(1), now)).await);
}

/// `restore` never shortens an entry, and extends one that it has a later `until` for.
pub async fn restoring_never_shortens<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let node = world.node().await;
    let now = world.now();
    let end = |secs| world.end_plus(secs);
    node.revoke(&[
        revocation(1, end(20)).at(now),
        rule(subject(1), world.after(20)).at(now),
    ])
    .await;
    for (said, kept) in [
        (end(10), end(20)),
        (end(30), end(30)),
        (None, None),
        (end(99), None),
    ] {
        node.restore(&[revoked(key(1), said, now)]).await;
        let listed = node.listed(token(1)).await;
        assert_eq!(listed, Some(Listed::Revoked { until: kept }));
    }
    for (said, kept) in [(10, 20), (30, 30), (25, 30)] {
        let ruled = |secs, until| listed_rule(world.after(secs), until);
        node.restore(&[Change::Listed {
            key: subject(1).digest(),
            listed: ruled(said, end(1)),
            at: now,
        }])
        .await;
        let listed = node.listed(subject(1)).await;
        assert_eq!(listed, Some(ruled(kept, None)), "after {said}");
    }
}

/// Restoring a revocation that is older than a lift of its key doesn't revive it.
pub async fn restoring_never_revives_a_lifted_revocation<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let nodes = world.nodes(2).await;
    let (now, until) = (world.now(), Some(world.end()));
    let ruled = |at| Change::Listed {
        key: subject(1).digest(),
        listed: listed_rule(now, None),
        at,
    };
    nodes[0]
        .revoke(&[revocation(1, until).at(now), rule(subject(1), now).at(now)])
        .await;
    assert!(nodes[0].lift(&lift(token(1), now)).await);
    assert!(nodes[0].lift(&lift(subject(1), now)).await);
    for at in [now, UnixTime::EPOCH] {
        let known = [
            revoked(key(1), until, at),
            revoked(key(1), None, at),
            ruled(at),
        ];
        nodes[1].restore(&known).await;
        for node in &nodes {
            assert_eq!(node.listed(token(1)).await, None, "said at {at}");
            assert_eq!(node.listed(subject(1)).await, None, "said at {at}");
        }
    }
    // A revocation later than the lift takes effect.
    let later = world.after(60);
    let known = [revoked(key(1), until, later), ruled(later)];
    nodes[1].restore(&known).await;
    assert!(nodes[0].listed(token(1)).await.is_some());
    assert!(nodes[0].listed(subject(1)).await.is_some());
}

/// A restored lift ends only revocations that are older than it. It is remembered even if there is
/// nothing to lift yet.
pub async fn a_restored_lift_ends_earlier_revocations<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let node = world.node().await;
    let (now, until) = (world.now(), Some(world.end()));
    let lifted = |number, at| Change::Lifted {
        key: key(number),
        at,
        until,
    };
    node.revoke(&[revocation(1, until).at(now)]).await;
    for older in [
        UnixTime::EPOCH,
        now.saturating_sub(Duration::from_secs(9)),
        now,
    ] {
        node.restore(&[lifted(1, older)]).await;
        let listed = node.listed(token(1)).await;
        assert!(listed.is_some(), "said at {now}, lifted at {older}");
    }
    node.restore(&[lifted(1, world.after(5))]).await;
    assert_eq!(node.listed(token(1)).await, None);
    assert!(!node.lift(&lift(token(1), world.after(9))).await);
    // The lift arrives before the older revocation.
    node.restore(&[lifted(2, world.after(5))]).await;
    node.restore(&[revoked(key(2), until, now)]).await;
    assert_eq!(node.listed(token(2)).await, None);
    // A lift doesn't affect uses.
    assert!(node.wins(&world.new_use(token(3), 1, 1)).await);
    node.restore(&[lifted(3, world.after(5)), Change::Returned { key: key(3) }])
        .await;
    assert_eq!(node.listed(token(3)).await, Some(Listed::Spent { until }));
}

#[derive(Clone, Copy, Debug)]
enum Known {
    Listed { at: u64, until: Option<u64> },
    Lifted { at: u64 },
}

/// Returns pairs of a revocation and a lift: either is the newer one, in both orders, and restored
/// one by one or together.
fn pairs() -> impl Iterator<Item = (Vec<Known>, bool)> {
    let all = (0..8_u64).map(|bits| [bits & 1 == 0, bits & 2 == 0, bits & 4 == 0]);
    all.map(|[lift_is_newer, lift_is_first, all_at_once]| {
        let (listed, lifted) = if lift_is_newer { (1, 3) } else { (3, 1) };
        let lifted = Known::Lifted { at: lifted };
        let listed = Known::Listed {
            at: listed,
            until: None,
        };
        let pair = if lift_is_first {
            vec![lifted, listed]
        } else {
            vec![listed, lifted]
        };
        (pair, all_at_once)
    })
}

/// Restoring the same changes in any order, repeatedly and from several nodes, ends with the same
/// keys listed.
///
/// How long they stay listed may differ: a revocation that is lifted later may have extended
/// another one before.
pub async fn changes_can_be_restored_in_any_order<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let nodes = world.nodes(2).await;
    let known = prop_oneof![
        (0..6_u64, prop::option::of(0..4_u64)).prop_map(|(at, until)| Known::Listed { at, until }),
        (0..6_u64).prop_map(|at| Known::Lifted { at }),
    ];
    let history = prop::collection::vec(known, 1..6);
    let case = (history, any::<bool>())
        .prop_flat_map(|(history, at_once)| (Just(history).prop_shuffle(), Just(at_once)));
    let mut runner = TestRunner::default();
    let by_chance = (0..60).map(|_| {
        let tree = case.new_tree(&mut runner);
        tree.expect("nothing is filtered").current()
    });
    for (number, (history, all_at_once)) in (0..).zip(pairs().chain(by_chance)) {
        let changes = history.iter().map(|known| match *known {
            Known::Listed { at, until } => {
                let until = until.and_then(|secs| world.end_plus(secs));
                revoked(key(number), until, world.after(at))
            }
            Known::Lifted { at } => Change::Lifted {
                key: key(number),
                at: world.after(at),
                until: None,
            },
        });
        let changes: Vec<_> = changes.collect();
        if all_at_once {
            nodes[0].restore(&changes).await;
        }
        for (turn, change) in changes.iter().enumerate() {
            nodes[turn % 2].restore(&[*change]).await;
        }
        let lifted = history.iter().filter_map(|known| match known {
            Known::Lifted { at } => Some(*at),
            Known::Listed { .. } => None,
        });
        let lifted = lifted.max();
        let stands = history.iter().filter_map(|known| match known {
            Known::Listed { at, until } if Some(*at) >= lifted => Some(*until),
            _ => None,
        });
        // `None` is later than any time.
        let shortest = stands.max_by_key(|until| until.unwrap_or(u64::MAX));
        let shortest = shortest.map(|until| until.unwrap_or(u64::MAX));
        let listed = nodes[1].listed(token(number)).await;
        let kept = listed.map(|listed| match listed.until() {
            Some(until) => until.as_secs() - world.end().as_secs(),
            None => u64::MAX,
        });
        assert_eq!(
            kept.is_some(),
            shortest.is_some(),
            "{history:?}: {listed:?}"
        );
        assert!(kept >= shortest, "{history:?}: shortened to {listed:?}");
    }
}
