//! Tests a store that fails, hangs or loses its answers: every token is rejected, within a bounded
//! time.

use std::{sync::Arc, time::Duration};

use crate::support::{Behavior, ISSUED, Steered, ann_logs_out, end_of, lift, new_use, token};
use tokio::{task::JoinSet, time::Instant};
use tower_revoke_core::{
    Clock, HealthSource, HealthStatus, ManualClock, StoreError, TokenStatus, UnixTime,
};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::RecordedLog;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Every way in which the store can fail to answer.
const FAILURES: [Behavior; 4] = [
    Behavior::Fails,
    Behavior::Hangs,
    Behavior::LosesTheAnswer,
    Behavior::Miscounts,
];

fn list() -> (RevocationList, Steered, ManualClock) {
    let (clock, hand) = Clock::manual(ISSUED);
    let store = Steered::new(MemoryStore::new());
    let list = RevocationList::builder(store.clone())
        .store_timeout(ANSWER_WITHIN)
        .clock(clock)
        .build()
        .unwrap();
    (list, store, hand)
}

/// TRAPS 6: the check was skipped when the list could not be reached.
#[tokio::test(start_paused = true)]
async fn trap_06_every_failure_of_the_list_rejects() {
    for failure in FAILURES {
        let (list, store, hand) = list();
        let (new, seen, revoked) = (token("1"), token("2"), token("3"));
        list.revoke(end_of(&revoked)).await.unwrap();
        list.status(&seen).await.unwrap();
        hand.advance(Duration::from_secs(5));
        store.set(failure);
        for token in [&new, &seen] {
            list.status(token).await.expect_err("no answer");
            assert_eq!(list.known_status(token), None, "{failure:?}");
        }
        assert_eq!(list.status(&revoked).await.unwrap(), TokenStatus::Revoked);
        if failure != Behavior::Miscounts {
            list.take_use(new_use(&new, 1, 1))
                .await
                .expect_err("no answer");
            list.return_use(new_use(&new, 1, 1))
                .await
                .expect_err("no answer");
            list.revoke(end_of(&new)).await.expect_err("no answer");
            list.lift(lift(revoked.id())).await.expect_err("no answer");
            list.ready().await.expect_err("no answer");
        }
        // It recovers by itself.
        store.set(Behavior::Works);
        list.ready().await.unwrap();
        list.status(&seen).await.unwrap();
    }
}

/// TRAPS 7: it served although the list had never answered.
#[tokio::test(start_paused = true)]
async fn trap_07_not_ready_until_the_store_answers() {
    for failure in [Behavior::Fails, Behavior::Hangs] {
        let (list, store, _) = list();
        store.set(failure);
        assert!(!list.is_ready());
        list.ready().await.unwrap_err();
        list.status(&token("1")).await.unwrap_err();
        assert!(!list.is_ready());
        assert_eq!(list.stats().last_answer, None);
        store.set(Behavior::Works);
        list.ready().await.unwrap();
        assert!(list.is_ready());
        assert_eq!(list.stats().last_answer, Some(ISSUED));
    }
}

#[tokio::test(start_paused = true)]
async fn health_tells_whether_the_store_answers_and_since_when() {
    let (list, store, hand) = list();
    let health = || {
        let checks = list.health().into_iter();
        checks
            .map(|check| (check.name, check.status, check.since))
            .collect::<Vec<_>>()
    };
    let at = |seconds: u64| Some(UnixTime::from_secs(ISSUED.as_secs() + seconds));
    let (pass, warn, fail) = (HealthStatus::Pass, HealthStatus::Warn, HealthStatus::Fail);
    assert_eq!(health(), [("list", warn, None), ("store", pass, None)]);
    store.set(Behavior::Fails);
    for _ in 0..2 {
        list.ready().await.unwrap_err();
        hand.advance(Duration::from_secs(7));
    }
    assert_eq!(health(), [("list", warn, at(0)), ("store", fail, at(0))]);
    assert_eq!(
        list.health()[1].output,
        "does not answer; 2 failures so far"
    );
    store.set(Behavior::Works);
    for number in 0..2 {
        list.status(&token(&number.to_string())).await.unwrap();
        hand.advance(Duration::from_secs(7));
    }
    assert_eq!(health(), [("list", pass, None), ("store", pass, at(14))]);
    store.set(Behavior::Fails);
    list.status(&token("new")).await.unwrap_err();
    assert_eq!(health(), [("list", pass, None), ("store", fail, at(28))]);
    assert_eq!(list.stats().answering_since, None);
}

