//! Authorization servers of companies: Auth0, Okta, Keycloak, Zitadel and Ory Hydra.

use serde_json::json;
use tower_revoke_core::{ClaimNames, Reason};
use tower_revoke_jwt::JwtVerifier;

use super::{Provider, accepted, jwt, rejected, with};

/// <https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles>,
/// <https://auth0.com/docs/secure/tokens/id-tokens/id-token-structure>
#[tokio::test]
async fn auth0() {
    let provider = Provider::new(json!({
        "issuer": "https://my-domain.eu.auth0.com/",
        "authorization_endpoint": "https://my-domain.eu.auth0.com/authorize",
        "token_endpoint": "https://my-domain.eu.auth0.com/oauth/token",
        "userinfo_endpoint": "https://my-domain.eu.auth0.com/userinfo",
        "jwks_uri": "https://my-domain.eu.auth0.com/.well-known/jwks.json",
        "id_token_signing_alg_values_supported": ["HS256", "RS256", "PS256"],
    }))
    .await;
    let builder = || {
        JwtVerifier::issuer("https://my-domain.eu.auth0.com/")
            .audience("https://example.com/health-api")
            .discover()
    };
    let access = json!({
        "iss": "https://my-domain.eu.auth0.com/",
        "sub": "auth0|123456",
        "aud": ["https://example.com/health-api", "https://my-domain.eu.auth0.com/userinfo"],
        "azp": "my_client_id",
        "exp": 0, "iat": 0,
        "scope": "openid profile read:patients read:admin",
        "permissions": ["read:patients"],
    });
    let id = json!({
        "iss": "https://my-domain.eu.auth0.com/",
        "sub": "auth0|123456",
        "aud": "my_client_id",
        "exp": 0, "iat": 0,
        "nonce": "n-0S6_WzA2Mj", "name": "Jane Doe", "email": "jane@example.com",
    });

    let tokens = provider.build(builder());
    let caller = accepted(&tokens, &provider.sign(jwt(), &access)).await;
    assert_eq!(caller.client(), Some("my_client_id"));
    assert!(caller.has_scope("read:admin"));
    rejected(&tokens, &provider.sign(jwt(), &id), Reason::WrongAudience).await;
    let other_api = with(&access, json!({"aud": "https://example.com/other-api"}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &other_api),
        Reason::WrongAudience,
    )
    .await;
    let other_tenant = with(&access, json!({"iss": "https://other.eu.auth0.com/"}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &other_tenant),
        Reason::WrongIssuer,
    )
    .await;
    let no_slash = with(&access, json!({"iss": "https://my-domain.eu.auth0.com"}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &no_slash),
        Reason::WrongIssuer,
    )
    .await;

    // Permissions of the user instead of the scopes that the client asked for.
    let names = ClaimNames::default().scopes("permissions");
    let tokens = provider.build(builder().claim_names(names));
    let caller = accepted(&tokens, &provider.sign(jwt(), &access)).await;
    assert!(caller.has_scope("read:patients") && !caller.has_scope("read:admin"));

    // The profile of RFC 9068.
    let tokens = provider.build(builder().access_tokens_only());
    let changes =
        json!({"azp": null, "client_id": "my_client_id", "jti": "73WakrfVbNJBaAmhQtEeDv"});
    let access_9068 = with(&access, changes);
    let at_jwt = || json!({"typ": "at+jwt"});
    accepted(&tokens, &provider.sign(at_jwt(), &access_9068)).await;
    rejected(&tokens, &provider.sign(jwt(), &access), Reason::WrongType).await;
    rejected(&tokens, &provider.sign(jwt(), &id), Reason::WrongType).await;
}

