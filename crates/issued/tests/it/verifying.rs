//! Which tokens are accepted, and what ends them.

use std::time::Duration;

use crate::support::{HOUR, ISSUER, NOW, World, of_ann, presented, reason, verified};
use proptest::prelude::*;
use tower_revoke_core::{
    BearerToken, IssuedTokenStore, KeyDigest, Lift, Reason, Revocation, RevocationKey, TokenId,
    TokenKind, TokenVerifier, UnixTime,
};
use tower_revoke_issued::{IssuedTokens, NewToken, OpaqueTokenVerifier, OpaqueTokenVerifierError};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::StoreOp;

#[tokio::test]
async fn a_caller_has_the_claims_that_were_issued() {
    let world = World::new();
    let token = world.issue(of_ann()).await;
    let caller = verified(&world.verifier(), &token).await.unwrap();
    let id = TokenId::of_opaque(ISSUER, &token.hash());
    assert_eq!(caller.token_id(), id);
    let claims = caller.token().claims();
    let expected = serde_json::json!({
        "iss": ISSUER, "client_id": "shop", "sub": "ann", "aud": ["orders"],
        "scope": "orders:read orders:write", "grant_id": "g1", "sid": "s1", "iat": NOW,
        "exp": NOW + 3_600, "tenant": "acme",
    });
    assert_eq!(serde_json::json!(claims.as_map()), expected);
    assert!(caller.has_scope("orders:write"));
}

#[tokio::test]
async fn only_tokens_of_this_issuer_are_known() {
    let world = World::new();
    let verifier = world.verifier();
    let other = IssuedTokens::builder("https://id.example.org", world.memory.clone());
    let other = other.prefix("acme_").clock(world.clock.clone());
    let other = other.build().unwrap();
    // In the same store, and of the same form.
    let foreign = other.issue(of_ann()).await.unwrap();
    assert_eq!(
        reason(&verifier, &foreign).await,
        Some(Reason::UnknownToken)
    );
    let token = world.issue(of_ann()).await;
    assert_eq!(reason(&verifier, &token).await, None);
    let mut changed = token.as_str().to_owned();
    let last = if changed.ends_with('A') { "B" } else { "A" };
    changed.replace_range(changed.len() - 1.., last);
    let rejected = verifier.verify(&BearerToken::new(&changed).unwrap()).await;
    assert_eq!(rejected.unwrap_err().reason(), Reason::UnknownToken);
}

#[tokio::test]
async fn another_form_is_rejected_before_the_store_is_asked() {
    let world = World::new();
    let verifier = world.verifier();
    let token = world.issue(of_ann()).await;
    let random = token.as_str().strip_prefix("acme_").unwrap();
    for other in [
        random.to_owned(),
        format!("acme-{random}"),
        format!("ACME_{random}"),
        format!("acme_{random}A"),
        format!("acme_{}", &random[1..]),
        "acme_".to_owned(),
        "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl".to_owned(),
    ] {
        let rejected = verifier.verify(&BearerToken::new(&other).unwrap()).await;
        assert_eq!(
            rejected.unwrap_err().reason(),
            Reason::MalformedToken,
            "{other}"
        );
    }
    assert_eq!(world.script.calls(StoreOp::FindIssuedToken), 0);
}

proptest! {
    #[test]
    fn no_made_up_token_is_accepted(token in "(acme_)?[A-Za-z0-9_-]{40,45}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let world = World::new();
        let token = BearerToken::new(&token).unwrap();
        prop_assert!(runtime.block_on(world.verifier().verify(&token)).is_err());
    }
}

#[tokio::test]
async fn a_token_expires_after_its_life_and_the_leeway_also_in_the_cache() {
    let world = World::new();
    let verifier = world.builder().audience("orders");
    let verifier = verifier.leeway(Duration::from_secs(5)).build().unwrap();
    let (seen, unseen) = (world.issue(of_ann()).await, world.issue(of_ann()).await);
    assert_eq!(reason(&verifier, &seen).await, None);
    world.hand.advance(HOUR + Duration::from_secs(4));
    assert_eq!(reason(&verifier, &seen).await, None);
    world.hand.advance(Duration::from_secs(1));
    for token in [&seen, &unseen] {
        assert!(verifier.verify_cached(&presented(token)).is_none());
        assert_eq!(reason(&verifier, token).await, Some(Reason::Expired));
    }
}

