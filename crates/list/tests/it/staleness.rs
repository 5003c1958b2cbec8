//! Tests the age of answers and the effects of time. Two lists over one store act as two nodes.

use std::time::Duration;

use crate::support::{
    Behavior, ISSUED, ISSUER, LEEWAY, Steered, ann_logs_out, end_of, lift, new_use, token, token_of,
};
use futures_util::FutureExt;
use serde_json::json;
use tower_revoke_core::{Clock, ManualClock, Revocation, Store, TokenStatus, UseOutcome};
use tower_revoke_list::{MemoryStore, RevocationList};

const MAX_STALENESS: Duration = Duration::from_secs(5);

struct Nodes {
    a: RevocationList,
    b: RevocationList,
    store: Steered,
    hand: ManualClock,
}

fn nodes() -> Nodes {
    let (clock, hand) = Clock::manual(ISSUED);
    let store = Steered::new(MemoryStore::new());
    let list = || {
        RevocationList::builder(store.clone())
            .max_staleness(MAX_STALENESS)
            .clock(clock.clone())
            .build()
            .unwrap()
    };
    Nodes {
        a: list(),
        b: list(),
        store,
        hand,
    }
}

#[tokio::test]
async fn a_revocation_applies_here_at_once_and_elsewhere_within_max_staleness() {
    let Nodes { a, b, hand, .. } = nodes();
    let (here, there) = (token("1"), token("1"));
    assert_eq!(a.status(&here).await.unwrap(), TokenStatus::Valid);
    assert_eq!(b.status(&there).await.unwrap(), TokenStatus::Valid);
    a.revoke(end_of(&here)).await.unwrap();
    assert_eq!(a.known_status(&here), None);
    assert_eq!(a.status(&here).await.unwrap(), TokenStatus::Revoked);

    hand.advance(MAX_STALENESS - Duration::from_millis(1));
    assert_eq!(b.known_status(&there), Some(TokenStatus::Valid));
    assert_eq!(b.status(&there).await.unwrap(), TokenStatus::Valid);
    hand.advance(Duration::from_millis(1));
    assert_eq!(b.known_status(&there), None);
    assert_eq!(b.status(&there).await.unwrap(), TokenStatus::Revoked);
    assert!(b.stats().oldest_served < MAX_STALENESS);
}

#[tokio::test]
async fn a_rule_applies_here_at_once_and_elsewhere_within_max_staleness() {
    let Nodes { a, b, hand, .. } = nodes();
    let here: Vec<_> = (0..50).map(|jti| token(&jti.to_string())).collect();
    let bob = token_of(json!({"iss": ISSUER, "sub": "bob", "jti": "b", "iat": ISSUED}));
    let there = token("0");
    for token in here.iter().chain([&bob]) {
        assert_eq!(a.status(token).await.unwrap(), TokenStatus::Valid);
    }
    assert_eq!(b.status(&there).await.unwrap(), TokenStatus::Valid);
    a.revoke(ann_logs_out(ISSUED)).await.unwrap();
    for token in &here {
        assert_eq!(a.known_status(token), None);
        assert_eq!(a.status(token).await.unwrap(), TokenStatus::Revoked);
    }
    assert_eq!(a.known_status(&bob), Some(TokenStatus::Valid));
    hand.advance(MAX_STALENESS);
    assert_eq!(b.status(&there).await.unwrap(), TokenStatus::Revoked);
}

#[tokio::test]
async fn the_last_use_spends_here_at_once_and_elsewhere_within_max_staleness() {
    let Nodes { a, b, hand, .. } = nodes();
    let (here, there) = (token("1"), token("1"));
    a.status(&here).await.unwrap();
    b.status(&there).await.unwrap();
    let won = |left| UseOutcome::Taken { left };
    assert_eq!(a.take_use(new_use(&here, 1, 2)).await.unwrap(), won(1));
    assert_eq!(a.known_status(&here), Some(TokenStatus::Valid));
    assert_eq!(a.take_use(new_use(&here, 2, 2)).await.unwrap(), won(0));
    assert_eq!(a.status(&here).await.unwrap(), TokenStatus::Spent);
    assert_eq!(
        b.take_use(new_use(&there, 3, 2)).await.unwrap(),
        UseOutcome::Spent
    );
    assert_eq!(b.status(&there).await.unwrap(), TokenStatus::Spent);
    // A returned use makes it valid again, within the same bounds.
    assert!(a.return_use(new_use(&here, 2, 2)).await.unwrap());
    assert_eq!(a.status(&here).await.unwrap(), TokenStatus::Valid);
    hand.advance(MAX_STALENESS);
    assert_eq!(b.status(&there).await.unwrap(), TokenStatus::Valid);
}