/// <https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/>, "Access token payload"
/// and "ID token payload"
#[tokio::test]
async fn okta() {
    let provider = Provider::new(json!({
        "issuer": "https://example.okta.com/oauth2/default",
        "authorization_endpoint": "https://example.okta.com/oauth2/default/v1/authorize",
        "token_endpoint": "https://example.okta.com/oauth2/default/v1/token",
        "jwks_uri": "https://example.okta.com/oauth2/default/v1/keys",
        "introspection_endpoint": "https://example.okta.com/oauth2/default/v1/introspect",
    }))
    .await;
    let tokens = provider.build(
        JwtVerifier::issuer("https://example.okta.com/oauth2/default")
            .audience("api://default")
            .discover(),
    );
    let access = json!({
        "ver": 1,
        "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
        "iss": "https://example.okta.com/oauth2/default",
        "aud": "api://default",
        "iat": 0, "exp": 0,
        "cid": "nmdP1fcyvdVO11AL7ECm",
        "uid": "00ujmkLgagxeRrAg20g3",
        "scp": ["openid", "email", "orders:read"],
        "auth_time": 0,
        "sub": "john.doe@example.com",
    });
    // The header has no `typ`.
    let caller = accepted(&tokens, &provider.sign(json!({}), &access)).await;
    assert_eq!(caller.client(), Some("nmdP1fcyvdVO11AL7ECm"));
    assert!(caller.has_scope("orders:read"));
    let id = json!({
        "ver": 1,
        "jti": "ID.4eAWJOCMB3SX8XewDfVR",
        "iss": "https://example.okta.com/oauth2/default",
        "aud": "nmdP1fcyvdVO11AL7ECm",
        "iat": 0, "exp": 0, "auth_time": 0,
        "sub": "00ujmkLgagxeRrAg20g3",
        "amr": ["pwd"], "at_hash": "cpqKfdQA5eH891Ff5oJr_Q",
    });
    rejected(
        &tokens,
        &provider.sign(json!({}), &id),
        Reason::WrongAudience,
    )
    .await;
    // Of the org's own server, whose access tokens are for Okta only.
    let changes = json!({"iss": "https://example.okta.com", "aud": "https://example.okta.com"});
    let of_org = with(&access, changes);
    rejected(
        &tokens,
        &provider.sign(json!({}), &of_org),
        Reason::WrongIssuer,
    )
    .await;
    let other_api = with(&access, json!({"aud": "api://payments"}));
    rejected(
        &tokens,
        &provider.sign(json!({}), &other_api),
        Reason::WrongAudience,
    )
    .await;
}

/// <https://www.keycloak.org/securing-apps/oidc-layers>, and tokens of Keycloak 26.
#[tokio::test]
async fn keycloak() {
    let realm = "https://id.example.com/realms/shop";
    let provider = Provider::new(json!({
        "issuer": realm,
        "token_endpoint": format!("{realm}/protocol/openid-connect/token"),
        "introspection_endpoint": format!("{realm}/protocol/openid-connect/token/introspect"),
        "revocation_endpoint": format!("{realm}/protocol/openid-connect/revoke"),
        "jwks_uri": format!("{realm}/protocol/openid-connect/certs"),
    }))
    .await;
    let tokens = provider.build(
        JwtVerifier::issuer(realm)
            .audience("orders")
            .claim("typ", "Bearer")
            .discover(),
    );
    let access = json!({
        "exp": 0, "iat": 0, "auth_time": 0,
        "jti": "onrtac:a5be5d49-6ef9-4c4b-a4ba-2d4b2c7d3d2e",
        "iss": realm,
        "aud": ["orders", "account"],
        "sub": "8d9d1c22-5c8f-4f0d-9f0a-0f6f4b8ad4a4",
        "typ": "Bearer",
        "azp": "shop-web",
        "sid": "c0b2bd8e-31a2-4c5b-8d64-b0be49a7aa6e",
        "acr": "1",
        "allowed-origins": ["https://shop.example.com"],
        "realm_access": {"roles": ["offline_access", "uma_authorization"]},
        "scope": "openid email profile orders:read",
        "preferred_username": "ann",
    });
    let caller = accepted(&tokens, &provider.sign(jwt(), &access)).await;
    assert_eq!(caller.client(), Some("shop-web"));
    assert_eq!(
        caller.session(),
        Some("c0b2bd8e-31a2-4c5b-8d64-b0be49a7aa6e")
    );
    assert!(caller.has_scope("orders:read"));
    // An ID token, even of a client that is the API itself.
    let id = with(
        &access,
        json!({"typ": "ID", "aud": "orders", "at_hash": "2MvvqVU7GL6nPGGlSnXTmA"}),
    );
    rejected(&tokens, &provider.sign(jwt(), &id), Reason::WrongClaim).await;
    // Without an audience mapper.
    let unmapped = with(&access, json!({"aud": "account"}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &unmapped),
        Reason::WrongAudience,
    )
    .await;
    let other_realm = with(
        &access,
        json!({"iss": "https://id.example.com/realms/master"}),
    );
    rejected(
        &tokens,
        &provider.sign(jwt(), &other_realm),
        Reason::WrongIssuer,
    )
    .await;
    let bound = with(
        &access,
        json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
    );
    rejected(&tokens, &provider.sign(jwt(), &bound), Reason::Bound).await;
}

