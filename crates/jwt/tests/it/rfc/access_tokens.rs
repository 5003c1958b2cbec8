//! RFC 9068 and 9449: access tokens, and those that are bound to a key.

use serde_json::json;
use tower_revoke_core::Reason;
use tower_revoke_jwt::JwtVerifier;
use tower_revoke_testing::TestAlgorithm;

use crate::support::*;

#[tokio::test]
async fn rfc9068_2_1_typ_is_at_jwt() {
    let (issuer, clock, _hand) = issuer();
    let tokens = for_issuer(&issuer, &clock)
        .access_tokens_only()
        .without_revocations()
        .build()
        .unwrap();
    for typ in [
        "at+jwt",
        "application/at+jwt",
        "AT+JWT",
        "Application/at+JWT",
    ] {
        let token = issuer.token().header("typ", typ).sign();
        assert!(verify(&tokens, &token).await.is_ok(), "{typ}");
    }
    for typ in ["JWT", "at", "at+jwt ", "text/at+jwt", "id+jwt"] {
        let token = issuer.token().header("typ", typ).sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::WrongType, "{typ}");
    }
    let token = issuer.token().without_header("typ").sign();
    assert_eq!(rejection(&tokens, &token).await, Reason::WrongType);
}

#[tokio::test]
async fn rfc9068_2_1_rs256_is_allowed_by_default_and_alg_none_never() {
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::RS256);
    let tokens = JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .jwks(issuer.jwks().to_string())
        .access_tokens_only()
        .clock(clock)
        .without_revocations()
        .build()
        .unwrap();
    let token = issuer.token().header("typ", "at+jwt");
    assert!(verify(&tokens, &token.clone().sign()).await.is_ok());
    let none = token.header("alg", "none").sign();
    assert_eq!(rejection(&tokens, &none).await, Reason::AlgorithmNotAllowed);
}

#[tokio::test]
async fn rfc9068_2_2_required_claims() {
    let (issuer, clock, _hand) = issuer();
    let tokens = for_issuer(&issuer, &clock)
        .access_tokens_only()
        .without_revocations()
        .build()
        .unwrap();
    let token = || issuer.token().header("typ", "at+jwt");
    for claim in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        let without = token().without(claim).sign();
        assert_eq!(
            rejection(&tokens, &without).await,
            Reason::MissingClaim,
            "{claim}"
        );
    }
    // `azp` doesn't replace `client_id`, and a jti must be a string.
    let azp = token().without("client_id").claim("azp", "shop").sign();
    assert_eq!(rejection(&tokens, &azp).await, Reason::MissingClaim);
    for jti in [json!(7), json!(""), json!(null)] {
        let token = token().claim("jti", jti).sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::MissingClaim);
    }
}

#[tokio::test]
async fn rfc9449_7_2_a_bound_token_is_no_bearer_token() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for cnf in [
        json!({"jkt": "abc"}),
        json!({"x5t#S256": "abc"}),
        json!({}),
        json!(null),
    ] {
        let token = issuer.token().claim("cnf", cnf).sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::Bound);
    }
}
