//! RFC 7519: claims.

use std::time::Duration;

use serde_json::json;
use tower_revoke_core::{Reason, TokenId, UnixTime};

use super::{claims, header};
use crate::support::*;

#[tokio::test]
async fn rfc7519_4_claim_names_are_unique() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let good = claims(|_| {});
    for extra in [r#","aud":"orders""#, r#","sub":"root""#, r#","x":1,"x":2"#] {
        let payload = format!("{}{extra}}}", &good[..good.len() - 1]);
        let token = issuer.sign_raw(header(), payload);
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}

#[tokio::test]
async fn rfc7519_7_2_claims_are_an_object() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let good = claims(|_| {});
    for payload in [
        "[]",
        "null",
        "1",
        "",
        "{",
        &format!("{good}x"),
        &format!("{good}{good}"),
    ] {
        let token = issuer.sign_raw(header(), payload);
        assert_eq!(
            rejection(&tokens, &token).await,
            Reason::MalformedToken,
            "{payload}"
        );
    }
}

#[tokio::test]
async fn rfc7519_4_1_registered_claims_have_their_types() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for (name, value) in [
        ("sub", json!(1)),
        ("aud", json!({"orders": 1})),
        ("aud", json!(["orders", 1])),
        ("exp", json!("2099-01-01")),
        ("exp", json!(-1)),
        ("nbf", json!(null)),
        ("iat", json!([])),
    ] {
        let token = issuer.token().claim(name, value.clone()).sign();
        assert_eq!(
            rejection(&tokens, &token).await,
            Reason::MalformedToken,
            "{name}: {value}"
        );
    }
}

#[tokio::test]
async fn rfc7519_4_1_1_iss_is_compared_exactly() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for iss in [
        json!("https://id.example.com/"),
        json!("HTTPS://id.example.com"),
        json!("https://id.example.co"),
        json!(""),
        json!(["https://id.example.com"]),
        json!(null),
    ] {
        let token = issuer.token().claim("iss", iss.clone()).sign();
        assert_eq!(
            rejection(&tokens, &token).await,
            Reason::WrongIssuer,
            "{iss}"
        );
    }
    let token = issuer.token().without("iss").sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::MissingClaim);
}

#[tokio::test]
async fn rfc7519_4_1_3_aud_must_contain_our_audience() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for aud in [
        json!("others"),
        json!([]),
        json!(["others", "Orders"]),
        json!("orders "),
    ] {
        let token = issuer.token().claim("aud", aud.clone()).sign();
        assert_eq!(
            rejection(&tokens, &token).await,
            Reason::WrongAudience,
            "{aud}"
        );
    }
    for aud in [json!("orders"), json!(["others", "orders"])] {
        let token = issuer.token().claim("aud", aud).sign();
        assert!(verify(&tokens, &token).await.is_ok());
    }
    let two = for_issuer(&issuer, &clock)
        .audience("billing")
        .without_revocations()
        .build()
        .unwrap();
    assert!(
        verify(&two, &issuer.token().audience("billing").sign())
            .await
            .is_ok()
    );
    assert!(
        verify(&two, &issuer.token().audience("orders").sign())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn rfc7519_4_1_4_exp_is_strictly_after_now() {
    let (issuer, clock, hand) = issuer();
    let tokens = for_issuer(&issuer, &clock)
        .leeway(Duration::ZERO)
        .without_revocations()
        .build()
        .unwrap();
    let token = issuer.token().expires_in(Duration::from_secs(60)).sign();
    hand.advance(Duration::from_secs(59));
    assert!(verify(&tokens, &token).await.is_ok());
    hand.advance(Duration::from_secs(1));
    assert_eq!(rejection(&tokens, &token).await, Reason::Expired);

    let without = issuer.token().without("exp").sign();
    assert_eq!(rejection(&tokens, &without).await, Reason::Expired);
    let allowed = for_issuer(&issuer, &clock)
        .allow_no_expiry()
        .without_revocations()
        .build()
        .unwrap();
    assert!(verify(&allowed, &without).await.is_ok());
}

#[tokio::test]
async fn rfc7519_4_1_4_and_4_1_5_the_leeway_applies_both_ways() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let at = |secs: i64| START.as_secs().saturating_add_signed(secs);
    for (claim, secs, expected) in [
        ("exp", -29, None),
        ("exp", -30, Some(Reason::Expired)),
        ("nbf", 30, None),
        ("nbf", 31, Some(Reason::NotYetValid)),
        ("iat", 30, None),
        ("iat", 31, Some(Reason::NotYetValid)),
    ] {
        let token = issuer.token().claim(claim, at(secs)).sign();
        let found = verify(&tokens, &token).await.err();
        assert_eq!(
            found.map(|found| found.reason()),
            expected,
            "{claim} {secs}"
        );
    }
}

#[tokio::test]
async fn rfc7519_4_1_6_a_token_issued_in_the_future_is_rejected() {
    let (issuer, clock, hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let ahead = UnixTime::from_secs(START.as_secs() + 600);
    let token = issuer.token().issued_at(ahead).sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::NotYetValid);
    hand.advance(Duration::from_secs(570));
    assert!(verify(&tokens, &token).await.is_ok());
}

#[tokio::test]
async fn rfc7519_4_1_7_a_jti_is_unique_per_issuer() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let caller = verify(&tokens, &issuer.token().jwt_id("42").sign())
        .await
        .unwrap();
    assert_eq!(caller.token_id(), TokenId::of_jwt(ISSUER, "42"));
}
