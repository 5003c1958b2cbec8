//! Tokens whose key is not here.

use std::time::Duration;

use futures_util::future::join_all;
use tower_revoke_core::{Clock, Reason, TokenStatus, TokenVerifier};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use super::{Client, Setup, at_url};
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_rotated_key_is_fetched_when_a_token_names_it() {
    let setup = Setup::new();
    let old = setup.token();
    verify(&setup.tokens, &old).await.unwrap();
    setup.issuer.rotate();
    setup.later(10).await;
    verify(&setup.tokens, &setup.token()).await.unwrap();
    assert!(cached(&setup.tokens, &old).unwrap().is_ok());
    assert_eq!(setup.client.asked(), 2);
}

/// TRAPS 50: a stale cookie with a withdrawn key would delay the valid cookie beside it.
#[tokio::test(start_paused = true)]
async fn trap_50_no_keys_are_fetched_for_a_candidate() {
    let setup = Setup::new();
    let candidate = async |token: &str| setup.tokens.verify_candidate(&bearer(token)).await;
    // Without any keys, no token can be verified before a fetch.
    let good = setup.token();
    candidate(&good).await.unwrap();
    assert_eq!(setup.client.asked(), 1);
    setup.later(20).await;
    setup.client.hold();
    let started = tokio::time::Instant::now();
    for token in [setup.forged(1), setup.forged(2)] {
        let rejection = candidate(&token).await.unwrap_err();
        assert_eq!(rejection.reason(), Reason::UnknownKey);
        candidate(&good).await.unwrap();
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(setup.client.asked(), 1);
    // The same token alone waits for a fetch.
    let token = setup.forged(1);
    let alone = rejection(&setup.tokens, &token);
    let release = async {
        setup.client.sent(2).await;
        setup.client.release();
    };
    assert_eq!(tokio::join!(alone, release).0, Reason::UnknownKey);
}

/// TRAPS 50: with the available keys, a candidate is verified like any token.
#[tokio::test(start_paused = true)]
async fn trap_50_a_candidate_is_verified_like_any_token() {
    let (issuer, clock, hand) = issuer_with(TestAlgorithm::EdDSA);
    let (client, _gone) = Client::new(&issuer);
    let list = FakeList::default();
    let tokens = at_url(&clock, &client).revocations(list.clone());
    let tokens = tokens.build().unwrap();
    let token = issuer.token().sign();
    let candidate = async || tokens.verify_candidate(&bearer(&token)).await;
    let caller = candidate().await.unwrap();
    // It is cached like any other, and rejected once its issuer withdraws the key.
    assert!(cached(&tokens, &token).unwrap().is_ok());
    list.answer(Answers::Never);
    assert_eq!(candidate().await.unwrap_err().reason(), Reason::Unavailable);
    list.answer(Answers::WhenAsked);
    list.list(caller.token_id(), TokenStatus::Revoked);
    assert_eq!(candidate().await.unwrap_err().reason(), Reason::Revoked);
    hand.advance(Duration::from_secs(3_700));
    assert_eq!(candidate().await.unwrap_err().reason(), Reason::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_is_found_without_a_kid_too() {
    let setup = Setup::new();
    verify(&setup.tokens, &setup.token()).await.unwrap();
    setup.issuer.rotate();
    setup.later(10).await;
    let token = setup.issuer.token().without_header("kid").sign();
    verify(&setup.tokens, &token).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_bad_signature_under_a_known_kid_fetches_nothing() {
    let setup = Setup::new();
    verify(&setup.tokens, &setup.token()).await.unwrap();
    setup.later(10).await;
    let forger = TestIssuer::with(ISSUER, TestAlgorithm::EdDSA).clock(Clock::system());
    let forged = forger.token().header("kid", setup.issuer.key_id()).sign();
    assert_eq!(
        rejection(&setup.tokens, &forged).await,
        Reason::BadSignature
    );
    assert_eq!(setup.client.asked(), 1);
}

/// TRAPS 14: unknown kids flooded the issuer with fetches.
#[tokio::test(start_paused = true)]
async fn trap_14_unknown_kids_fetch_once_in_a_window() {
    let setup = Setup::new();
    let good = setup.token();
    verify(&setup.tokens, &good).await.unwrap();
    for window in 0..4 {
        for forged in 0..50_000 {
            let forged = setup.forged(window * 50_000 + forged);
            let token = bearer(&forged);
            let rejected = setup.tokens.verify(&token).await.unwrap_err();
            assert_eq!(rejected.reason(), Reason::UnknownKey);
            if window == 3 {
                assert!(setup.tokens.verify_cached(&token).is_none());
            }
        }
        assert_eq!(setup.client.asked(), 1 + window, "one fetch in a window");
        setup.later(10).await;
    }
    assert!(cached(&setup.tokens, &good).unwrap().is_ok());
}

/// Requests that arrive during a fetch wait for it; once it is over, none waits.
#[tokio::test(start_paused = true)]
async fn callers_with_a_new_key_share_one_fetch() {
    let setup = Setup::new();
    verify(&setup.tokens, &setup.token()).await.unwrap();
    setup.issuer.rotate();
    setup.later(10).await;
    setup.client.hold();
    let tokens: Vec<_> = (0..1_000).map(|_| setup.token()).collect();
    let callers = join_all(tokens.iter().map(|token| verify(&setup.tokens, token)));
    let release = async {
        setup.client.sent(2).await;
        setup.client.release();
    };
    let (answers, ()) = tokio::join!(callers, release);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(setup.client.asked(), 2);
}