#[tokio::test]
async fn a_lift_applies_here_at_once_and_elsewhere_within_max_staleness() {
    let Nodes { a, b, hand, .. } = nodes();
    let (here, there) = (token("1"), token("1"));
    a.revoke(end_of(&here)).await.unwrap();
    assert_eq!(a.status(&here).await.unwrap(), TokenStatus::Revoked);
    assert_eq!(b.status(&there).await.unwrap(), TokenStatus::Revoked);
    assert!(a.lift(lift(here.id())).await.unwrap());
    assert_eq!(a.status(&here).await.unwrap(), TokenStatus::Valid);
    assert_eq!(b.status(&there).await.unwrap(), TokenStatus::Revoked);
    hand.advance(MAX_STALENESS);
    assert_eq!(b.status(&there).await.unwrap(), TokenStatus::Valid);
    assert!(!b.lift(lift(here.id())).await.unwrap());
}

#[tokio::test]
async fn fresh_answers_are_served_while_the_store_is_down_and_stale_ones_are_errors() {
    let Nodes { a, store, hand, .. } = nodes();
    let (good, revoked) = (token("1"), token("2"));
    a.revoke(end_of(&revoked)).await.unwrap();
    a.status(&good).await.unwrap();
    a.status(&revoked).await.unwrap();
    store.set(Behavior::Fails);
    hand.advance(MAX_STALENESS - Duration::from_millis(1));
    assert_eq!(a.known_status(&good), Some(TokenStatus::Valid));
    assert_eq!(a.status(&good).await.unwrap(), TokenStatus::Valid);
    a.take_use(new_use(&good, 1, 1)).await.unwrap_err();
    hand.advance(Duration::from_millis(1));
    a.status(&good).await.unwrap_err();
    assert_eq!(a.known_status(&good), None);
    // A token that was rejected before stays rejected.
    assert_eq!(a.status(&revoked).await.unwrap(), TokenStatus::Revoked);
    assert!(a.stats().failures >= 3);
}

#[tokio::test]
async fn local_revocations_and_uses_stay_known_while_the_store_is_down() {
    let Nodes { a, store, hand, .. } = nodes();
    let (spent, revoked) = (token("1"), token("2"));
    // Neither was ever looked up.
    a.take_use(new_use(&spent, 1, 1)).await.unwrap();
    a.revoke(end_of(&revoked)).await.unwrap();
    store.set(Behavior::Fails);
    hand.advance(MAX_STALENESS * 9);
    assert_eq!(a.status(&spent).await.unwrap(), TokenStatus::Spent);
    assert_eq!(a.status(&revoked).await.unwrap(), TokenStatus::Revoked);
}

/// TRAPS 2, between nodes: the age counts from before the store was asked.
#[tokio::test]
async fn trap_02_a_slow_answer_is_as_old_as_its_request() {
    let Nodes { a, store, hand, .. } = nodes();
    let token = token("1");
    store.set(Behavior::Hangs);
    let check = async {
        store.was_asked(1).await;
        hand.advance(MAX_STALENESS - Duration::from_millis(1));
        store.set(Behavior::Works);
    };
    let (status, ()) = tokio::join!(a.status(&token), check);
    assert_eq!(status.unwrap(), TokenStatus::Valid);
    assert_eq!(a.known_status(&token), Some(TokenStatus::Valid));
    hand.advance(Duration::from_millis(1));
    assert_eq!(a.known_status(&token), None);
    a.status(&token).await.unwrap();
    assert_eq!(store.asked(), 2);
}

/// A token that was found revoked must not become valid again within the bound.
#[tokio::test]
async fn a_token_found_revoked_does_not_become_valid_again() {
    let Nodes { a, store, .. } = nodes();
    // Without a cache, the list has forgotten the first copy's answer when the second one is
    // checked.
    let b = RevocationList::builder(store)
        .cache_capacity(0)
        .build()
        .unwrap();
    let (first, second) = (token("1"), token("1"));
    assert_eq!(b.status(&first).await.unwrap(), TokenStatus::Valid);
    assert_eq!(b.known_status(&first), Some(TokenStatus::Valid));
    a.revoke(end_of(&first)).await.unwrap();
    assert_eq!(b.status(&second).await.unwrap(), TokenStatus::Revoked);
    assert_eq!(b.known_status(&first), None);
    assert_eq!(b.status(&first).await.unwrap(), TokenStatus::Revoked);
}