/// <https://zitadel.com/docs/apis/openidoauth/claims>
#[tokio::test]
async fn zitadel() {
    let provider = Provider::new(json!({
        "issuer": "https://example.zitadel.cloud",
        "token_endpoint": "https://example.zitadel.cloud/oauth/v2/token",
        "introspection_endpoint": "https://example.zitadel.cloud/oauth/v2/introspect",
        "jwks_uri": "https://example.zitadel.cloud/oauth/v2/keys",
    }))
    .await;
    let tokens = provider.build(
        JwtVerifier::issuer("https://example.zitadel.cloud")
            .audience("69234237810729019")
            .require("jti")
            .discover(),
    );
    let access = json!({
        "iss": "https://example.zitadel.cloud",
        "sub": "77776025198584418",
        "aud": ["69234237810729234", "69234237810729019"],
        "exp": 0, "iat": 0, "nbf": 0,
        "azp": "69234237810729234",
        "jti": "69234237813329048",
    });
    let caller = accepted(&tokens, &provider.sign(json!({}), &access)).await;
    assert_eq!(caller.client(), Some("69234237810729234"));
    // An ID token has the project in `aud` too, but no `jti`.
    let changes =
        json!({"jti": null, "auth_time": 0, "amr": ["pwd", "mfa"], "nonce": "blQtVEJHNTF0WHhF"});
    let id = with(&access, changes);
    rejected(
        &tokens,
        &provider.sign(json!({}), &id),
        Reason::MissingClaim,
    )
    .await;
    let other_project = with(&access, json!({"aud": ["69234237810729234"]}));
    rejected(
        &tokens,
        &provider.sign(json!({}), &other_project),
        Reason::WrongAudience,
    )
    .await;
    // The access tokens of applications that are not set to JWT.
    rejected(
        &tokens,
        "V1_dEwzP3yZ5mBb7aQ0mBzL6bmWnV8q",
        Reason::MalformedToken,
    )
    .await;
}

/// <https://www.ory.sh/docs/oauth2-oidc/jwt-access-token>
#[tokio::test]
async fn hydra() {
    let provider = Provider::new(json!({
        "issuer": "https://hydra.example.com/",
        "token_endpoint": "https://hydra.example.com/oauth2/token",
        "revocation_endpoint": "https://hydra.example.com/oauth2/revoke",
        "jwks_uri": "https://hydra.example.com/.well-known/jwks.json",
    }))
    .await;
    let tokens = provider.build(
        JwtVerifier::issuer("https://hydra.example.com/")
            .audience("https://orders.example.com")
            .require("client_id")
            .discover(),
    );
    let access = json!({
        "aud": ["https://orders.example.com"],
        "client_id": "3e2e2e7c-4a8d-4a58-9f2f-5f6f5a4c2a11",
        "exp": 0, "iat": 0, "nbf": 0,
        "ext": {},
        "iss": "https://hydra.example.com/",
        "jti": "7d1b4a70-7b0c-4b7b-8a75-8f4bfcc2b8d1",
        "scp": ["offline", "orders:read"],
        "sub": "ann",
    });
    let caller = accepted(&tokens, &provider.sign(jwt(), &access)).await;
    assert_eq!(
        caller.client(),
        Some("3e2e2e7c-4a8d-4a58-9f2f-5f6f5a4c2a11")
    );
    assert!(caller.has_scope("orders:read"));
    let changes = json!({
        "aud": ["3e2e2e7c-4a8d-4a58-9f2f-5f6f5a4c2a11"], "client_id": null, "scp": null,
        "at_hash": "2MvvqVU7GL6nPGGlSnXTmA",
    });
    let id = with(&access, changes);
    rejected(&tokens, &provider.sign(jwt(), &id), Reason::MissingClaim).await;
    // The audience was not granted with the consent.
    let no_audience = with(&access, json!({"aud": []}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &no_audience),
        Reason::WrongAudience,
    )
    .await;
    rejected(
        &tokens,
        "ory_at_BVb4Nqq4wM3ZLxU5sLpKNw.oV9zF3bYsGq0",
        Reason::MalformedToken,
    )
    .await;
}
