//! A store that fails, hangs, or loses its answers: nobody passes, and nobody waits for long.

mod common;

use std::{sync::Arc, time::Duration};

use common::{ISSUED, Mood, Steered, ann_logs_out, claim, end_of, lift, token};
use tokio::{task::JoinSet, time::Instant};
use tower_revoke_core::{Clock, ManualClock, Standing, StoreError};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::RecordedLog;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Every way in which the store can fail to answer.
const FAILURES: [Mood; 4] = [
    Mood::Fails,
    Mood::Hangs,
    Mood::LosesTheAnswer,
    Mood::Miscounts,
];

fn list() -> (RevocationList, Steered, ManualClock) {
    let (clock, hand) = Clock::manual(ISSUED);
    let store = Steered::new(MemoryStore::with_clock(clock.clone()));
    let list = RevocationList::builder(store.clone())
        .answer_within(ANSWER_WITHIN)
        .clock(clock)
        .build();
    (list, store, hand)
}

/// TRAPS 6: the check was skipped when the list could not be asked.
#[tokio::test(start_paused = true)]
async fn trap_06_every_failure_of_the_list_refuses() {
    for failure in FAILURES {
        let (list, store, hand) = list();
        let (new, seen, revoked) = (token("1"), token("2"), token("3"));
        list.revoke(end_of(&revoked)).await.unwrap();
        list.check(&seen).await.unwrap();
        hand.advance(Duration::from_secs(5));
        store.set(failure);
        for token in [&new, &seen] {
            list.check(token).await.expect_err("no answer");
            assert_eq!(list.standing(token), None, "{failure:?}");
        }
        assert_eq!(list.check(&revoked).await.unwrap(), Standing::Revoked);
        if failure != Mood::Miscounts {
            list.claim(claim(&new, 1, 1)).await.expect_err("no answer");
            list.release(claim(&new, 1, 1))
                .await
                .expect_err("no answer");
            list.revoke(end_of(&new)).await.expect_err("no answer");
            list.lift(lift(revoked.id())).await.expect_err("no answer");
            list.ready().await.expect_err("no answer");
        }
        // And it recovers by itself.
        store.set(Mood::Works);
        list.ready().await.unwrap();
        list.check(&seen).await.unwrap();
    }
}

/// TRAPS 7: it served although the list had never answered.
#[tokio::test(start_paused = true)]
async fn trap_07_not_ready_until_the_store_answers() {
    for failure in [Mood::Fails, Mood::Hangs] {
        let (list, store, _) = list();
        store.set(failure);
        assert!(!list.is_ready());
        list.ready().await.unwrap_err();
        list.check(&token("1")).await.unwrap_err();
        assert!(!list.is_ready());
        assert_eq!(list.stats().answered_ago, None);
        store.set(Mood::Works);
        list.ready().await.unwrap();
        assert!(list.is_ready());
        assert_eq!(list.stats().answered_ago, Some(Duration::ZERO));
    }
}

/// What was asked may have happened: a young good answer must not outlive it.
#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_seen_at_once() {
    let (list, store, _) = list();
    let (revoked, ruled, spent) = (token("1"), token("2"), token("3"));
    for token in [&revoked, &ruled, &spent] {
        list.check(token).await.unwrap();
    }
    store.set(Mood::LosesTheAnswer);
    list.revoke(end_of(&revoked)).await.unwrap_err();
    list.claim(claim(&spent, 1, 1)).await.unwrap_err();
    store.set(Mood::Works);
    assert_eq!(list.check(&revoked).await.unwrap(), Standing::Revoked);
    assert_eq!(list.check(&spent).await.unwrap(), Standing::Spent);
    assert_eq!(list.standing(&ruled), Some(Standing::Good));
    store.set(Mood::LosesTheAnswer);
    list.revoke(ann_logs_out(ISSUED)).await.unwrap_err();
    store.set(Mood::Works);
    assert_eq!(list.check(&ruled).await.unwrap(), Standing::Revoked);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_given_up_in_time() {
    let (list, store, _) = list();
    let token = token("1");
    store.set(Mood::Hangs);
    for call in 0..5 {
        let begun = Instant::now();
        let error = match call {
            0 => list.check(&token).await.unwrap_err(),
            1 => list.claim(claim(&token, 1, 1)).await.unwrap_err(),
            2 => list.release(claim(&token, 1, 1)).await.unwrap_err(),
            3 => list.revoke(end_of(&token)).await.unwrap_err(),
            _ => list.lift(lift(token.id())).await.unwrap_err(),
        };
        assert!(
            matches!(error, StoreError::TimedOut(ANSWER_WITHIN)),
            "{error:?}"
        );
        assert_eq!(begun.elapsed(), ANSWER_WITHIN);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_who_wait_for_one_token_are_all_answered_in_time() {
    let (list, store, _) = list();
    let token = Arc::new(token("1"));
    store.set(Mood::Hangs);
    let begun = Instant::now();
    let mut waiters = JoinSet::new();
    for _ in 0..1_000 {
        let (list, token) = (list.clone(), token.clone());
        waiters.spawn(async move { list.check(&token).await });
    }
    while let Some(answer) = waiters.join_next().await {
        let error = answer.unwrap().unwrap_err();
        assert!(matches!(error, StoreError::TimedOut(_)), "{error:?}");
    }
    assert_eq!(begun.elapsed(), ANSWER_WITHIN);
}

#[tokio::test]
async fn a_thousand_who_wait_for_one_token_ask_once() {
    let (list, store, _) = list();
    let token = Arc::new(token("1"));
    store.set(Mood::Hangs);
    let mut waiters = JoinSet::new();
    for _ in 0..1_000 {
        let (list, token) = (list.clone(), token.clone());
        waiters.spawn(async move { list.check(&token).await });
    }
    store.was_asked(1).await;
    store.set(Mood::Works);
    while let Some(answer) = waiters.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), Standing::Good);
    }
    assert_eq!(store.asked(), 1);
}

