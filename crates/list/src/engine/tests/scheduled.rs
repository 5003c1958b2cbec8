//! Tests of the engine: no schedule lets a stale answer through.

use std::{future::poll_fn, pin::pin, task::Poll};

use super::*;

#[test]
fn trap_02_no_schedule_of_two_readers_and_a_revoker_keeps_a_stale_answer() {
    let walked = exhaustively(|| two_readers_and_a_revoker(OurEngine::new(End::Token), 2));
    // Far fewer would mean that the readers and the revoker no longer meet.
    assert!(walked > 5_000, "all of {walked} schedules");
}

#[test]
fn trap_02_no_schedule_of_two_readers_and_a_rule_keeps_a_stale_answer() {
    let walked = exhaustively(|| two_readers_and_a_revoker(OurEngine::new(End::Rule), 2));
    assert!(walked > 1_000, "all of {walked} schedules");
}

#[test]
fn trap_02_no_schedule_of_two_readers_and_the_last_use_keeps_a_stale_answer() {
    let walked = exhaustively(|| two_readers_and_a_revoker(OurEngine::new(End::Use), 2));
    assert!(walked > 5_000, "all of {walked} schedules");
}

/// Without staleness, no check is answered from an earlier look-up.
#[test]
fn trap_02_no_schedule_keeps_a_stale_answer_where_none_may_age() {
    let walked = exhaustively(|| {
        let mut subject = OurEngine::new(End::Token);
        subject.engine = engine(Duration::ZERO);
        two_readers_and_a_revoker(subject, 1);
    });
    assert!(walked > 500, "all of {walked} schedules");
}

/// Ends the token in every way at the same time. Once any of them has returned, no check that
/// begins may find it valid.
#[test]
fn trap_02_many_readers_and_every_end_at_random() {
    at_random(3_000, || {
        let ours = Arc::new(OurEngine::new(End::Token));
        let ended = Arc::new(AtomicBool::new(false));
        for _ in 0..4 {
            let (ours, ended) = (ours.clone(), ended.clone());
            spawn(async move {
                for _ in 0..3 {
                    let was_ended = ended.load(Ordering::SeqCst);
                    let good = ours.status().await;
                    assert!(!(was_ended && good), "a stale answer was checked");
                    let stale = ended.load(Ordering::SeqCst) && ours.known_good();
                    assert!(!stale, "a stale answer was kept");
                }
            });
        }
        for end in [End::Token, End::Rule, End::Use, End::Use] {
            let (ours, ended) = (ours.clone(), ended.clone());
            spawn(async move {
                ours.end(end).await;
                ended.store(true, Ordering::SeqCst);
            });
        }
    });
}

/// A check or a revocation that is cancelled midway blocks no other call and hides no change.
#[test]
fn trap_02_callers_that_leave_midway_at_random() {
    at_random(1_000, || {
        let ours = Arc::new(OurEngine::new(End::Token));
        for polls in 1..4 {
            let ours = ours.clone();
            spawn(async move {
                leave_after(polls, ours.status()).await;
                leave_after(polls, ours.end(End::Rule)).await;
            });
        }
        let ended = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let (ours, ended) = (ours.clone(), ended.clone());
            spawn(async move {
                for _ in 0..2 {
                    let was_ended = ended.load(Ordering::SeqCst);
                    let good = ours.status().await;
                    assert!(!(was_ended && good), "a stale answer was checked");
                }
            });
        }
        block_on(async {
            ours.end(End::Token).await;
            ended.store(true, Ordering::SeqCst);
            assert!(!ours.status().await, "a stale answer was checked");
        });
    });
}

async fn leave_after(polls: usize, call: impl Future) {
    let mut call = pin!(call);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        call.as_mut().poll(cx).map(drop)
    })
    .await;
}

/// After revocations and lifts, the list agrees with the store in the end.
#[test]
fn after_random_writes_the_list_agrees_with_the_store() {
    at_random(3_000, || {
        let ours = Arc::new(OurEngine::new(End::Token));
        let at_work = Arc::new(AtomicUsize::new(5));
        for task in 0..5 {
            let (ours, at_work) = (ours.clone(), at_work.clone());
            spawn(async move {
                let engine = &ours.engine;
                match task {
                    0 => ours.end(End::Token).await,
                    1 => drop(engine.lift(&lift()).await.expect("an answer")),
                    2 => ours.end(End::Use).await,
                    3 => drop(
                        engine
                            .clone()
                            .return_use(new_use())
                            .await
                            .expect("an answer"),
                    ),
                    _ => drop(ours.status().await),
                }
                ours.status().await;
                if at_work.fetch_sub(1, Ordering::SeqCst) == 1 {
                    let listed = engine.source.store.0.look_up(ours.token.keys()).await;
                    let truth = status_of(&ours.token, &listed.expect("an answer"));
                    let truth = truth.expect("an answer");
                    let checked = engine.status(&ours.token).await.expect("an answer");
                    assert_eq!(checked, truth, "a stale answer was left");
                    let known = engine.known_status(&ours.token);
                    assert_eq!(known.is_some(), truth == TokenStatus::Valid);
                }
            });
        }
    });
}
