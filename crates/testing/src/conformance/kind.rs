//! Clauses of the two kinds of a revocation, and of used-up uses beside them.

use std::time::Duration;

use tower_revoke_core::{Change, Listed, RecordFilter, Revocation, Store, UnixTime};

use super::{
    Fixture,
    follower::Follower,
    world::{World, key, lift, revocation, token},
};

fn spent(number: u64, until: Option<UnixTime>) -> Revocation {
    Revocation::of_spent_token(token(number), None).retained(until)
}

/// A token that is revoked as spent is listed as spent by every handle. Revoking it again never
/// shortens that.
pub async fn the_kind_of_a_revocation_is_kept<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let end = |secs| world.end_plus(secs);
    for (asked, kept) in [(20, 20), (10, 20), (30, 30)] {
        let both = [spent(1, end(asked)), revocation(2, end(asked))];
        nodes[0].revoke(&both).await;
        for node in &nodes {
            let listed = node.look_up(&[key(1), key(2)]).await;
            let until = end(kept);
            let (spent, revoked) = (Listed::Spent { until }, Listed::Revoked { until });
            assert_eq!(listed, [Some(spent), Some(revoked)], "after {asked}");
        }
    }
}

/// A token that is revoked in both kinds is listed as revoked, with the later `until`, whichever
/// comes first. The author of a revocation is not replaced by that of a spent one.
///
/// A spent token whose uses are used up as well is listed as spent, with the later `until`.
pub async fn revoked_takes_precedence_over_spent<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let end = |secs| world.end_plus(secs);
    let mut number = 0;
    for (one, other) in [(1, 9), (9, 1)] {
        let by_ann = |number| revocation(number, end(one)).by("ann").at(world.now());
        let after_use = |number| spent(number, end(other)).by("layer").at(world.after(1));
        // At once, and one by one, in either order.
        number += 4;
        nodes[0].revoke(&[by_ann(number), after_use(number)]).await;
        nodes[1]
            .revoke(&[after_use(number + 1), by_ann(number + 1)])
            .await;
        for revocation in [by_ann(number + 2), after_use(number + 2)] {
            nodes[0].revoke(&[revocation]).await;
        }
        for revocation in [after_use(number + 3), by_ann(number + 3)] {
            nodes[1].revoke(&[revocation]).await;
        }
        for number in number..number + 4 {
            let listed = nodes[0].listed(token(number)).await;
            let until = end(9);
            assert_eq!(listed, Some(Listed::Revoked { until }), "number {number}");
            if let Some(records) = nodes[0].store.records() {
                let wanted = RecordFilter::all().key(token(number));
                let page = nodes[0]
                    .in_time("page", records.page(&wanted, None, 1))
                    .await;
                let record = &page.expect("a page").records[0];
                assert_eq!(
                    (record.listed, record.by.as_str()),
                    (Listed::Revoked { until }, "ann")
                );
            }
        }
    }
    for (number, until, kept) in [
        (100, end(9), end(9)),
        (101, Some(world.after(3_600)), end(0)),
    ] {
        assert!(nodes[0].wins(&world.new_use(token(number), 1, 1)).await);
        nodes[0].revoke(&[spent(number, until)]).await;
        let listed = nodes[1].listed(token(number)).await;
        assert_eq!(listed, Some(Listed::Spent { until: kept }));
    }
}

/// A lift ends a revocation of kind spent, and returns no use.
pub async fn a_lift_ends_a_spent_revocation_and_no_use<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let until = Some(world.end());
    for number in [1, 2] {
        nodes[0].revoke(&[spent(number, until)]).await;
    }
    for number in [2, 3] {
        assert!(nodes[0].wins(&world.new_use(token(number), 1, 1)).await);
    }
    let used_up = Some(Listed::Spent { until });
    for (number, is_revoked, left) in [(1, true, None), (2, true, used_up), (3, false, used_up)] {
        for is_first in [true, false] {
            let lifted = nodes[1].lift(&lift(token(number), world.now())).await;
            assert_eq!(lifted, is_first && is_revoked, "number {number}");
            for node in &nodes {
                assert_eq!(node.listed(token(number)).await, left, "number {number}");
            }
        }
    }
}

/// The feed tells a revocation of kind spent as [`Change::Listed`] and used-up uses as
/// [`Change::UsedUp`], as they are made and in a full load, and the end of each leaves the other.
pub async fn the_feed_distinguishes_spent_revocations_from_used_up_tokens<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let node = world.node().await;
    let (now, until) = (world.now(), Some(world.end()));
    let use_ = |number| world.new_use(token(number), 1, 1);
    let mut follower = Follower::default();
    follower.catch_up(&node).await;
    // Key 1 is only revoked, key 2 only used up, and the others are both.
    for number in [1, 3, 4] {
        node.revoke(&[spent(number, until).at(now)]).await;
    }
    for number in [2, 3, 4] {
        assert!(node.wins(&use_(number)).await);
    }
    let keys: Vec<_> = (1..5).map(key).collect();
    let mut told = Vec::new();
    let listed = |number| Change::Listed {
        key: key(number),
        listed: Listed::Spent { until },
        at: now,
    };
    let used_up = |number| Change::UsedUp {
        key: key(number),
        until,
    };
    let expected = [
        listed(1),
        used_up(2),
        listed(3),
        used_up(3),
        listed(4),
        used_up(4),
    ];
    let all_told = tokio::time::timeout(node.patience, async {
        while !expected.iter().all(|change| told.contains(change)) {
            told.append(&mut follower.catch_up(&node).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    all_told
        .await
        .unwrap_or_else(|_| panic!("not all of {expected:?} is told: {told:?}"));
    let loaded = Follower::default().catch_up(&node).await;
    for change in expected {
        assert!(loaded.contains(&change), "{change:?} in {loaded:?}");
    }
    for change in told.iter().chain(&loaded) {
        assert!(expected.contains(change), "{change:?}");
    }
    assert!(node.lift(&lift(token(3), now)).await);
    assert!(node.return_use(&use_(4)).await);
    follower.agrees(&node, &keys).await;
    Follower::default().agrees(&node, &keys).await;
    let both = Some(Listed::Spent { until });
    assert_eq!(node.look_up(&keys).await, [both; 4]);
    assert!(node.return_use(&use_(3)).await);
    assert!(node.lift(&lift(token(4), now)).await);
    follower.agrees(&node, &keys).await;
    assert_eq!(node.look_up(&keys).await, [both, both, None, None]);
}
