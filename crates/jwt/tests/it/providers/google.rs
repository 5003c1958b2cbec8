//! Google: ID tokens of people, and of the services that call a service on Cloud Run.

use serde_json::{Value, json};
use tower_revoke_core::Reason;
use tower_revoke_jwt::JwtVerifier;

use super::{Provider, accepted, jwt, rejected, with};
use crate::support::verify;

fn google() -> Value {
    json!({
        "issuer": "https://accounts.google.com",
        "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
        "token_endpoint": "https://oauth2.googleapis.com/token",
        "userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo",
        "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
        "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}

/// <https://developers.google.com/identity/openid-connect/openid-connect>
#[tokio::test]
async fn google_sign_in() {
    let provider = Provider::new(google()).await;
    let tokens = provider.build(
        JwtVerifier::issuer("https://accounts.google.com")
            .audience("1234987819200.apps.googleusercontent.com")
            .claim("hd", "example.com")
            .discover(),
    );
    let id = json!({
        "iss": "https://accounts.google.com",
        "azp": "1234987819200.apps.googleusercontent.com",
        "aud": "1234987819200.apps.googleusercontent.com",
        "sub": "10769150350006150715113082367",
        "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
        "hd": "example.com",
        "email": "jsmith@example.com",
        "email_verified": true,
        "iat": 0, "exp": 0,
        "nonce": "0394852-3190485-2490358",
    });
    let caller = accepted(&tokens, &provider.sign(jwt(), &id)).await;
    assert_eq!(caller.subject(), Some("10769150350006150715113082367"));
    let other_app = with(&id, json!({"aud": "9876.apps.googleusercontent.com"}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &other_app),
        Reason::WrongAudience,
    )
    .await;
    let consumer = with(&id, json!({"hd": null, "email": "jsmith@gmail.com"}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &consumer),
        Reason::MissingClaim,
    )
    .await;
    let other_company = with(&id, json!({"hd": "example.net"}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &other_company),
        Reason::WrongClaim,
    )
    .await;
    // An access token.
    rejected(&tokens, "ya29.a0AfH6SMBexample", Reason::MalformedToken).await;
}

/// <https://cloud.google.com/run/docs/authenticating/service-to-service>,
/// <https://cloud.google.com/run/docs/troubleshooting#signature-removed>
#[tokio::test]
async fn cloud_run() {
    let provider = Provider::new(google()).await;
    let tokens = provider.build(
        JwtVerifier::issuer("https://accounts.google.com")
            .audience("https://orders-4ux7ttt4hq-uc.a.run.app")
            .claim("email", "checkout@shop-1234.iam.gserviceaccount.com")
            .claim("email_verified", true)
            .discover(),
    );
    let id = json!({
        "aud": "https://orders-4ux7ttt4hq-uc.a.run.app",
        "azp": "112010400000000710080",
        "email": "checkout@shop-1234.iam.gserviceaccount.com",
        "email_verified": true,
        "exp": 0, "iat": 0,
        "iss": "https://accounts.google.com",
        "sub": "112010400000000710080",
    });
    let signed = provider.sign(jwt(), &id);
    accepted(&tokens, &signed).await;
    let other_service = with(
        &id,
        json!({"aud": "https://payments-4ux7ttt4hq-uc.a.run.app"}),
    );
    rejected(
        &tokens,
        &provider.sign(jwt(), &other_service),
        Reason::WrongAudience,
    )
    .await;
    // Anybody with a project can have a token for this audience.
    let other_caller = with(&id, json!({"email": "x@elsewhere.iam.gserviceaccount.com"}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &other_caller),
        Reason::WrongClaim,
    )
    .await;
    // As Cloud Run hands on what it has checked itself.
    let (signing_input, _) = signed.rsplit_once('.').unwrap();
    let removed = format!("{signing_input}.SIGNATURE_REMOVED_BY_GOOGLE");
    assert!(verify(&tokens, &removed).await.is_err());
}