/// A token of an issuer whose clock runs ahead would escape a rule that ends all tokens until now.
#[tokio::test]
async fn a_token_from_the_future_is_not_valid_yet() {
    let world = World::new();
    let ahead = world.issue(of_ann()).await;
    world.hand.step_wall(-31);
    let verifier = world.verifier();
    assert_eq!(reason(&verifier, &ahead).await, Some(Reason::NotYetValid));
    world.hand.step_wall(1);
    assert_eq!(reason(&verifier, &ahead).await, None, "within the leeway");
}

#[tokio::test]
async fn the_audience_and_the_kind_must_be_those_of_the_verifier() {
    let world = World::new();
    let orders = world.verifier();
    let any = world.builder().any_audience().build().unwrap();
    let two = world.builder().audience("x").audience("payments").build();
    let two = two.unwrap();
    let payments = world.issue(NewToken::access("shop", HOUR).audience("payments"));
    let payments = payments.await;
    let none = world.issue(NewToken::access("shop", HOUR)).await;
    for token in [&payments, &none] {
        assert_eq!(reason(&orders, token).await, Some(Reason::WrongAudience));
        assert_eq!(reason(&any, token).await, None);
    }
    assert_eq!(reason(&two, &payments).await, None);
    assert_eq!(reason(&two, &none).await, Some(Reason::WrongAudience));
    let refresh = NewToken::refresh("shop", HOUR).audience("orders");
    let ticket = NewToken::of_kind(TokenKind::new("ticket"), "shop", HOUR).audience("orders");
    let (refresh, ticket) = (world.issue(refresh).await, world.issue(ticket).await);
    for token in [&refresh, &ticket] {
        for verifier in [&orders, &any] {
            assert_eq!(reason(verifier, token).await, Some(Reason::WrongType));
        }
    }
    let tickets = world.builder().any_audience();
    let tickets = tickets.kind(TokenKind::new("ticket")).build().unwrap();
    assert_eq!(reason(&tickets, &ticket).await, None);
    assert_eq!(reason(&tickets, &payments).await, Some(Reason::WrongType));
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_no_bearer_token() {
    let world = World::new();
    let bound = of_ann().claim("cnf", serde_json::json!({ "jkt": "x" }));
    let bound = world.issue(bound).await;
    assert_eq!(reason(&world.verifier(), &bound).await, Some(Reason::Bound));
}

/// Each rule ends a token that is cached, on the next call, and leaves another one alone.
#[tokio::test]
async fn every_rule_of_the_list_ends_a_token_that_was_seen() {
    let further = KeyDigest::of_token(TokenId::of_jwt("https://parent.example.com", "1"));
    let parent = RevocationKey::Token(further.as_token());
    for key in [
        RevocationKey::issuer(ISSUER),
        RevocationKey::subject(ISSUER, "ann"),
        RevocationKey::client(ISSUER, "shop"),
        RevocationKey::session(ISSUER, "s1"),
        RevocationKey::grant(ISSUER, "g1"),
        RevocationKey::claim(ISSUER, "tenant", "acme"),
        parent,
    ] {
        let world = World::new();
        let verifier = world.builder().audience("orders").rule_claim("tenant");
        let verifier = verifier.build().unwrap();
        let token = world.issue(of_ann().key(further)).await;
        let other = world.issue(NewToken::access("bank", HOUR).audience("orders"));
        let other = other.await;
        for seen in [&token, &other] {
            assert_eq!(reason(&verifier, seen).await, None);
        }
        let revocation = match &key {
            RevocationKey::Token(id) => Revocation::of_token(*id, None),
            rule => Revocation::all_of(rule.clone()).unwrap(),
        };
        world.list.revoke(revocation).await.unwrap();
        assert_eq!(
            reason(&verifier, &token).await,
            Some(Reason::Revoked),
            "{key:?}"
        );
        let cached = verifier.verify_cached(&presented(&token)).unwrap();
        assert_eq!(cached.unwrap_err().reason(), Reason::Revoked);
        let is_of_issuer = key == RevocationKey::issuer(ISSUER);
        let expected = is_of_issuer.then_some(Reason::Revoked);
        assert_eq!(reason(&verifier, &other).await, expected, "{key:?}");
        // The row is as before: what ended it can be lifted.
        world.list.lift(Lift::new(key)).await.unwrap();
        assert_eq!(reason(&verifier, &token).await, None);
    }
}

#[tokio::test]
async fn one_token_is_revoked_or_spent_by_its_id() {
    let world = World::new();
    let verifier = world.verifier();
    let (one, two) = (world.issue(of_ann()).await, world.issue(of_ann()).await);
    let id = TokenId::of_opaque(ISSUER, &one.hash());
    let caller = verified(&verifier, &one).await.unwrap();
    assert_eq!(caller.token_id(), id);
    let exp = Some(UnixTime::from_secs(NOW + 3_600));
    let spent = Revocation::of_spent_token(id, exp);
    world.list.revoke(spent).await.unwrap();
    assert_eq!(reason(&verifier, &one).await, Some(Reason::Spent));
    world
        .list
        .revoke(Revocation::of_token(id, exp))
        .await
        .unwrap();
    assert_eq!(reason(&verifier, &one).await, Some(Reason::Revoked));
    assert_eq!(reason(&verifier, &two).await, None);
}

/// A rule is kept no longer than `max_token_life` says, so a token that lives longer is rejected.
#[tokio::test]
async fn no_token_outlives_the_rules_of_the_list() {
    let world = World::new();
    let list = RevocationList::builder(MemoryStore::new()).max_token_life(HOUR / 2);
    let list = list.clock(world.clock.clone()).build().unwrap();
    let verifier = OpaqueTokenVerifier::builder(world.tokens.clone()).any_audience();
    let verifier = verifier.revocations(list).build().unwrap();
    let token = world.issue(of_ann()).await;
    assert_eq!(reason(&verifier, &token).await, Some(Reason::LifeTooLong));
    let short = world.issue(NewToken::access("shop", HOUR / 2)).await;
    assert_eq!(reason(&verifier, &short).await, None);
}

#[tokio::test]
async fn a_row_that_says_what_no_claims_can_say_is_rejected() {
    let world = World::new();
    let token = world.issue(of_ann()).await;
    let row = world.memory.find(&token.hash()).await.unwrap().unwrap();
    let mut row = row;
    let presented = BearerToken::new(&format!("acme_{}", "a".repeat(43))).unwrap();
    row.hash = tower_revoke_core::TokenHash::of(presented.as_bytes());
    row.claims.insert("azp".to_owned(), "bank".into());
    world.memory.insert(&row).await.unwrap();
    let rejected = world.verifier().verify(&presented).await.unwrap_err();
    assert_eq!(rejected.reason(), Reason::MalformedToken);
}

#[tokio::test]
async fn a_verifier_needs_an_audience_and_a_list_or_the_word_that_there_is_none() {
    let world = World::new();
    let builder = || OpaqueTokenVerifier::builder(world.tokens.clone());
    let is_missing = |built| matches!(built, Err(OpaqueTokenVerifierError::MissingAudience));
    assert!(is_missing(builder().without_revocations().build()));
    assert!(is_missing(world.builder().audience("").build()));
    assert!(is_missing(
        world.builder().audience("a").any_audience().build()
    ));
    assert!(matches!(
        builder().any_audience().build(),
        Err(OpaqueTokenVerifierError::MissingRevocations)
    ));
    let leeway = world
        .builder()
        .any_audience()
        .leeway(Duration::from_secs(301));
    assert!(matches!(
        leeway.build(),
        Err(OpaqueTokenVerifierError::LeewayTooLong { .. })
    ));
    let token = world.issue(of_ann()).await;
    let verifier = builder().any_audience().without_revocations().build();
    assert_eq!(reason(&verifier.unwrap(), &token).await, None);
}
