//! Sign-in services for apps: Cognito, Firebase, Supabase and Clerk.

use serde_json::json;
use tower_revoke_core::{ClaimNames, Reason};
use tower_revoke_jwt::{Algorithm, JwtVerifier};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use super::{Provider, accepted, jwt, rejected, with};

/// <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html>,
/// <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-id-token.html>
#[tokio::test]
async fn cognito() {
    let pool = "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example";
    let provider = Provider::new(json!({
        "authorization_endpoint": "https://shop.auth.us-west-2.amazoncognito.com/oauth2/authorize",
        "id_token_signing_alg_values_supported": ["RS256"],
        "issuer": pool,
        "jwks_uri": format!("{pool}/.well-known/jwks.json"),
        "token_endpoint": "https://shop.auth.us-west-2.amazoncognito.com/oauth2/token",
    }))
    .await;
    let tokens = provider.build(
        JwtVerifier::issuer(pool)
            .any_audience()
            .claim("token_use", "access")
            .claim("client_id", "1example23456789")
            .discover(),
    );
    let access = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "cognito:groups": ["admin"],
        "iss": pool,
        "version": 2,
        "client_id": "1example23456789",
        "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeee1",
        "event_id": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeee2",
        "token_use": "access",
        "scope": "phone openid profile resourceserver.1/appclient2 email",
        "auth_time": 0, "exp": 0, "iat": 0,
        "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeee3",
        "username": "my-test-user",
    });
    let caller = accepted(&tokens, &provider.sign(json!({}), &access)).await;
    assert_eq!(caller.client(), Some("1example23456789"));
    assert!(caller.has_scope("resourceserver.1/appclient2"));
    let id = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "cognito:groups": ["admin"],
        "email_verified": true,
        "iss": pool,
        "cognito:username": "my-test-user",
        "nonce": "abcdefg",
        "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeee1",
        "aud": "1example23456789",
        "event_id": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeee2",
        "token_use": "id",
        "auth_time": 0, "exp": 0, "iat": 0,
        "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeee4",
        "email": "my-test-user@example.com",
    });
    rejected(
        &tokens,
        &provider.sign(json!({}), &id),
        Reason::MissingClaim,
    )
    .await;
    let disguised = with(&id, json!({"client_id": "1example23456789"}));
    rejected(
        &tokens,
        &provider.sign(json!({}), &disguised),
        Reason::WrongClaim,
    )
    .await;
    let other_app = with(&access, json!({"client_id": "2example23456789"}));
    rejected(
        &tokens,
        &provider.sign(json!({}), &other_app),
        Reason::WrongClaim,
    )
    .await;
    let other_pool = "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_other";
    let other_pool = with(&access, json!({"iss": other_pool}));
    rejected(
        &tokens,
        &provider.sign(json!({}), &other_pool),
        Reason::WrongIssuer,
    )
    .await;
}

