//! When a fetch starts and ends, and with which verifier, issuer and runtime.

use std::time::Duration;

use tower_revoke_core::{Endpoint, HttpClientError, Reason};
use tower_revoke_jwt::{Algorithm, KeyFetchError};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use super::{Answer, Client, KEYS, Setup, at_url};
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn the_build_fetches_nothing_and_the_first_token_does() {
    let setup = Setup::new();
    tokio::task::yield_now().await;
    assert_eq!(setup.client.asked(), 0);
    assert_eq!(setup.tokens.key_stats()[0].age, None);
    let token = setup.token();
    assert!(cached(&setup.tokens, &token).is_none());
    verify(&setup.tokens, &token).await.unwrap();
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    assert_eq!(setup.client.urls(), [KEYS]);
    let stats = &setup.tokens.key_stats()[0];
    assert_eq!((stats.keys, stats.fetches, stats.failures), (1, 1, 0));
    assert_eq!(stats.age, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_cached_token_causes_no_fetch() {
    let setup = Setup::new();
    let token = setup.token();
    verify(&setup.tokens, &token).await.unwrap();
    for _ in 0..1_000 {
        assert!(cached(&setup.tokens, &token).unwrap().is_ok());
    }
    assert_eq!(setup.client.asked(), 1);
}

/// TRAPS 14: the issuer was down at start-up, and the service gave up.
#[tokio::test(start_paused = true)]
async fn trap_14_an_issuer_that_is_down_at_start_up_is_retried() {
    let setup = Setup::new();
    setup.client.always(Answer::Fails);
    let token = setup.token();
    let rejected = verify(&setup.tokens, &token).await.unwrap_err();
    assert_eq!(rejected.reason(), Reason::Unavailable);
    assert!(format!("{rejected:?}").contains("no route"), "{rejected:?}");
    let error = setup.tokens.ready().await.unwrap_err();
    assert_eq!(keys_unavailable(&error).issuer(), ISSUER);
    assert!(matches!(
        keys_unavailable(&error).error(),
        Some(KeyFetchError::Http(HttpClientError::Failed(_)))
    ));
    // While the issuer fails, no request waits, and none triggers an extra fetch.
    for _ in 0..100 {
        assert_eq!(rejection(&setup.tokens, &token).await, Reason::Unavailable);
    }
    assert_eq!(setup.client.asked(), 1);
    setup.client.sent(4).await;
    *setup.client.0.always.lock().unwrap() = None;
    setup.client.sent(5).await;
    tokio::task::yield_now().await;
    setup.tokens.ready().await.unwrap();
    verify(&setup.tokens, &token).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_takes_too_long_is_a_503() {
    let setup = Setup::new();
    setup.client.hold();
    let started = tokio::time::Instant::now();
    let rejected = verify(&setup.tokens, &setup.token()).await.unwrap_err();
    assert_eq!(rejected.reason(), Reason::Unavailable);
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    let error = setup.tokens.ready().await.unwrap_err();
    assert!(matches!(
        keys_unavailable(&error).error(),
        Some(KeyFetchError::TimedOut(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_static_key_needs_no_fetch_and_works_beside_fetched_keys() {
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::EdDSA);
    let (client, _gone) = Client::new(&issuer);
    let pinned = TestIssuer::with(ISSUER, TestAlgorithm::EdDSA).clock(clock.clone());
    let tokens = at_url(&clock, &client)
        .public_pem(Algorithm::EdDSA, pinned.public_pem())
        .build()
        .unwrap();
    verify(&tokens, &pinned.token().sign()).await.unwrap();
    assert_eq!(client.asked(), 0);
    // Without the fetched keys, this token can't be proved invalid.
    client.then(Answer::Fails);
    let token = issuer.token().sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::Unavailable);
    client.sent(2).await;
    tokio::task::yield_now().await;
    verify(&tokens, &token).await.unwrap();
    verify(&tokens, &pinned.token().sign()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_issuer_has_its_own_keys() {
    let (ours, clock, _hand) = issuer_with(TestAlgorithm::EdDSA);
    let theirs = TestIssuer::with("https://partner.example.net", TestAlgorithm::EdDSA);
    let theirs = theirs.clock(clock.clone());
    let (client, _gone) = Client::new(&ours);
    let tokens = at_url(&clock, &client)
        .and_issuer(theirs.issuer())
        .audience("orders")
        .jwks_url(Endpoint::new("https://partner.example.net/keys").unwrap())
        .build()
        .unwrap();
    verify(&tokens, &ours.token().sign()).await.unwrap();
    // Both responses contain our keys: the partner's token matches none.
    assert_eq!(
        rejection(&tokens, &theirs.token().sign()).await,
        Reason::UnknownKey
    );
    assert_eq!(client.urls(), [KEYS, "https://partner.example.net/keys"]);
    tokens.ready().await.unwrap();
    assert_eq!(tokens.key_stats().len(), 2);
}

/// The task keeps nothing alive, and a request in progress is dropped too.
#[tokio::test(start_paused = true)]
async fn the_fetch_ends_with_the_verifier() {
    let mut setup = Setup::new();
    setup.client.hold();
    let tokens = setup.tokens;
    let waiting = tokio::spawn(async move {
        let _ = tokens.ready().await;
    });
    setup.client.sent(1).await;
    assert!(setup.gone.try_recv().is_err());
    let started = tokio::time::Instant::now();
    waiting.abort();
    setup.gone.recv().await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO, "the timeout ended it");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(setup.client.asked(), 1);
}

/// A fetch never completes in a runtime that is no longer polled.
#[test]
fn a_fetch_in_a_runtime_that_hangs_is_replaced_by_the_next() {
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap()
    };
    let setup = Setup::new();
    let token = setup.token();
    let hangs = runtime();
    setup.client.hold();
    hangs.block_on(async {
        let mut waits = std::pin::pin!(verify(&setup.tokens, &token));
        assert!(futures_util::poll!(waits.as_mut()).is_pending());
        setup.client.sent(1).await;
    });
    setup.client.release();
    // Twice the timeout of a fetch, and what a request waits longer.
    for (millis, is_replaced) in [(10_499, false), (1, false), (1, true)] {
        setup.hand.advance(Duration::from_millis(millis));
        let verified = runtime().block_on(verify(&setup.tokens, &token));
        assert_eq!(verified.is_ok(), is_replaced, "{verified:?}");
    }
    assert_eq!(setup.client.asked(), 2);
}

#[test]
fn a_runtime_that_is_gone_is_replaced_by_the_next() {
    let setup = Setup::new();
    let token = setup.token();
    let run = |work: &mut dyn FnMut(&tokio::runtime::Runtime)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        work(&runtime);
    };
    run(&mut |runtime| {
        runtime.block_on(verify(&setup.tokens, &token)).unwrap();
    });
    setup.hand.advance(Duration::from_secs(10));
    run(&mut |runtime| {
        runtime.block_on(async {
            assert!(cached(&setup.tokens, &token).unwrap().is_ok());
            setup.client.sent(2).await;
        });
    });
    // Outside of a runtime, nothing is fetched and nothing panics.
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::EdDSA);
    let (client, _gone) = Client::new(&issuer);
    let tokens = at_url(&clock, &client).build().unwrap();
    let rejected = futures_util::FutureExt::now_or_never(verify(&tokens, &issuer.token().sign()));
    assert_eq!(rejected.unwrap().unwrap_err().reason(), Reason::Unavailable);
    assert_eq!(client.asked(), 0);
}
