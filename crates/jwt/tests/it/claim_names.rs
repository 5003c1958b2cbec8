//! Tests which claims name the client, session, grant and scopes of an issuer's tokens.

use serde_json::{Value, json};
use tower_revoke_core::{Authenticated, ClaimNames, Reason, RevocationKey};
use tower_revoke_jwt::JwtVerifier;
use tower_revoke_testing::{TestAlgorithm, TestIssuer, TestToken};

use crate::support::*;

/// A token with these claims, and no other that names a client.
fn token<'a>(issuer: &'a TestIssuer, claims: &Value) -> TestToken<'a> {
    let claims = claims.as_object().unwrap();
    let token = issuer.token().without("client_id");
    claims.iter().fold(token, |token, (name, value)| {
        token.claim(name, value.clone())
    })
}

/// The keys of rules over the client, session and grant of a token.
fn keys(caller: &Authenticated) -> [Option<RevocationKey>; 3] {
    [
        caller.client_key(),
        caller.session_key(),
        caller.grant_key(),
    ]
}

#[tokio::test]
async fn rules_follow_the_claims_of_each_issuer() {
    let (issuer, clock, _hand) = issuer();
    let other = TestIssuer::with("https://other.example.net", TestAlgorithm::ES256);
    let other = other.clock(clock.clone());
    let names = ClaimNames::default()
        .client("app")
        .session("login")
        .grant("delegation")
        .scopes("rights");
    let builder = for_issuer(&issuer, &clock)
        .and_issuer(other.issuer())
        .audience("orders")
        .claim_names(names);
    let tokens = keys_of(builder, &other)
        .without_revocations()
        .build()
        .unwrap();
    let claims = json!({
        "appid": "shop", "sid": "s1", "grant_id": "g1", "scp": ["read"],
        "app": "bank", "login": "l1", "delegation": "d1", "rights": "write",
    });
    for (issuer, client, session, grant, scope) in [
        (&issuer, "shop", "s1", "g1", "read"),
        (&other, "bank", "l1", "d1", "write"),
    ] {
        let token = token(issuer, &claims).sign();
        verify(&tokens, &token).await.unwrap();
        // The cached token has the same names.
        let caller = cached(&tokens, &token).unwrap().unwrap();
        let name = issuer.issuer();
        let expected = [
            RevocationKey::client(name, client),
            RevocationKey::session(name, session),
            RevocationKey::grant(name, grant),
        ];
        for key in &expected {
            assert!(caller.token().keys().contains(&key.digest()), "{key:?}");
        }
        assert_eq!(keys(&caller), expected.map(Some));
        assert_eq!(caller.scopes().collect::<Vec<_>>(), [scope]);
    }
}

#[tokio::test]
async fn a_token_whose_claims_contradict_each_other_is_rejected() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for claims in [
        json!({"azp": "shop", "cid": "bank"}),
        json!({"client_id": "shop", "appid": "bank"}),
        json!({"cid": 7}),
        json!({"appid": null}),
        json!({"grant_id": ["g1"]}),
        json!({"scope": "read", "scp": "read admin"}),
        json!({"scp": ["read", 7]}),
    ] {
        let token = token(&issuer, &claims).sign();
        let rejected = verify(&tokens, &token).await.unwrap_err();
        assert_eq!(rejected.reason(), Reason::MalformedToken, "{claims}");
        assert!(rejected.token_id().is_some(), "{claims}");
    }
}

/// What one issuer means by a name is no reason to reject the tokens of another.
#[tokio::test]
async fn a_setting_frees_the_default_names_for_other_meanings() {
    let (issuer, clock, _hand) = issuer();
    let names = ClaimNames::default().client("azp").scopes("scope");
    let tokens: JwtVerifier = for_issuer(&issuer, &clock)
        .claim_names(names)
        .without_revocations()
        .build()
        .unwrap();
    let claims = json!({
        "azp": "shop", "cid": 7, "appid": ["x"], "client_id": "gateway", "scope": "read",
        "scp": {"any": true},
    });
    let token = token(&issuer, &claims).sign();
    let caller = verify(&tokens, &token).await.unwrap();
    assert_eq!(caller.client(), Some("shop"));
    assert!(caller.has_scope("read"));
}

/// The rule over a raw claim applies beside that over the client.
#[tokio::test]
async fn a_rule_claim_of_a_default_name_is_checked_too() {
    let (issuer, clock, _hand) = issuer();
    let tokens = for_issuer(&issuer, &clock)
        .claim_names(ClaimNames::default().client("azp"))
        .rule_claim("client_id")
        .without_revocations()
        .build()
        .unwrap();
    for (claims, keys) in [
        (json!({"azp": "shop", "client_id": "gateway"}), 5),
        (json!({"azp": "shop", "client_id": "shop"}), 4),
    ] {
        let token = token(&issuer, &claims).sign();
        let caller = verify(&tokens, &token).await.unwrap();
        for client in [&claims["azp"], &claims["client_id"]] {
            let key = RevocationKey::client(ISSUER, client.as_str().unwrap()).digest();
            assert!(caller.token().keys().contains(&key), "{claims}");
        }
        assert_eq!(caller.token().keys().len(), keys, "{claims}");
    }
}
