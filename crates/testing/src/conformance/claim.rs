//! Clauses of `claim` and `release`.

use std::{pin::pin, task::Poll, time::Duration};

use tower_revoke_core::{ClaimOutcome, Listed, Store, StoreError};

use super::{
    Ability, Ground,
    world::{World, at_once, claim, lacks, token},
};

/// Of 1,000 claims of a single use, asked at once through several handles, exactly one wins.
pub async fn one_of_a_thousand_claims_wins<G: Ground>() {
    assert_eq!(winners::<G>(1, 1_000).await, 1);
}

/// Of n claims of a token with n uses all win, and none of those that come beyond.
pub async fn n_of_n_claims_win<G: Ground>() {
    for n in [2, 7, 100] {
        assert_eq!(winners::<G>(n, n).await, n, "of {n} claims of {n} uses");
        let more = n + 20;
        assert_eq!(winners::<G>(n, more).await, n, "of {more} of {n} uses");
    }
}

async fn winners<G: Ground>(limit: u32, callers: u32) -> u32 {
    let world = World::<G>::new().await;
    let nodes = world.nodes(4).await;
    let callers = (0..u64::from(callers)).map(|caller| {
        let node = nodes[caller as usize % nodes.len()].clone();
        let claim = world.claim(token(1), caller, limit);
        async move { node.wins(&claim).await }
    });
    let won = at_once(callers.collect::<Vec<_>>()).await;
    won.into_iter().map(u32::from).sum()
}

/// Claims of many tokens that come at once, some of them asked twice, are each judged by their own
/// token, and answered with their own outcome: asked again, it is the same.
pub async fn claims_that_come_together_are_kept_apart<G: Ground>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let claims: Vec<_> = (0..100)
        .flat_map(|number| {
            let limit = 1 + u32::try_from(number % 2).unwrap_or_default();
            let ids = [1, 2, 3, 1].into_iter();
            ids.map(move |id| (number, id, limit))
        })
        .map(|(number, id, limit)| world.claim(token(number), id, limit))
        .collect();
    let asked = claims.iter().zip(nodes.iter().cycle());
    let asked = asked.map(|(claim, node)| {
        let (claim, node) = (*claim, node.clone());
        async move { node.wins(&claim).await }
    });
    let won = at_once(asked.collect::<Vec<_>>()).await;
    for (claims, won) in claims.chunks(4).zip(won.chunks(4)) {
        assert_eq!(won[0], won[3], "one claim, asked twice");
        let winners = won[..3].iter().filter(|won| **won).count();
        assert_eq!(winners, claims[0].limit.get() as usize, "of three claims");
        for (claim, won) in claims.iter().zip(won) {
            assert_eq!(nodes[0].wins(claim).await, *won, "asked again");
        }
    }
}

/// The same claim asked again gets the same answer, through any handle: who won has won, also
/// after the last use is gone and after everybody else was refused; who lost has lost.
pub async fn a_claim_asked_again_gets_the_same_answer<G: Ground>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    for (turn, (id, outcome)) in [
        (1, ClaimOutcome::Won { left: 1 }),
        (1, ClaimOutcome::Won { left: 1 }),
        (2, ClaimOutcome::Won { left: 0 }),
        (2, ClaimOutcome::Won { left: 0 }),
        (3, ClaimOutcome::Spent),
        (3, ClaimOutcome::Spent),
        (1, ClaimOutcome::Won { left: 0 }),
        (2, ClaimOutcome::Won { left: 0 }),
        (3, ClaimOutcome::Spent),
    ]
    .into_iter()
    .enumerate()
    {
        let claim = world.claim(token(1), id, 2);
        let answer = nodes[turn % 2].claim(&claim).await;
        // What is left is told as it was, or as it is.
        let told = match (answer, outcome) {
            (ClaimOutcome::Won { left: 1 }, ClaimOutcome::Won { left: 0 }) if id == 1 => outcome,
            _ => answer,
        };
        assert_eq!(told, outcome, "claim {id} in turn {turn}");
    }
}

/// One claim asked many times at once takes one use.
pub async fn a_claim_asked_many_times_at_once_takes_one_use<G: Ground>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(4).await;
    let same = world.claim(token(1), 1, 3);
    let asked = (0..40).map(|turn| {
        let node = nodes[turn % nodes.len()].clone();
        async move { node.wins(&same).await }
    });
    let won = at_once(asked.collect::<Vec<_>>()).await;
    assert!(won.iter().all(|won| *won), "it wins each time");
    for (id, wins) in [(2, true), (3, true), (4, false)] {
        let claim = world.claim(token(1), id, 3);
        assert_eq!(nodes[0].wins(&claim).await, wins, "claim {id} of 3 uses");
    }
}

/// A claim whose future was dropped at any of its await points is asked again under its id and
/// wins; it has taken one use, not two.
pub async fn a_claim_dropped_halfway_can_be_asked_again<G: Ground>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    for polls in 0..16 {
        let dropped = world.claim(token(polls), 1, 2);
        polled(polls, nodes[0].store.claim(&dropped)).await;
        assert!(nodes[1].wins(&dropped).await, "dropped after {polls} polls");
        for (id, wins) in [(2, true), (3, false)] {
            let claim = world.claim(token(polls), id, 2);
            let won = nodes[0].wins(&claim).await;
            assert_eq!(
                won, wins,
                "claim {id} of 2, one dropped after {polls} polls"
            );
        }
    }
}

/// Drives a future to its end or for so many polls, then drops it.
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

