//! Clauses of a store whose server doesn't answer: calls fail with a typed error within the time
//! limit, and the same handles work again afterwards.

use std::time::Duration;

use tower_revoke_core::{Change, Listed, Store, StoreError, UseOutcome};

use super::{
    Ability, Fault, Fixture,
    follower::Follower,
    issued::{find, insert, issued_token, port as issued_tokens},
    world::{Node, World, at_once, key, lacks, lift, revocation, token},
};

/// While the server is stopped, every call fails with `Unavailable` or `TimedOut` within the time
/// limit. Once the server is back, the same handles work again and no data is lost.
pub async fn an_unavailable_store_returns_errors_and_recovers<G: Fixture>() {
    if !lacks::<G>(Ability::Outage) {
        outage::<G>(Fault::Stop, Fault::Start).await;
    }
}

/// The same for a server that accepts requests and answers none. Calls made meanwhile have an
/// unknown outcome; repeating a use under its id determines it.
pub async fn an_unresponsive_store_returns_errors_and_recovers<G: Fixture>() {
    if !lacks::<G>(Ability::Freeze) {
        outage::<G>(Fault::Freeze, Fault::Thaw).await;
    }
}

async fn outage<G: Fixture>(begin: Fault, end: Fault) {
    let world = World::<G>::alone().await;
    let nodes = world.nodes(2).await;
    let until = Some(world.end());
    let before = revocation(1, until);
    nodes[0].revoke(&[before]).await;
    assert!(nodes[0].wins(&world.new_use(token(2), 1, 1)).await);
    let issued = issued_token(1, &world);
    if let Some(port) = issued_tokens::<G, _>(&nodes[0]) {
        insert(&nodes[0], port, &issued).await;
    }
    let mut follower = Follower::default();
    if !lacks::<G>(Ability::Feed) {
        follower.catch_up(&nodes[1]).await;
    }
    world.inject(begin).await;
    for node in &nodes {
        all_say_so(&world, node).await;
    }
    // Uses with an unknown outcome: the server may have received any of them.
    let asked = (10..14).map(|id| {
        let (node, use_) = (
            nodes[id as usize % 2].clone(),
            world.new_use(token(3), id, 1),
        );
        async move { node.try_take(&use_).await }
    });
    for answer in at_once(asked.collect::<Vec<_>>()).await {
        is_an_outage("use", answer);
    }
    world.inject(end).await;
    for node in &nodes {
        recovers(node).await;
        let listed = node.look_up(&[key(1), key(2)]).await;
        let there = [
            Some(Listed::Revoked { until }),
            Some(Listed::Spent { until }),
        ];
        assert_eq!(listed, there, "forgotten after {begin:?} and {end:?}");
    }
    if let Some(port) = issued_tokens::<G, _>(&nodes[1]) {
        assert_eq!(find(&nodes[1], port, &issued.hash).await, Some(issued));
        insert(&nodes[1], port, &issued_token(3, &world)).await;
    }
    let mut won = 0;
    for id in 10..14 {
        let answer = nodes[id as usize % 2]
            .take_use(&world.new_use(token(3), id, 1))
            .await;
        won += u32::from(matches!(answer, UseOutcome::Taken { .. }));
    }
    assert_eq!(won, 1, "of four uses in doubt, asked again under their ids");
    let after = revocation(4, until);
    nodes[0].revoke(&[after]).await;
    assert!(nodes[1].lift(&lift(token(1), world.now())).await);
    if !lacks::<G>(Ability::Feed) {
        let keys: Vec<_> = (1..5).map(key).collect();
        follower.agrees(&nodes[1], &keys).await;
    }
}

async fn all_say_so<G: Fixture>(world: &World<G>, node: &Node<G::Store>) {
    let revocations = [revocation(9, Some(world.end()))];
    let use_ = world.new_use(token(9), 1, 1);
    let (keys, lift) = ([key(9)], lift(token(9), world.now()));
    let store = &node.store;
    let issued = issued_token(2, world);
    let all = async {
        tokio::join!(
            async { is_an_outage("revoke", store.revoke(&revocations).await) },
            async { is_an_outage("lift", store.lift(&lift).await) },
            async { is_an_outage("look_up", store.look_up(&keys).await) },
            async { is_an_outage("use", store.take_use(&use_, world.now()).await) },
            async { is_an_outage("release", store.return_use(&use_).await) },
            async { is_an_outage("purge", store.purge(world.now()).await) },
            async {
                let known = Change::Listed {
                    key: key(9),
                    listed: Listed::Revoked { until: None },
                    at: world.now(),
                };
                if let Some(feed) = store.feed() {
                    is_an_outage("restore", feed.restore(&[known]).await);
                    is_an_outage("changes", feed.changes(None).await);
                }
            },
            async {
                let holder = issued.subject_key().expect("it has a subject").digest();
                if let Some(port) = store.issued_tokens() {
                    is_an_outage("insert", port.insert(&issued).await);
                    is_an_outage("find", port.find(&issued.hash).await);
                    is_an_outage("page_of", port.page_of(&holder, None, 9).await);
                }
            },
        );
    };
    node.in_time("all at once", all).await;
}

fn is_an_outage<T>(what: &str, answer: Result<T, StoreError>) {
    match answer {
        Err(StoreError::Unavailable(_) | StoreError::TimedOut(_)) => {}
        Err(error) => panic!("`{what}` says something else: {error} ({error:?})"),
        Ok(_) => panic!("`{what}` has an answer, and nobody is there to give it"),
    }
}

/// Repeats a look-up, as a health check does, until it succeeds.
async fn recovers<S: Store>(node: &Node<S>) {
    let answered = tokio::time::timeout(node.patience, async {
        while node.store.look_up(&[key(1)]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let recovered = answered.await.is_ok();
    assert!(recovered, "it doesn't recover in {:?}", node.patience);
}