/// A caller that gives up in the middle leaves nothing behind that blocks or misleads others.
#[tokio::test(start_paused = true)]
async fn who_gives_up_midway_blocks_nobody() {
    let (list, store, _) = list();
    let token = token("1");
    store.set(Mood::Hangs);
    let first = list.check(&token);
    let second = async {
        store.was_asked(1).await;
        // Waits for the first, which is dropped when its time is up; then it asks by itself.
        list.check(&token).await
    };
    let third = async {
        store.was_asked(2).await;
        store.set(Mood::Works);
        list.check(&token).await
    };
    let leave = tokio::time::timeout(Duration::from_millis(10), first);
    let (first, second, third) = tokio::join!(leave, second, third);
    assert!(first.is_err(), "it hangs");
    assert_eq!(second.unwrap(), Standing::Good);
    assert_eq!(third.unwrap(), Standing::Good);

    store.set(Mood::Hangs);
    list.revoke(end_of(&token)).await.unwrap_err();
    store.set(Mood::Works);
    list.revoke(end_of(&token)).await.unwrap();
    assert_eq!(list.check(&token).await.unwrap(), Standing::Revoked);
}

/// The write is done: that somebody else's question hangs must not make it an error.
#[tokio::test(start_paused = true)]
async fn a_revocation_does_not_fail_because_a_question_hangs() {
    let (list, store, _) = list();
    let token = token("1");
    store.set_look_up(Mood::Hangs);
    let revoke = async {
        store.was_asked(1).await;
        list.revoke(end_of(&token)).await.unwrap();
        list.claim(claim(&token, 1, 1)).await.unwrap();
        store.set(Mood::Works);
        assert_eq!(list.check(&token).await.unwrap(), Standing::Revoked);
    };
    let (hung, ()) = tokio::join!(list.check(&token), revoke);
    hung.unwrap_err();
}

#[tokio::test]
async fn a_full_store_refuses_the_call_and_keeps_what_it_has() {
    let (clock, _) = Clock::manual(ISSUED);
    let store = MemoryStore::with_clock(clock.clone()).max_entries(1);
    let list = RevocationList::builder(store).clock(clock).build();
    let (first, second) = (token("1"), token("2"));
    list.revoke(end_of(&first)).await.unwrap();
    let refused = list.revoke(end_of(&second)).await;
    assert!(matches!(refused, Err(StoreError::Full(1))));
    let refused = list.claim(claim(&second, 1, 1)).await;
    assert!(matches!(refused, Err(StoreError::Full(1))));
    assert_eq!(list.check(&first).await.unwrap(), Standing::Revoked);
    assert_eq!(list.check(&second).await.unwrap(), Standing::Good);
}

/// TRAPS 48.
#[tokio::test(start_paused = true)]
async fn trap_48_a_store_that_is_down_is_a_line_a_minute() {
    let (list, store, hand) = list();
    list.ready().await.unwrap();
    let log = RecordedLog::start();
    store.set(Mood::Fails);
    for _ in 0..1_000 {
        list.check(&token("1")).await.expect_err("no answer");
        hand.advance(Duration::from_millis(180));
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(
        lines.iter().all(|line| line.starts_with("WARN")),
        "{lines:#?}"
    );
    store.set(Mood::Works);
    list.check(&token("1")).await.unwrap();
    let again = "INFO message=the revocation store answers again";
    assert_eq!(log.lines()[3..], [again]);
}

/// TRAPS 48.
#[tokio::test(start_paused = true)]
async fn trap_48_a_store_that_fails_now_and_then_does_not_fill_the_log() {
    let (list, store, hand) = list();
    list.ready().await.unwrap();
    let log = RecordedLog::start();
    for n in 0..1_000 {
        store.set([Mood::Fails, Mood::Works][n % 2]);
        let _ = list.check(&token(&n.to_string())).await;
        hand.advance(Duration::from_millis(180));
    }
    let lines = log.lines();
    assert!((6..=20).contains(&lines.len()), "{lines:#?}");
}
