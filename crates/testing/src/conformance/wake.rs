//! Clauses of `changed`: it hints at changes and never causes a busy loop.

use std::time::Duration;

use super::{
    Ability, Fixture,
    follower::Follower,
    world::{World, has_feed, key, lacks, revocation},
};

/// `changed` doesn't resolve over and over while nothing changes.
pub async fn changed_waits_while_nothing_changes<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let nodes = world.nodes(2).await;
    let said = revocation(1, Some(world.end()));
    nodes[1].revoke(&[said]).await;
    let mut follower = Follower::default();
    follower.catch_up(&nodes[0]).await;
    let mut woken = 0;
    // How long the test watches. Nothing has to happen within this time.
    let watched = tokio::time::timeout(Duration::from_millis(300), async {
        while woken < 20 {
            let cursor = follower.cursor.clone().expect("it has caught up");
            nodes[0].feed().changed(&cursor).await;
            follower.catch_up(&nodes[0]).await;
            woken += 1;
            tokio::task::yield_now().await;
        }
    });
    let still_waits = watched.await.is_err();
    assert!(still_waits, "woken {woken} times for nothing");
}

/// `changed` resolves after a write through another handle, and the feed then has the change. A
/// single hint may be lost, but not all of them.
pub async fn changed_resolves_after_a_write_by_another_handle<G: Fixture>() {
    if !has_feed::<G>().await || lacks::<G>(Ability::Push) {
        return;
    }
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let mut follower = Follower::default();
    follower.catch_up(&nodes[0]).await;
    let cursor = follower.cursor.clone().expect("it has caught up");
    let mut keys = Vec::new();
    let woken = async {
        let mut woken = nodes[0].feed().changed(&cursor);
        for number in 0.. {
            let said = revocation(number, Some(world.end()));
            nodes[1].revoke(&[said]).await;
            keys.push(key(number));
            if tokio::time::timeout(Duration::from_millis(200), woken.as_mut())
                .await
                .is_ok()
            {
                break;
            }
        }
    };
    nodes[0].in_time("changed", woken).await;
    follower.agrees(&nodes[0], &keys).await;
}
