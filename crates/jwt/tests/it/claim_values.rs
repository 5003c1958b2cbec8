//! Tests tokens that must have a value in a claim.

use serde_json::{Value, json};
use tower_revoke_core::{Authenticated, Reason, Rejection};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::support::*;

async fn verdict(claims: &Value) -> Result<Authenticated, Rejection> {
    let (issuer, clock, _hand) = issuer();
    let tokens = for_issuer(&issuer, &clock)
        .claim("token_use", "access")
        .claim("client_id", "app")
        .claim("client_id", "web")
        .claim("verified", true)
        .without_revocations()
        .build()
        .unwrap();
    let claims = claims.as_object().unwrap();
    let token = claims
        .iter()
        .fold(issuer.token(), |token, (name, value)| match value {
            Value::Null => token.without(name),
            value => token.claim(name, value.clone()),
        });
    verify(&tokens, &token.sign()).await
}

#[tokio::test]
async fn every_claim_must_have_one_of_its_values() {
    for client in ["app", "web"] {
        let claims = json!({"token_use": "access", "client_id": client, "verified": true});
        assert!(verdict(&claims).await.is_ok(), "{client}");
    }
    for (token_use, client, verified) in [
        (json!("id"), json!("app"), json!(true)),
        (json!("Access"), json!("app"), json!(true)),
        (json!(["access"]), json!("app"), json!(true)),
        (json!("access"), json!("other"), json!(true)),
        (json!("access"), json!("app"), json!(false)),
        (json!("access"), json!("app"), json!("true")),
    ] {
        let claims = json!({"token_use": token_use, "client_id": client, "verified": verified});
        let rejected = verdict(&claims).await.unwrap_err();
        assert_eq!(rejected.reason(), Reason::WrongClaim, "{claims}");
        assert_eq!(rejected.reason().status(), 401);
    }
}

#[tokio::test]
async fn a_claim_with_values_must_be_there() {
    for missing in ["token_use", "client_id", "verified"] {
        let mut claims = json!({"token_use": "access", "client_id": "app", "verified": true});
        claims[missing] = Value::Null;
        let rejected = verdict(&claims).await.unwrap_err();
        assert_eq!(rejected.reason(), Reason::MissingClaim, "{missing}");
    }
}

#[tokio::test]
async fn values_are_those_of_one_issuer() {
    let (issuer, clock, _hand) = issuer();
    let other = TestIssuer::with("https://other.example.net", TestAlgorithm::ES256);
    let other = other.clock(clock.clone());
    let builder = for_issuer(&issuer, &clock)
        .claim("client_id", "app")
        .and_issuer(other.issuer())
        .audience("orders");
    let tokens = keys_of(builder, &other)
        .without_revocations()
        .build()
        .unwrap();
    assert!(verify(&tokens, &other.token().sign()).await.is_ok());
    let rejected = rejection(&tokens, &issuer.token().sign()).await;
    assert_eq!(rejected, Reason::WrongClaim);
}
