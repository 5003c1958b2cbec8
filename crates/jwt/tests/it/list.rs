//! Tests the cache with the list and the clock: a cached token is still checked against both each
//! time.

use std::time::Duration;

use static_assertions::assert_impl_all;
use tower_revoke_core::{Reason, Revocation, RevocationKey, TokenStatus};
use tower_revoke_jwt::{JwtVerifier, JwtVerifierBuilder};

use crate::support::*;

assert_impl_all!(JwtVerifier: Clone, Send, Sync);
assert_impl_all!(JwtVerifierBuilder: Send);

#[tokio::test]
async fn a_token_is_answered_from_the_cache_once_it_was_verified() {
    let (issuer, clock, _hand) = issuer();
    let list = FakeList::default();
    let tokens = for_issuer(&issuer, &clock)
        .revocations(list.clone())
        .build()
        .unwrap();
    let token = issuer.token().sign();
    assert!(cached(&tokens, &token).is_none());
    let first = verify(&tokens, &token).await.unwrap();
    let again = cached(&tokens, &token).unwrap().unwrap();
    assert!(std::sync::Arc::ptr_eq(first.token(), again.token()));
    assert_eq!(list.asked(), 0);
}

#[tokio::test]
async fn a_revoked_and_a_spent_token_are_rejected_on_the_next_call() {
    let (issuer, clock, _hand) = issuer();
    let list = FakeList::default();
    let tokens = for_issuer(&issuer, &clock)
        .revocations(list.clone())
        .build()
        .unwrap();
    for (status, reason) in [
        (TokenStatus::Revoked, Reason::Revoked),
        (TokenStatus::Spent, Reason::Spent),
    ] {
        let token = issuer.token().sign();
        let caller = verify(&tokens, &token).await.unwrap();
        list.list(caller.token_id(), status);
        assert_eq!(cached(&tokens, &token).unwrap().unwrap_err(), reason);
        let rejected = verify(&tokens, &token).await.unwrap_err();
        assert_eq!(rejected.reason(), reason);
        assert_eq!(rejected.token_id(), Some(caller.token_id()));
    }
}

#[tokio::test]
async fn the_list_travels_with_the_token() {
    let (issuer, clock, _hand) = issuer();
    let tokens = for_issuer(&issuer, &clock)
        .revocations(FakeList::default())
        .build()
        .unwrap();
    let token = issuer.token().sign();
    let caller = verify(&tokens, &token).await.unwrap();
    let list = caller.token().revocations().unwrap().clone();
    let revocation = Revocation::of_token(caller.token_id(), caller.expires_at());
    list.revoke(revocation).await.unwrap();
    assert_eq!(rejection(&tokens, &token).await, Reason::Revoked);

    let without = verifier(&issuer, &clock);
    let caller = verify(&without, &issuer.token().sign()).await.unwrap();
    assert!(caller.token().revocations().is_none());
}

#[tokio::test]
async fn a_failing_list_rejects_with_503() {
    let (issuer, clock, _hand) = issuer();
    let list = FakeList::default();
    let tokens = for_issuer(&issuer, &clock)
        .revocations(list.clone())
        .build()
        .unwrap();
    let (seen, new) = (issuer.token().sign(), issuer.token().sign());
    verify(&tokens, &seen).await.unwrap();
    list.answer(Answers::Never);
    for token in [&seen, &new, &seen] {
        assert!(cached(&tokens, token).is_none());
        let rejected = verify(&tokens, token).await.unwrap_err();
        assert_eq!(rejected.reason(), Reason::Unavailable);
        assert_eq!(rejected.reason().status(), 503);
        assert!(rejected.token_id().is_some());
    }
    list.answer(Answers::AtOnce);
    for token in [&seen, &new] {
        assert!(
            cached(&tokens, token).unwrap().is_ok(),
            "valid again without a new verification"
        );
    }
}

