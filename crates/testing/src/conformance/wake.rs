//! Clauses of `changed`: it hints at changes and never causes a busy loop.

use std::time::Duration;

use tower_revoke_core::{Changes, KeyDigest, Store};

use super::{
    Ability, Fixture,
    follower::Follower,
    world::{Node, World, has_feed, key, lacks, revocation},
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
            let news = nodes[0].feed().changed(&cursor).await;
            follower.take_news(news);
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
    let mut keys = Vec::new();
    let woken = wake(&nodes, &follower, &world, &mut keys);
    nodes[0].in_time("changed", woken).await;
    follower.agrees(&nodes[0], &keys).await;
}

/// What `changed` hands over is what follows the cursor in the feed: nothing is left out, and the
/// follower goes on from where it ends.
pub async fn changed_hands_over_what_follows<G: Fixture>() {
    if !has_feed::<G>().await || lacks::<G>(Ability::Push) {
        return;
    }
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let mut follower = Follower::default();
    let mut keys = Vec::new();
    // The feed is not empty at the start.
    nodes[1].revoke(&[revocation(0, Some(world.end()))]).await;
    follower.catch_up(&nodes[0]).await;
    for _ in 0..5 {
        let woken = wake(&nodes, &follower, &world, &mut keys);
        let news = nodes[0].in_time("changed", woken).await;
        follower.take_news(news);
    }
    follower.agrees(&nodes[0], &keys).await;
}

/// Revokes further keys until `changed` resolves.
async fn wake<G: Fixture, S: Store>(
    nodes: &[Node<S>],
    follower: &Follower,
    world: &World<G>,
    keys: &mut Vec<KeyDigest>,
) -> Option<Changes> {
    let cursor = follower.cursor.clone().expect("it has caught up");
    let mut woken = nodes[0].feed().changed(&cursor);
    loop {
        let number = 1 + keys.len() as u64;
        nodes[1]
            .revoke(&[revocation(number, Some(world.end()))])
            .await;
        keys.push(key(number));
        let waited = tokio::time::timeout(Duration::from_millis(200), woken.as_mut());
        if let Ok(news) = waited.await {
            return news;
        }
    }
}