/// A claim with another limit than the token's uses were counted with is an error that names
/// both, and takes nothing; also after all uses were given back.
pub async fn another_limit_is_refused_and_both_are_named<G: Ground>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let first = world.claim(token(1), 1, 2);
    assert!(nodes[0].wins(&first).await);
    for (id, limit) in [(2, 3), (2, 1), (1, 3)] {
        let other = world.claim(token(1), id, limit);
        let answer = nodes[1].try_claim(&other).await;
        let names_both = matches!(
            answer,
            Err(StoreError::OtherLimit { stored: 2, asked }) if asked == limit
        );
        assert!(names_both, "{limit} uses, after 2: {answer:?}");
    }
    assert!(nodes[1].wins(&world.claim(token(1), 2, 2)).await);
}

/// Nothing is won on a life whose last second has begun, whoever asks, also who won it before.
pub async fn nothing_is_claimed_on_a_life_that_is_past<G: Ground>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let now = world.now();
    for past in [
        now,
        now.saturating_sub(Duration::from_secs(1)),
        tower_revoke_core::UnixTime::EPOCH,
    ] {
        for (id, node) in (0..).zip(&nodes) {
            let answer = node.try_claim(&claim(token(1), id, 9, Some(past))).await;
            let is_past = matches!(answer, Err(StoreError::LifeIsPast));
            assert!(is_past, "until {past}, and it is {now}: {answer:?}");
        }
    }
    if lacks::<G>(Ability::Clock) {
        return;
    }
    let until = world.after(3_600);
    assert!(nodes[0].wins(&claim(token(2), 1, 9, Some(until))).await);
    world.hand.advance(Duration::from_secs(3_600));
    for id in [1, 2] {
        let answer = nodes[0]
            .try_claim(&claim(token(2), id, 9, Some(until)))
            .await;
        let is_past = matches!(answer, Err(StoreError::LifeIsPast));
        assert!(is_past, "now is its end: {answer:?}");
    }
}

/// Uses that were purged are not won a second time when the wall clock is set back.
pub async fn uses_that_were_purged_are_not_won_again<G: Ground>() {
    if lacks::<G>(Ability::Clock) {
        return;
    }
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let until = Some(world.after(3_600));
    assert!(nodes[0].wins(&claim(token(1), 1, 1, until)).await);
    world.hand.advance(Duration::from_secs(7_200));
    // Also where the other node claims all the time, and may know something by heart.
    let mut purge = pin!(nodes[0].purge(world.now()));
    for other in 2.. {
        let another = world.claim(token(other), 1, 1);
        tokio::select! {
            biased;
            _ = &mut purge => break,
            won = nodes[1].wins(&another) => assert!(won, "of a token of its own"),
        }
    }
    world.hand.step_wall(-7_200);
    for (id, node) in (2..).zip(nodes.iter().rev()) {
        let answer = node.try_claim(&claim(token(1), id, 1, until)).await;
        let refused = matches!(
            answer,
            Ok(ClaimOutcome::Spent) | Err(StoreError::LifeIsPast)
        );
        assert!(refused, "{answer:?}");
    }
}

/// A use of a token that never expires is kept for ever.
pub async fn a_claim_without_an_end_is_kept<G: Ground>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    assert!(node.wins(&claim(token(1), 1, 1, None)).await);
    node.purge(world.end()).await;
    assert!(!node.wins(&claim(token(1), 2, 1, None)).await);
    let spent = Some(Listed::Spent { until: None });
    assert_eq!(node.listed(token(1)).await, spent);
}

/// A use is given back by the claim that holds it, once, and by no other: not by another claim of
/// the token, by one that lost, by the same id on another token, or by one that was never made.
pub async fn only_its_own_claim_gives_a_use_back<G: Ground>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let own = world.claim(token(1), 1, 1);
    let lost = world.claim(token(1), 2, 1);
    assert!(nodes[0].wins(&own).await);
    assert!(!nodes[0].wins(&lost).await);
    for (other, who) in [
        (lost, "one that lost"),
        (world.claim(token(1), 3, 1), "one that was never made"),
        (world.claim(token(2), 1, 1), "one of an unknown token"),
    ] {
        assert!(!nodes[1].release(&other).await, "{who} gave a use back");
    }
    assert!(!nodes[0].wins(&lost).await, "a use that is held was won");
    assert!(nodes[1].release(&own).await, "its own claim gives it back");
    for node in &nodes {
        assert!(!node.release(&own).await, "it was given back before");
    }
}

/// A use that was given back can be claimed again, as often as it was given back; the limit stays
/// known.
pub async fn a_use_given_back_can_be_claimed_again<G: Ground>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    for id in 0..5 {
        assert!(nodes[0].wins(&world.claim(token(1), id, 1)).await);
        assert!(nodes[1].release(&world.claim(token(1), id, 1)).await);
    }
    for other in nodes {
        let answer = other.try_claim(&world.claim(token(1), 9, 2)).await;
        let is_known = matches!(
            answer,
            Err(StoreError::OtherLimit {
                stored: 1,
                asked: 2
            })
        );
        assert!(is_known, "the limit was forgotten: {answer:?}");
    }
}

/// A token looks up as spent from its last claim on, and no longer when a use is given back.
pub async fn a_token_is_spent_when_its_last_use_is_claimed<G: Ground>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let until = Some(world.end());
    let spent = Some(Listed::Spent { until });
    let (first, last) = (world.claim(token(1), 1, 2), world.claim(token(1), 2, 2));
    assert!(nodes[0].wins(&first).await);
    assert_eq!(nodes[1].listed(token(1)).await, None, "a use is left");
    assert!(nodes[0].wins(&last).await);
    assert_eq!(nodes[1].listed(token(1)).await, spent);
    assert!(nodes[0].release(&first).await);
    assert_eq!(nodes[1].listed(token(1)).await, None, "it was given back");
    assert!(nodes[0].wins(&world.claim(token(1), 3, 2)).await);
    assert_eq!(nodes[1].listed(token(1)).await, spent);
}
