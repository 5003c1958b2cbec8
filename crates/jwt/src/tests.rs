//! Tests of internals: what the cache holds.
#![cfg(feature = "aws-lc-rs")]

use std::time::Duration;

use tower_revoke_core::{BearerToken, Clock, TokenVerifier, UnixTime};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::JwtVerifier;

fn verifier(issuer: &TestIssuer, clock: &Clock, entries: usize) -> JwtVerifier {
    JwtVerifier::issuer(issuer.issuer())
        .audience("orders")
        .jwks(issuer.jwks().to_string())
        .clock(clock.clone())
        .without_revocations()
        .cache_capacity(entries)
        .build()
        .unwrap()
}

fn issuer() -> (TestIssuer, Clock) {
    let (clock, _hand) = Clock::manual(UnixTime::from_secs(1_800_000_000));
    let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::EdDSA);
    (issuer.clock(clock.clone()), clock)
}

#[tokio::test]
async fn rejected_tokens_are_not_cached() {
    let (issuer, clock) = issuer();
    let forger = TestIssuer::with(issuer.issuer(), TestAlgorithm::EdDSA).clock(clock.clone());
    let tokens = verifier(&issuer, &clock, 100);
    let rejected = [
        forger.token().header("kid", issuer.key_id()).sign(),
        issuer.token().audience("others").sign(),
        issuer.token().expired().sign(),
        issuer.token().header("crit", "x").sign(),
        issuer.token().claim("cnf", "x").sign(),
        "a.b.c".to_owned(),
    ];
    for token in rejected {
        let token = BearerToken::new(&token).unwrap();
        assert!(tokens.verify(&token).await.is_err());
        assert!(tokens.verify_cached(&token).is_none());
    }
    assert_eq!(tokens.cached_tokens(), 0);
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let (issuer, clock) = issuer();
    let tokens = verifier(&issuer, &clock, 16);
    for _ in 0..100 {
        let token = BearerToken::new(&issuer.token().sign()).unwrap();
        tokens.verify(&token).await.unwrap();
    }
    let held = tokens.cached_tokens();
    assert!((1..=16).contains(&held), "{held}");
}

/// TRAPS 17: the raw token was the cache's key.
#[tokio::test]
async fn trap_17_no_token_is_kept() {
    let (issuer, clock) = issuer();
    let tokens = verifier(&issuer, &clock, 16);
    let token = issuer.token().expires_in(Duration::from_secs(60)).sign();
    let bearer = BearerToken::new(&token).unwrap();
    let caller = tokens.verify(&bearer).await.unwrap();
    assert_eq!(tokens.cached_tokens(), 1);
    let (_, signature) = token.rsplit_once('.').unwrap();
    let shown = format!("{tokens:?} {caller:?} {:?} {bearer:?}", caller.token());
    assert!(
        !shown.contains(&token) && !shown.contains(signature),
        "{shown}"
    );
    // The key is 16 bytes, whatever the length of the token.
    assert_eq!(size_of::<tower_revoke_core::internal::CacheKey>(), 16);
}

/// After a rotation, a cached token is checked against the new key set once, not each time.
#[tokio::test]
async fn a_key_that_survives_a_rotation_is_confirmed_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_800_000_000));
    let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::EdDSA);
    let issuer = issuer.clock(clock.clone());
    issuer.write_jwks(&path).unwrap();
    let tokens = JwtVerifier::issuer(issuer.issuer())
        .audience("orders")
        .jwks_file(&path)
        .clock(clock)
        .without_revocations()
        .build()
        .unwrap();
    let token = BearerToken::new(&issuer.token().sign()).unwrap();
    tokens.verify(&token).await.unwrap();
    let before = tokens.cached_version(&token);
    issuer.rotate();
    issuer.write_jwks(&path).unwrap();
    hand.advance(Duration::from_secs(1));
    assert!(tokens.verify_cached(&token).unwrap().is_ok());
    assert!(tokens.cached_version(&token) > before);
}