/// A write with a lost answer may have happened, so a recent valid answer must not outlive it.
#[tokio::test(start_paused = true)]
async fn a_write_with_a_lost_answer_is_visible_at_once() {
    let (list, store, _) = list();
    let (revoked, ruled, spent) = (token("1"), token("2"), token("3"));
    for token in [&revoked, &ruled, &spent] {
        list.status(token).await.unwrap();
    }
    store.set(Behavior::LosesTheAnswer);
    list.revoke(end_of(&revoked)).await.unwrap_err();
    list.take_use(new_use(&spent, 1, 1)).await.unwrap_err();
    store.set(Behavior::Works);
    assert_eq!(list.status(&revoked).await.unwrap(), TokenStatus::Revoked);
    assert_eq!(list.status(&spent).await.unwrap(), TokenStatus::Spent);
    assert_eq!(list.known_status(&ruled), Some(TokenStatus::Valid));
    store.set(Behavior::LosesTheAnswer);
    list.revoke(ann_logs_out(ISSUED)).await.unwrap_err();
    store.set(Behavior::Works);
    assert_eq!(list.status(&ruled).await.unwrap(), TokenStatus::Revoked);
}

#[tokio::test(start_paused = true)]
async fn calls_to_a_hanging_store_time_out() {
    let (list, store, _) = list();
    let token = token("1");
    store.set(Behavior::Hangs);
    for call in 0..5 {
        let begun = Instant::now();
        let error = match call {
            0 => list.status(&token).await.unwrap_err(),
            1 => list.take_use(new_use(&token, 1, 1)).await.unwrap_err(),
            2 => list.return_use(new_use(&token, 1, 1)).await.unwrap_err(),
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
async fn a_thousand_checks_of_one_token_are_answered_in_time() {
    let (list, store, _) = list();
    let token = Arc::new(token("1"));
    store.set(Behavior::Hangs);
    let begun = Instant::now();
    let mut waiters = JoinSet::new();
    for _ in 0..1_000 {
        let (list, token) = (list.clone(), token.clone());
        waiters.spawn(async move { list.status(&token).await });
    }
    while let Some(answer) = waiters.join_next().await {
        let error = answer.unwrap().unwrap_err();
        assert!(matches!(error, StoreError::TimedOut(_)), "{error:?}");
    }
    assert_eq!(begun.elapsed(), ANSWER_WITHIN);
}

#[tokio::test]
async fn a_thousand_checks_of_one_token_share_a_look_up() {
    let (list, store, _) = list();
    let token = Arc::new(token("1"));
    store.set(Behavior::Hangs);
    let mut waiters = JoinSet::new();
    for _ in 0..1_000 {
        let (list, token) = (list.clone(), token.clone());
        waiters.spawn(async move { list.status(&token).await });
    }
    store.was_asked(1).await;
    store.set(Behavior::Works);
    while let Some(answer) = waiters.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), TokenStatus::Valid);
    }
    assert_eq!(store.asked(), 1);
}