#[tokio::test]
async fn a_revocation_records_its_time() {
    let Nodes { a, store, hand, .. } = nodes();
    hand.advance(Duration::from_secs(7));
    a.revoke(end_of(&token("1"))).await.unwrap();
    a.revoke(end_of(&token("2")).at(ISSUED)).await.unwrap();
    let now = ISSUED.saturating_add(Duration::from_secs(7));
    assert_eq!(store.times(), [Some(now), Some(ISSUED)]);
}

#[tokio::test]
async fn without_staleness_every_check_is_a_look_up() {
    let (clock, _) = Clock::manual(ISSUED);
    let store = Steered::new(MemoryStore::new());
    let list = RevocationList::builder(store.clone())
        .max_staleness(Duration::ZERO)
        .clock(clock)
        .build()
        .unwrap();
    let token = token("1");
    for asked in 1..=3 {
        assert_eq!(list.status(&token).await.unwrap(), TokenStatus::Valid);
        assert_eq!(list.known_status(&token), None);
        assert_eq!(store.asked(), asked);
    }
    store.store.revoke(&[end_of(&token)]).await.unwrap();
    assert_eq!(list.status(&token).await.unwrap(), TokenStatus::Revoked);
}

/// Even then, concurrent look-ups are shared: an answer that was requested after a call began is as
/// fresh as the call's own would be.
#[tokio::test]
async fn without_staleness_waiting_checks_share_later_look_ups() {
    let (clock, hand) = Clock::manual(ISSUED);
    let store = Steered::new(MemoryStore::new());
    let list = RevocationList::builder(store.clone())
        .max_staleness(Duration::ZERO)
        .clock(clock)
        .build()
        .unwrap();
    let token = token("1");
    store.set(Behavior::Hangs);
    let waiters = futures_util::future::join_all((0..100).map(|_| list.status(&token)));
    let release = async {
        store.was_asked(1).await;
        hand.advance(Duration::from_millis(1));
        store.set(Behavior::Works);
    };
    let (standings, ()) = tokio::join!(waiters, release);
    for status in standings {
        assert_eq!(status.unwrap(), TokenStatus::Valid);
    }
    // The first look-up began with all of them, the second one later: the others share it.
    assert_eq!(store.asked(), 2);
    list.status(&token).await.unwrap();
    assert_eq!(store.asked(), 3);
}

#[tokio::test]
async fn a_cached_answer_causes_no_look_up() {
    let Nodes { a, store, .. } = nodes();
    let (one, same) = (token("1"), token("1"));
    a.status(&one).await.unwrap();
    for _ in 0..10 {
        assert_eq!(a.known_status(&one), Some(TokenStatus::Valid));
    }
    assert_eq!(a.known_status(&same), None);
    assert_eq!(a.status(&same).await.unwrap(), TokenStatus::Valid);
    assert_eq!(a.known_status(&same), Some(TokenStatus::Valid));
    assert_eq!(store.asked(), 1);
    let stats = a.stats();
    assert_eq!((stats.asked, stats.served, stats.failures), (1, 12, 0));
}

/// TRAPS 8: tokens issued in the same second as a rule slipped through.
#[tokio::test]
async fn trap_08_a_rule_concerns_tokens_of_the_same_second() {
    let Nodes { a, .. } = nodes();
    a.revoke(ann_logs_out(ISSUED)).await.unwrap();
    for (after, status) in [
        (Duration::ZERO, TokenStatus::Revoked),
        // The issuer's clock may be ahead by up to the leeway.
        (LEEWAY, TokenStatus::Revoked),
        (LEEWAY + Duration::from_secs(1), TokenStatus::Valid),
    ] {
        let iat = ISSUED.saturating_add(after);
        let jti = format!("{after:?}");
        let token = token_of(json!({"iss": ISSUER, "sub": "ann", "jti": jti, "iat": iat}));
        assert_eq!(a.status(&token).await.unwrap(), status, "{after:?}");
    }
}

