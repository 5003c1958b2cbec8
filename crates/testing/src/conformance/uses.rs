//! Clauses of `take_use` and `return_use`.

use std::{pin::pin, task::Poll, time::Duration};

use tower_revoke_core::{Listed, Store, StoreError, UseOutcome};

use super::{
    Fixture,
    world::{World, at_once, new_use, token},
};

/// Of 1,000 concurrent callers for the only use of a token, through several handles, exactly one
/// gets it.
pub async fn one_of_a_thousand_concurrent_calls_takes_a_single_use<G: Fixture>() {
    assert_eq!(winners::<G>(1, 1_000).await, 1);
}

/// A token with n uses grants the first n uses and no more.
pub async fn n_of_n_concurrent_calls_take_a_use<G: Fixture>() {
    for n in [2, 7, 100] {
        assert_eq!(winners::<G>(n, n).await, n, "of {n} uses of {n} uses");
        let more = n + 20;
        assert_eq!(winners::<G>(n, more).await, n, "of {more} of {n} uses");
    }
}

async fn winners<G: Fixture>(limit: u32, callers: u32) -> u32 {
    let world = World::<G>::new().await;
    let nodes = world.nodes(4).await;
    let callers = (0..u64::from(callers)).map(|caller| {
        let node = nodes[caller as usize % nodes.len()].clone();
        let use_ = world.new_use(token(1), caller, limit);
        async move { node.wins(&use_).await }
    });
    let won = at_once(callers.collect::<Vec<_>>()).await;
    won.into_iter().map(u32::from).sum()
}

/// Concurrent uses of many tokens, some of them repeated, are counted per token and each gets its
/// own outcome. A repeated use gets the same outcome.
pub async fn concurrent_uses_of_several_tokens_are_independent<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let uses: Vec<_> = (0..100)
        .flat_map(|number| {
            let limit = 1 + u32::try_from(number % 2).unwrap_or_default();
            let ids = [1, 2, 3, 1].into_iter();
            ids.map(move |id| (number, id, limit))
        })
        .map(|(number, id, limit)| world.new_use(token(number), id, limit))
        .collect();
    let asked = uses.iter().zip(nodes.iter().cycle());
    let asked = asked.map(|(use_, node)| {
        let (use_, node) = (*use_, node.clone());
        async move { node.wins(&use_).await }
    });
    let won = at_once(asked.collect::<Vec<_>>()).await;
    for (uses, won) in uses.chunks(4).zip(won.chunks(4)) {
        assert_eq!(won[0], won[3], "one use, asked twice");
        let winners = won[..3].iter().filter(|won| **won).count();
        assert_eq!(winners, uses[0].limit.get() as usize, "of three uses");
        for (use_, won) in uses.iter().zip(won) {
            assert_eq!(nodes[0].wins(use_).await, *won, "asked again");
        }
    }
}

/// A repeated use gets the same outcome through any handle: a granted use stays granted, even after
/// the token is spent, and a rejected one stays rejected.
pub async fn a_repeated_use_gets_the_same_outcome<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    for (turn, (id, outcome)) in [
        (1, UseOutcome::Taken { left: 1 }),
        (1, UseOutcome::Taken { left: 1 }),
        (2, UseOutcome::Taken { left: 0 }),
        (2, UseOutcome::Taken { left: 0 }),
        (3, UseOutcome::Spent),
        (3, UseOutcome::Spent),
        (1, UseOutcome::Taken { left: 0 }),
        (2, UseOutcome::Taken { left: 0 }),
        (3, UseOutcome::Spent),
    ]
    .into_iter()
    .enumerate()
    {
        let use_ = world.new_use(token(1), id, 2);
        let answer = nodes[turn % 2].take_use(&use_).await;
        // A store may report how many uses were left then, or how many are left now.
        let told = match (answer, outcome) {
            (UseOutcome::Taken { left: 1 }, UseOutcome::Taken { left: 0 }) if id == 1 => outcome,
            _ => answer,
        };
        assert_eq!(told, outcome, "use {id} in turn {turn}");
    }
}

/// A use that is requested many times concurrently is counted once.
pub async fn a_use_requested_concurrently_is_taken_once<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(4).await;
    let same = world.new_use(token(1), 1, 3);
    let asked = (0..40).map(|turn| {
        let node = nodes[turn % nodes.len()].clone();
        async move { node.wins(&same).await }
    });
    let won = at_once(asked.collect::<Vec<_>>()).await;
    assert!(won.iter().all(|won| *won), "it wins each time");
    for (id, wins) in [(2, true), (3, true), (4, false)] {
        let use_ = world.new_use(token(1), id, 3);
        assert_eq!(nodes[0].wins(&use_).await, wins, "use {id} of 3 uses");
    }
}

/// A call to `take_use` that is dropped at any await point can be repeated under its id. It is
/// granted, and counted once.
pub async fn a_dropped_call_can_be_repeated<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    for polls in 0..16 {
        let dropped = world.new_use(token(polls), 1, 2);
        polled(polls, nodes[0].store.take_use(&dropped, world.now())).await;
        assert!(nodes[1].wins(&dropped).await, "dropped after {polls} polls");
        for (id, wins) in [(2, true), (3, false)] {
            let use_ = world.new_use(token(polls), id, 2);
            let won = nodes[0].wins(&use_).await;
            assert_eq!(won, wins, "use {id} of 2, one dropped after {polls} polls");
        }
    }
}

