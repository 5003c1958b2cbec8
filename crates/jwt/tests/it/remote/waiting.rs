//! Who waits for a fetch, and for how long.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use tower_revoke_core::Reason;

use super::{Answer, Setup};
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_wait_for_one_fetch() {
    let setup = Setup::new();
    setup.client.hold();
    let tokens: Vec<_> = (0..1_000).map(|_| setup.token()).collect();
    let callers = join_all(tokens.iter().map(|token| verify(&setup.tokens, token)));
    let release = async {
        setup.client.sent(1).await;
        setup.client.release();
    };
    let (answers, ()) = tokio::join!(callers, release);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(setup.client.asked(), 1);
}

/// Above the bound, requests are rejected at once, so that an attacker can't pile them up.
#[tokio::test(start_paused = true)]
async fn no_more_than_1024_callers_wait() {
    let setup = Setup::new();
    setup.client.hold();
    let token = setup.token();
    let rejected = AtomicUsize::new(0);
    let callers = join_all((0..1_100).map(|_| async {
        if verify(&setup.tokens, &token).await.is_err() {
            rejected.fetch_add(1, Ordering::SeqCst);
        }
    }));
    let release = async {
        setup.client.sent(1).await;
        assert_eq!(rejected.load(Ordering::SeqCst), 1_100 - 1_024);
        setup.client.release();
    };
    tokio::join!(callers, release);
    assert_eq!(rejected.load(Ordering::SeqCst), 1_100 - 1_024);
}

/// TRAPS 44: past the bound, a valid token with a new key got a 401, and its client discarded it.
#[tokio::test(start_paused = true)]
async fn trap_44_beyond_the_waiting_limit_a_new_key_is_unavailable() {
    let setup = Setup::new();
    verify(&setup.tokens, &setup.token()).await.unwrap();
    setup.issuer.rotate();
    setup.later(10).await;
    setup.client.hold();
    let (tokens, new) = (&setup.tokens, &setup.token());
    let unsigned: Vec<_> = (0..1_024).map(|kid| setup.forged(kid)).collect();
    let crowd = join_all(unsigned.iter().map(|token| rejection(tokens, token)));
    let beyond = async {
        setup.client.sent(2).await;
        assert_eq!(rejection(tokens, new).await, Reason::Unavailable);
        setup.client.release();
    };
    let (crowd, ()) = tokio::join!(crowd, beyond);
    assert!(crowd.iter().all(|reason| *reason == Reason::UnknownKey));
    verify(tokens, new).await.unwrap();
    assert_eq!(setup.client.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn trap_44_after_a_failed_fetch_a_new_key_is_unavailable_at_once() {
    let setup = Setup::new();
    let old = setup.token();
    verify(&setup.tokens, &old).await.unwrap();
    setup.issuer.rotate();
    setup.later(10).await;
    let (new, unsigned) = (setup.token(), setup.forged(1));
    for failure in [Answer::Fails, Answer::Is(500, &[], String::new())] {
        let asked = setup.client.asked();
        setup.client.then(failure);
        for token in [&new, &unsigned, &new] {
            assert_eq!(rejection(&setup.tokens, token).await, Reason::Unavailable);
            assert_eq!(setup.client.asked(), asked + 1, "one fetch in a window");
        }
        assert!(cached(&setup.tokens, &old).unwrap().is_ok());
        setup.hand.advance(Duration::from_secs(10));
    }
    verify(&setup.tokens, &new).await.unwrap();
    assert_eq!(
        rejection(&setup.tokens, &unsigned).await,
        Reason::UnknownKey,
        "the issuer has confirmed it"
    );
}

#[tokio::test(start_paused = true)]
async fn trap_44_a_token_waits_for_a_hanging_fetch_until_its_timeout() {
    let setup = Setup::new();
    let old = setup.token();
    verify(&setup.tokens, &old).await.unwrap();
    setup.issuer.rotate();
    setup.later(10).await;
    setup.client.hold();
    let started = tokio::time::Instant::now();
    let (new, unsigned) = (setup.token(), setup.forged(1));
    let first = rejection(&setup.tokens, &new);
    let later = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        // A known key waits for nothing.
        assert!(cached(&setup.tokens, &old).unwrap().is_ok());
        rejection(&setup.tokens, &unsigned).await
    };
    let reasons = tokio::join!(first, later);
    assert_eq!(reasons, (Reason::Unavailable, Reason::Unavailable));
    assert_eq!(started.elapsed(), Duration::from_secs(5));
}

/// A fetch that began before a token was issued doesn't prove that its key is unknown.
#[tokio::test(start_paused = true)]
async fn trap_44_only_a_fetch_after_its_iat_makes_a_key_unknown() {
    let setup = Setup::new();
    verify(&setup.tokens, &setup.token()).await.unwrap();
    setup.issuer.rotate();
    setup.later(1).await;
    let new = setup.token();
    let issued = |at: u64| setup.forged_with(1, &format!(r#","iat":{at}"#));
    let began = START.as_secs();
    for (token, reason) in [
        (&new, Reason::Unavailable),
        (&issued(began + 1), Reason::Unavailable),
        (&issued(began), Reason::Unavailable),
        (&issued(began - 1), Reason::UnknownKey),
        (&issued(0), Reason::UnknownKey),
        (&setup.forged(1), Reason::UnknownKey),
    ] {
        assert_eq!(rejection(&setup.tokens, token).await, reason);
    }
    assert_eq!(setup.client.asked(), 1, "one fetch in a window");
    setup.later(9).await;
    verify(&setup.tokens, &new).await.unwrap();
    // Whatever its `iat` says, the token arrived before the fetch that it triggered.
    setup.later(10).await;
    assert_eq!(
        rejection(&setup.tokens, &issued(1_899_999_999)).await,
        Reason::UnknownKey
    );
}

/// The `iat` is not verified at that point.
#[tokio::test(start_paused = true)]
async fn trap_44_a_forged_iat_causes_no_fetch_beyond_the_window() {
    let setup = Setup::new();
    verify(&setup.tokens, &setup.token()).await.unwrap();
    for window in 0..4_u64 {
        for second in 0..10_u64 {
            for iat in [0, START.as_secs() + 10 * window + second, 1_899_999_999] {
                let token = setup.forged_with(1, &format!(r#","iat":{iat}"#));
                assert!(verify(&setup.tokens, &token).await.is_err());
            }
            assert_eq!(setup.client.asked() as u64, 1 + window);
            setup.later(1).await;
        }
    }
}