/// <https://firebase.google.com/docs/auth/admin/verify-id-tokens>
#[tokio::test]
async fn firebase() {
    let account = "securetoken@system.gserviceaccount.com";
    let provider = Provider::new(json!({
        "issuer": "https://securetoken.google.com/shop-1234",
        "jwks_uri": format!("https://www.googleapis.com/service_accounts/v1/jwk/{account}"),
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
    .await;
    let tokens = provider.build(
        JwtVerifier::issuer("https://securetoken.google.com/shop-1234")
            .audience("shop-1234")
            .require("sub")
            .discover(),
    );
    let id = json!({
        "iss": "https://securetoken.google.com/shop-1234",
        "aud": "shop-1234",
        "auth_time": 0, "iat": 0, "exp": 0,
        "user_id": "Xk7mvqJ9cZdOQ1h1JZ7oV0mBzL62",
        "sub": "Xk7mvqJ9cZdOQ1h1JZ7oV0mBzL62",
        "email": "ann@example.com",
        "email_verified": true,
        "firebase": {"identities": {"email": ["ann@example.com"]}, "sign_in_provider": "password"},
    });
    let caller = accepted(&tokens, &provider.sign(jwt(), &id)).await;
    assert_eq!(caller.subject(), Some("Xk7mvqJ9cZdOQ1h1JZ7oV0mBzL62"));
    let changes = json!({"iss": "https://securetoken.google.com/other", "aud": "other"});
    let other_project = with(&id, changes);
    rejected(
        &tokens,
        &provider.sign(jwt(), &other_project),
        Reason::WrongIssuer,
    )
    .await;
    let other_audience = with(&id, json!({"aud": "other"}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &other_audience),
        Reason::WrongAudience,
    )
    .await;
    let session_cookie = with(
        &id,
        json!({"iss": "https://session.firebase.google.com/shop-1234"}),
    );
    rejected(
        &tokens,
        &provider.sign(jwt(), &session_cookie),
        Reason::WrongIssuer,
    )
    .await;
    let nobody = with(&id, json!({"sub": null}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &nobody),
        Reason::MissingClaim,
    )
    .await;
}

/// <https://supabase.com/docs/guides/auth/jwt-fields>,
/// <https://supabase.com/docs/guides/auth/signing-keys>
#[tokio::test]
async fn supabase() {
    let issuer = "https://abcdefghijklmnopqrst.supabase.co/auth/v1";
    let metadata = json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "token_endpoint": format!("{issuer}/oauth/token"),
    });
    let provider = Provider::with_keys(metadata, TestAlgorithm::ES256, |key| {
        key["key_ops"] = json!(["verify"]);
        key["ext"] = json!(true);
    })
    .await;
    let builder = || {
        JwtVerifier::issuer(issuer)
            .audience("authenticated")
            .claim("role", "authenticated")
            .claim("is_anonymous", false)
            .claim_names(ClaimNames::default().session("session_id"))
    };
    let tokens = provider.build(builder().discover());
    let access = json!({
        "iss": issuer,
        "aud": "authenticated",
        "exp": 0, "iat": 0,
        "sub": "123e4567-e89b-12d3-a456-426614174000",
        "role": "authenticated",
        "aal": "aal1",
        "session_id": "7a3f3c62-0d2b-4c0f-9f2e-1e4b1f6e9a55",
        "email": "user@example.com", "phone": "",
        "is_anonymous": false,
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {},
        "amr": [{"method": "password", "timestamp": 1_640_991_600}],
    });
    let caller = accepted(&tokens, &provider.sign(jwt(), &access)).await;
    assert_eq!(
        caller.session(),
        Some("7a3f3c62-0d2b-4c0f-9f2e-1e4b1f6e9a55")
    );
    let anonymous = with(&access, json!({"is_anonymous": true}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &anonymous),
        Reason::WrongClaim,
    )
    .await;
    let service = with(&access, json!({"role": "service_role"}));
    rejected(&tokens, &provider.sign(jwt(), &service), Reason::WrongClaim).await;
    // The key of a project that every app carries.
    let anon = json!({"iss": "supabase", "ref": "abcdefghijklmnopqrst", "role": "anon", "iat": 0, "exp": 0});
    rejected(&tokens, &provider.sign(jwt(), &anon), Reason::WrongIssuer).await;
    let other_project = "https://zyxwvutsrqponmlkjihg.supabase.co/auth/v1";
    let other_project = with(&access, json!({"iss": other_project}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &other_project),
        Reason::WrongIssuer,
    )
    .await;

    // A project that still signs with its shared secret.
    let legacy = TestIssuer::with(issuer, TestAlgorithm::HS256);
    let tokens = builder()
        .secret(Algorithm::HS256, legacy.secret())
        .without_revocations()
        .build()
        .unwrap();
    let signed = legacy
        .token()
        .audience("authenticated")
        .claim("role", "authenticated");
    accepted(&tokens, &signed.clone().claim("is_anonymous", false).sign()).await;
    rejected(
        &tokens,
        &signed.claim("is_anonymous", true).sign(),
        Reason::WrongClaim,
    )
    .await;
}

/// <https://clerk.com/docs/guides/sessions/session-tokens>
#[tokio::test]
async fn clerk() {
    let provider = Provider::new(json!({
        "issuer": "https://clerk.example.com",
        "authorization_endpoint": "https://clerk.example.com/oauth/authorize",
        "jwks_uri": "https://clerk.example.com/.well-known/jwks.json",
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
    .await;
    let tokens = provider.build(
        JwtVerifier::issuer("https://clerk.example.com")
            .any_audience()
            .claim("azp", "https://app.example.com")
            .require("sid")
            .discover(),
    );
    let session = json!({
        "azp": "https://app.example.com",
        "exp": 0, "iat": 0, "nbf": 0,
        "fva": [7, -1],
        "iss": "https://clerk.example.com",
        "sid": "sess_123",
        "sub": "user_123",
        "v": 2,
        "pla": "u:free", "fea": "",
        "o": {"id": "org_123", "slg": "org-slug", "rol": "admin", "per": "read,manage", "fpm": "3"},
    });
    let caller = accepted(&tokens, &provider.sign(jwt(), &session)).await;
    assert_eq!(caller.session(), Some("sess_123"));
    // Another site under the same domain got it.
    let elsewhere = with(&session, json!({"azp": "https://blog.example.com"}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &elsewhere),
        Reason::WrongClaim,
    )
    .await;
    // Made from a template, for another service.
    let template = with(
        &session,
        json!({"sid": null, "aud": "https://partner.example.net"}),
    );
    rejected(
        &tokens,
        &provider.sign(jwt(), &template),
        Reason::MissingClaim,
    )
    .await;
    let other_instance = with(&session, json!({"iss": "https://dev.clerk.accounts.dev"}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &other_instance),
        Reason::WrongIssuer,
    )
    .await;
}