/// A caller that gives up midway neither blocks nor misleads others.
#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_midway_blocks_no_other() {
    let (list, store, _) = list();
    let token = token("1");
    store.set(Behavior::Hangs);
    let first = list.status(&token);
    let second = async {
        store.was_asked(1).await;
        // Waits for the first caller, which is dropped at its timeout, and then does its own
        // look-up.
        list.status(&token).await
    };
    let third = async {
        store.was_asked(2).await;
        store.set(Behavior::Works);
        list.status(&token).await
    };
    let leave = tokio::time::timeout(Duration::from_millis(10), first);
    let (first, second, third) = tokio::join!(leave, second, third);
    assert!(first.is_err(), "the call hangs");
    assert_eq!(second.unwrap(), TokenStatus::Valid);
    assert_eq!(third.unwrap(), TokenStatus::Valid);

    store.set(Behavior::Hangs);
    list.revoke(end_of(&token)).await.unwrap_err();
    store.set(Behavior::Works);
    list.revoke(end_of(&token)).await.unwrap();
    assert_eq!(list.status(&token).await.unwrap(), TokenStatus::Revoked);
}

/// The write has succeeded: another caller's hanging look-up must not turn it into an error.
#[tokio::test(start_paused = true)]
async fn a_revocation_does_not_fail_because_a_look_up_hangs() {
    let (list, store, _) = list();
    let token = token("1");
    store.set_look_up(Behavior::Hangs);
    let revoke = async {
        store.was_asked(1).await;
        list.revoke(end_of(&token)).await.unwrap();
        list.take_use(new_use(&token, 1, 1)).await.unwrap();
        store.set(Behavior::Works);
        assert_eq!(list.status(&token).await.unwrap(), TokenStatus::Revoked);
    };
    let (hung, ()) = tokio::join!(list.status(&token), revoke);
    hung.unwrap_err();
}

#[tokio::test]
async fn a_full_store_rejects_the_call_and_keeps_what_it_has() {
    let (clock, _) = Clock::manual(ISSUED);
    let store = MemoryStore::new().capacity(1);
    let list = RevocationList::builder(store).clock(clock).build().unwrap();
    let (first, second) = (token("1"), token("2"));
    list.revoke(end_of(&first)).await.unwrap();
    let rejected = list.revoke(end_of(&second)).await;
    assert!(matches!(rejected, Err(StoreError::Full(1))));
    list.take_use(new_use(&token("3"), 1, 1)).await.unwrap();
    let rejected = list.take_use(new_use(&second, 1, 1)).await;
    assert!(matches!(rejected, Err(StoreError::Full(1))));
    assert_eq!(list.status(&first).await.unwrap(), TokenStatus::Revoked);
    assert_eq!(list.status(&second).await.unwrap(), TokenStatus::Valid);
}

/// TRAPS 48.
#[tokio::test(start_paused = true)]
async fn trap_48_a_store_that_is_down_is_a_line_a_minute() {
    let (list, store, hand) = list();
    list.ready().await.unwrap();
    let log = RecordedLog::start();
    store.set(Behavior::Fails);
    for _ in 0..1_000 {
        list.status(&token("1")).await.expect_err("no answer");
        hand.advance(Duration::from_millis(180));
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(
        lines.iter().all(|line| line.starts_with("WARN")),
        "{lines:#?}"
    );
    store.set(Behavior::Works);
    list.status(&token("1")).await.unwrap();
    let again = "INFO message=the revocation store answers again";
    assert_eq!(log.lines()[3..], [again]);
}

/// TRAPS 48.
#[tokio::test(start_paused = true)]
async fn trap_48_a_store_that_fails_occasionally_does_not_fill_the_log() {
    let (list, store, hand) = list();
    list.ready().await.unwrap();
    let log = RecordedLog::start();
    for n in 0..1_000 {
        store.set([Behavior::Fails, Behavior::Works][n % 2]);
        let _ = list.status(&token(&n.to_string())).await;
        hand.advance(Duration::from_millis(180));
    }
    let lines = log.lines();
    assert!((6..=20).contains(&lines.len()), "{lines:#?}");
}