/// TRAPS 33: a token without `iat` slipped through a rule, and a rule was purged too early.
#[tokio::test]
async fn trap_33_a_rule_concerns_tokens_without_iat_and_outlives_every_purge() {
    let Nodes { a, hand, .. } = nodes();
    a.revoke(ann_logs_out(ISSUED)).await.unwrap();
    hand.advance(Duration::from_secs(1_000_000_000));
    assert_eq!(a.purge().await.unwrap(), 0);
    let token = token_of(json!({"iss": ISSUER, "sub": "ann", "jti": "1"}));
    assert_eq!(a.status(&token).await.unwrap(), TokenStatus::Revoked);
    let other = token_of(json!({"iss": ISSUER, "sub": "bob", "jti": "2"}));
    assert_eq!(a.status(&other).await.unwrap(), TokenStatus::Valid);
}

#[tokio::test]
async fn a_wall_clock_step_loses_no_revocation() {
    let Nodes { a, hand, store, .. } = nodes();
    let token = token("1");
    a.revoke(end_of(&token)).await.unwrap();
    hand.step_wall(1_000_000_000);
    assert_eq!(a.purge().await.unwrap(), 0);
    hand.step_wall(-1_000_000_000);
    assert_eq!(a.status(&token).await.unwrap(), TokenStatus::Revoked);
    // The wall clock is set back, so that it lags behind the clock that measures the passing time.
    hand.step_wall(-100_000);
    hand.advance(Duration::from_secs(50_000));
    assert_eq!(a.purge().await.unwrap(), 0);
    assert_eq!(store.store.len(), 1);
    assert_eq!(a.status(&token).await.unwrap(), TokenStatus::Revoked);
}

#[tokio::test]
async fn purge_allows_a_minute_of_clock_skew() {
    let Nodes { a, hand, store, .. } = nodes();
    let token = token("1");
    a.revoke(end_of(&token)).await.unwrap();
    let life = token.retained_until().unwrap().as_secs() - ISSUED.as_secs();
    hand.advance(Duration::from_secs(life + 60));
    assert_eq!(a.purge().await.unwrap(), 0);
    hand.advance(Duration::from_secs(1));
    assert_eq!(a.purge().await.unwrap(), 1);
    assert!(store.store.is_empty());
}

#[tokio::test]
async fn purged_tokens_are_not_valid_when_the_clock_is_set_back() {
    let Nodes { a, hand, .. } = nodes();
    let token = token("1");
    let for_ever = token_of(json!({"iss": ISSUER, "sub": "ann", "jti": "2"}));
    assert_eq!(a.status(&token).await.unwrap(), TokenStatus::Valid);
    a.revoke(end_of(&token)).await.unwrap();
    hand.advance(Duration::from_secs(9_000));
    assert_eq!(a.purge().await.unwrap(), 1);
    hand.step_wall(-9_000);
    assert_eq!(a.known_status(&token), None);
    assert_eq!(a.status(&token).await.unwrap(), TokenStatus::Revoked);
    assert_eq!(a.status(&for_ever).await.unwrap(), TokenStatus::Valid);
}

#[tokio::test]
async fn a_write_starts_a_purge_once_a_minute() {
    let Nodes { a, hand, store, .. } = nodes();
    let soon = ISSUED.saturating_add(Duration::from_secs(1));
    a.revoke(Revocation::of_token(token("1").id(), None).retained(Some(soon)))
        .await
        .unwrap();
    hand.advance(Duration::from_secs(59));
    a.revoke(end_of(&token("2"))).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(store.asked(), 2);
    hand.advance(Duration::from_secs(3));
    a.revoke(end_of(&token("3"))).await.unwrap();
    a.revoke(end_of(&token("4"))).await.unwrap();
    store.was_asked(5).await;
    a.purge().await.unwrap();
    assert_eq!((store.asked(), store.store.len()), (6, 3));
}

/// A memory store answers immediately, so no runtime is needed.
#[test]
fn a_list_in_memory_needs_no_runtime() {
    let list = RevocationList::in_memory();
    let token = token("1");
    let check = || {
        list.status(&token)
            .now_or_never()
            .expect("at once")
            .unwrap()
    };
    assert_eq!(check(), TokenStatus::Valid);
    let revoke = list.revoke(end_of(&token)).now_or_never();
    revoke.expect("at once").unwrap();
    assert_eq!(check(), TokenStatus::Revoked);
}