#[tokio::test]
async fn a_stale_answer_is_looked_up_again_without_checking_the_signature() {
    let (issuer, clock, hand) = issuer();
    let list = FakeList::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    issuer.write_jwks(&path).unwrap();
    let tokens = JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .jwks_file(&path)
        .clock(clock.clone())
        .revocations(list.clone())
        .build()
        .unwrap();
    let token = issuer.token().sign();
    let first = verify(&tokens, &token).await.unwrap();
    list.answer(Answers::WhenAsked);
    assert!(cached(&tokens, &token).is_none());
    let again = verify(&tokens, &token).await.unwrap();
    assert!(
        std::sync::Arc::ptr_eq(first.token(), again.token()),
        "the cached token"
    );
    assert_eq!(list.asked(), 1);
    list.list(first.token_id(), TokenStatus::Revoked);
    assert_eq!(rejection(&tokens, &token).await, Reason::Revoked);
    assert_eq!(list.asked(), 2);
    // A key that is gone forces a full verification before the list is asked.
    let old = issuer.key_id();
    issuer.rotate();
    issuer.withdraw(&old);
    issuer.write_jwks(&path).unwrap();
    hand.advance(Duration::from_secs(1));
    assert_eq!(rejection(&tokens, &token).await, Reason::UnknownKey);
    assert_eq!(list.asked(), 2);
}

#[tokio::test]
async fn a_token_expires_while_it_is_cached() {
    let (issuer, clock, hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let token = issuer.token().expires_in(Duration::from_secs(60)).sign();
    verify(&tokens, &token).await.unwrap();
    hand.advance(Duration::from_secs(89));
    assert!(
        cached(&tokens, &token).unwrap().is_ok(),
        "within the leeway"
    );
    hand.advance(Duration::from_secs(1));
    assert!(cached(&tokens, &token).is_none());
    assert_eq!(rejection(&tokens, &token).await, Reason::Expired);
}

#[tokio::test]
async fn a_clock_that_steps_back_also_applies_to_a_cached_token() {
    let (issuer, clock, hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let token = issuer.token().sign();
    verify(&tokens, &token).await.unwrap();
    hand.step_wall(-60);
    assert!(cached(&tokens, &token).is_none());
    assert_eq!(rejection(&tokens, &token).await, Reason::NotYetValid);
}

#[tokio::test]
async fn trap_43_the_list_bounds_the_life_of_tokens() {
    let (issuer, clock, _hand) = issuer();
    let tokens = for_issuer(&issuer, &clock)
        .revocations(FakeList::default().with_max_token_life(Duration::from_secs(600)))
        .build()
        .unwrap();
    let token = |secs| issuer.token().expires_in(Duration::from_secs(secs));
    assert!(verify(&tokens, &token(600).sign()).await.is_ok());
    assert_eq!(
        rejection(&tokens, &token(601).sign()).await,
        Reason::LifeTooLong
    );
    let without_iat = token(600).without("iat").sign();
    assert_eq!(rejection(&tokens, &without_iat).await, Reason::MissingClaim);
    let without_exp = token(600).without("exp").sign();
    assert_eq!(rejection(&tokens, &without_exp).await, Reason::Expired);
}

#[tokio::test]
async fn a_rule_claim_adds_a_key_to_the_token() {
    let (issuer, clock, _hand) = issuer();
    let tokens = for_issuer(&issuer, &clock)
        .rule_claim("tenant")
        .without_revocations()
        .build()
        .unwrap();
    let caller = verify(&tokens, &issuer.token().claim("tenant", "acme").sign())
        .await
        .unwrap();
    let key = RevocationKey::claim(ISSUER, "tenant", "acme").digest();
    assert!(caller.token().keys().contains(&key));
    let caller = verify(&tokens, &issuer.token().sign()).await.unwrap();
    assert!(!caller.token().keys().contains(&key));
    let wrong = issuer.token().claim("tenant", 7).sign();
    assert_eq!(rejection(&tokens, &wrong).await, Reason::MalformedToken);
}

#[tokio::test]
async fn a_long_token_is_not_read() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let long = issuer.token().claim("x", "y".repeat(8_192)).sign();
    assert_eq!(rejection(&tokens, &long).await, Reason::TokenTooLong);
    let token = issuer.token().sign();
    let exact = for_issuer(&issuer, &clock).max_token_bytes(token.len());
    let exact = exact.without_revocations().build().unwrap();
    assert!(verify(&exact, &token).await.is_ok());
    let less = for_issuer(&issuer, &clock).max_token_bytes(token.len() - 1);
    let less = less.without_revocations().build().unwrap();
    assert_eq!(rejection(&less, &token).await, Reason::TokenTooLong);
}

#[tokio::test]
async fn clones_share_what_they_know() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let token = issuer.token().sign();
    verify(&tokens.clone(), &token).await.unwrap();
    assert!(cached(&tokens, &token).unwrap().is_ok());
}