/// Polls a future until it completes or `polls` times, then drops it.
async fn polled<T>(polls: u64, call: impl Future<Output = T> + Send) {
    let mut call = pin!(call);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        match call.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending if left == 0 => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

/// A use with a different limit than that of earlier uses fails with `LimitMismatch`, which names
/// both limits. It takes no use.
pub async fn another_limit_is_rejected_and_both_are_named<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let first = world.new_use(token(1), 1, 2);
    assert!(nodes[0].wins(&first).await);
    for (id, limit) in [(2, 3), (2, 1), (1, 3)] {
        let other = world.new_use(token(1), id, limit);
        let answer = nodes[1].try_take(&other).await;
        let names_both = matches!(
            answer,
            Err(StoreError::LimitMismatch { stored: 2, asked }) if asked == limit
        );
        assert!(names_both, "{limit} uses, after 2: {answer:?}");
    }
    assert!(nodes[1].wins(&world.new_use(token(1), 2, 2)).await);
}

/// A use of an expired token fails with `Expired`, also if the same use was granted before. A token
/// expires at its `until`, not a second later.
pub async fn no_use_of_an_expired_token_is_taken<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let now = world.now();
    for past in [
        now,
        now.saturating_sub(Duration::from_secs(1)),
        tower_revoke_core::UnixTime::EPOCH,
    ] {
        for (id, node) in (0..).zip(&nodes) {
            let answer = node.try_take(&new_use(token(1), id, 9, Some(past))).await;
            let is_past = matches!(answer, Err(StoreError::Expired));
            assert!(is_past, "until {past}, and it is {now}: {answer:?}");
        }
    }
    let until = world.after(3_600);
    assert!(nodes[0].wins(&new_use(token(2), 1, 9, Some(until))).await);
    world.manual.advance(Duration::from_secs(3_600));
    for id in [1, 2] {
        let answer = nodes[0]
            .try_take(&new_use(token(2), id, 9, Some(until)))
            .await;
        let is_past = matches!(answer, Err(StoreError::Expired));
        assert!(is_past, "now is its end: {answer:?}");
    }
}

/// A purged use is not granted again when the wall clock is set back.
pub async fn purged_uses_are_not_taken_again<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let until = Some(world.after(3_600));
    assert!(nodes[0].wins(&new_use(token(1), 1, 1, until)).await);
    world.manual.advance(Duration::from_secs(7_200));
    // The other node takes uses meanwhile, so it may have cached how far the store was purged.
    let mut purge = pin!(nodes[0].purge(world.now()));
    for other in 2.. {
        let another = world.new_use(token(other), 1, 1);
        tokio::select! {
            biased;
            _ = &mut purge => break,
            won = nodes[1].wins(&another) => assert!(won, "of a token of its own"),
        }
    }
    world.manual.step_wall(-7_200);
    for (id, node) in (2..).zip(nodes.iter().rev()) {
        let answer = node.try_take(&new_use(token(1), id, 1, until)).await;
        let rejected = matches!(answer, Ok(UseOutcome::Spent) | Err(StoreError::Expired));
        assert!(rejected, "{answer:?}");
    }
}

/// A use of a token that never expires is never purged.
pub async fn a_use_without_an_expiry_is_kept<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    assert!(node.wins(&new_use(token(1), 1, 1, None)).await);
    node.purge(world.end()).await;
    assert!(!node.wins(&new_use(token(1), 2, 1, None)).await);
    let spent = Some(Listed::Spent { until: None });
    assert_eq!(node.listed(token(1)).await, spent);
}

/// A use is returned once, and only under the id that took it. Another id of the token, a rejected
/// use, an unknown id, and the same id of another token return nothing.
pub async fn only_its_own_id_returns_a_use<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let own = world.new_use(token(1), 1, 1);
    let lost = world.new_use(token(1), 2, 1);
    assert!(nodes[0].wins(&own).await);
    assert!(!nodes[0].wins(&lost).await);
    for (other, who) in [
        (lost, "one that lost"),
        (world.new_use(token(1), 3, 1), "one that was never made"),
        (world.new_use(token(2), 1, 1), "one of an unknown token"),
    ] {
        assert!(!nodes[1].return_use(&other).await, "{who} gave a use back");
    }
    assert!(!nodes[0].wins(&lost).await, "a use that is held was won");
    assert!(nodes[1].return_use(&own).await, "its own use returns it");
    for node in &nodes {
        assert!(!node.return_use(&own).await, "it was returned before");
    }
}

/// A returned use can be taken again, any number of times. The token's limit stays known.
pub async fn a_returned_use_can_be_taken_again<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    for id in 0..5 {
        assert!(nodes[0].wins(&world.new_use(token(1), id, 1)).await);
        assert!(nodes[1].return_use(&world.new_use(token(1), id, 1)).await);
    }
    for other in nodes {
        let answer = other.try_take(&world.new_use(token(1), 9, 2)).await;
        let is_known = matches!(
            answer,
            Err(StoreError::LimitMismatch {
                stored: 1,
                asked: 2
            })
        );
        assert!(is_known, "the limit was forgotten: {answer:?}");
    }
}

/// A look-up reports a token as spent once its last use is taken, and no longer once one is
/// returned.
pub async fn a_token_is_spent_when_its_last_use_is_taken<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let until = Some(world.end());
    let spent = Some(Listed::Spent { until });
    let (first, last) = (world.new_use(token(1), 1, 2), world.new_use(token(1), 2, 2));
    assert!(nodes[0].wins(&first).await);
    assert_eq!(nodes[1].listed(token(1)).await, None, "a use is left");
    assert!(nodes[0].wins(&last).await);
    assert_eq!(nodes[1].listed(token(1)).await, spent);
    assert!(nodes[0].return_use(&first).await);
    assert_eq!(nodes[1].listed(token(1)).await, None, "it was returned");
    assert!(nodes[0].wins(&world.new_use(token(1), 3, 2)).await);
    assert_eq!(nodes[1].listed(token(1)).await, spent);
}
