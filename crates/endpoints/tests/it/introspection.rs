//! RFC 7662: what the responses contain, and who gets them.

use serde_json::json;
use tower_revoke_core::{Revocation, TokenId};
use tower_revoke_endpoints::IntrospectionEndpoint;
use tower_revoke_jwt::JwtVerifier;
use tower_revoke_list::RevocationList;
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::support::{BANK, EXP, ISSUER, SHOP, Tokens, any_method, basic, call, post};

fn introspection() -> (IntrospectionEndpoint, RevocationList) {
    let list = RevocationList::in_memory();
    let endpoint = IntrospectionEndpoint::new(any_method()).verifier(Tokens::of(&list));
    (endpoint, list)
}

#[tokio::test]
async fn rfc7662_2_2_an_active_token_is_described() {
    let (endpoint, _) = introspection();
    let request = || post(Some(&basic("shop", SHOP)), "token=shop.1&token_type_hint=x");
    let mut expected = json!({
        "active": true, "token_type": "Bearer", "client_id": "shop", "iss": ISSUER, "iat": 1,
        "exp": EXP.as_secs(), "aud": ["orders", "bank"], "scope": "read write",
    });
    let answer = call(&endpoint, request()).await;
    assert_eq!((answer.status.as_u16(), &answer.body), (200, &expected));
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["content-type"], "application/json");
    let with_claims = endpoint.claim("grant_id").claim("absent");
    expected["grant_id"] = "shop".into();
    assert_eq!(call(&with_claims, request()).await.body, expected);
}

/// RFC 7662 §2.2: nothing else is said about a token that is not active.
#[tokio::test]
async fn rfc7662_2_2_a_token_that_is_not_active_is_not_described() {
    let (endpoint, list) = introspection();
    let revoked = TokenId::of_jwt(ISSUER, "shop.1");
    let revocation = Revocation::of_token(revoked, Some(EXP));
    list.revoke(revocation).await.expect("a revocation");
    for form in ["token=shop.1", "token=unknown", "token=%00"] {
        let answer = call(&endpoint, post(Some(&basic("shop", SHOP)), form)).await;
        let expected = (200, &json!({ "active": false }));
        assert_eq!((answer.status.as_u16(), &answer.body), expected, "{form}");
    }
}

#[tokio::test]
async fn rfc7662_2_1_a_hint_narrows_nothing() {
    let (endpoint, _) = introspection();
    for hint in ["access_token", "refresh_token", "unheard-of", ""] {
        let form = format!("token=shop.1&token_type_hint={hint}");
        let answer = call(&endpoint, post(Some(&basic("shop", SHOP)), &form)).await;
        assert_eq!(answer.body["active"], true, "{hint}");
    }
}

#[tokio::test]
async fn rfc7662_4_each_defect_of_a_token_makes_it_inactive() {
    let issuer = TestIssuer::with(ISSUER, TestAlgorithm::ES256);
    let list = RevocationList::in_memory();
    let tokens = JwtVerifier::issuer(ISSUER)
        .any_audience()
        .jwks(issuer.jwks().to_string())
        .revocations(list.clone())
        .build()
        .expect("a verifier");
    let endpoint = IntrospectionEndpoint::new(any_method()).verifier(tokens);
    let token = || issuer.token().claim("client_id", "shop");
    let revoked = Revocation::of_token(TokenId::of_jwt(ISSUER, "revoked"), None);
    list.revoke(revoked).await.expect("a revocation");
    let forged = TestIssuer::with(ISSUER, TestAlgorithm::ES256);
    let forged = forged.token().header("kid", issuer.key_id());
    let good = token().sign();
    let (_, signature) = good.rsplit_once('.').expect("a signature");
    let another = token().sign();
    let (input, _) = another.rsplit_once('.').expect("a signature");
    for (presented, is_active) in [
        (good.clone(), true),
        (token().expired().sign(), false),
        (token().claim("nbf", 4_000_000_000_u64).sign(), false),
        (token().jwt_id("revoked").sign(), false),
        (forged.claim("client_id", "shop").sign(), false),
        (format!("{input}.{signature}"), false),
    ] {
        let form = format!("token={presented}");
        let answer = call(&endpoint, post(Some(&basic("shop", SHOP)), &form)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body["active"], is_active, "{presented}");
        assert!(is_active || answer.body == json!({ "active": false }));
    }
}

/// RFC 7662 §4: a client learns nothing about tokens that are none of its business.
#[tokio::test]
async fn rfc7662_4_only_the_client_and_the_audience_may_ask() {
    let (endpoint, _) = introspection();
    let bank = basic("bank", BANK);
    let is_active = async |endpoint: &IntrospectionEndpoint, authorization, form| {
        let answer = call(endpoint, post(authorization, form)).await;
        assert_eq!(answer.status, 200);
        answer.body["active"] == true
    };
    // All tokens are meant for `bank`.
    assert!(is_active(&endpoint, Some(&bank), "token=shop.1").await);
    let public = "token=shop.1&client_id=cli";
    assert!(!is_active(&endpoint, None, public).await);
    let of_another = endpoint
        .clone()
        .introspector("https://other.example.com", "cli");
    assert!(!is_active(&of_another, None, public).await);
    let introspector = endpoint.introspector(ISSUER, "cli");
    assert!(is_active(&introspector, None, public).await);
}

/// RFC 7662 §2.1: the endpoint requires authorization.
#[tokio::test(start_paused = true)]
async fn rfc7662_2_1_a_caller_is_authenticated_first() {
    let (endpoint, _) = introspection();
    for authorization in [None, Some(basic("shop", BANK))] {
        let answer = call(&endpoint, post(authorization.as_deref(), "token=shop.1")).await;
        assert_eq!(answer.error(), (401, "invalid_client"));
    }
    let answer = call(&endpoint, post(Some(&basic("shop", SHOP)), "")).await;
    assert_eq!(answer.error(), (400, "invalid_request"));
}

#[tokio::test]
async fn without_keys_the_answer_is_503_unless_another_verifier_accepts_the_token() {
    let list = RevocationList::in_memory();
    let down = Tokens {
        list: list.clone(),
        is_down: true,
    };
    let request = |form| post(Some(&basic("shop", SHOP)), form);
    let endpoint = IntrospectionEndpoint::new(any_method()).verifier(down);
    let answer = call(&endpoint, request("token=shop.1")).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    let endpoint = endpoint.verifier(Tokens::of(&list));
    assert_eq!(
        call(&endpoint, request("token=shop.1")).await.body["active"],
        true
    );
    let answer = call(&endpoint, request("token=unknown")).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
}
