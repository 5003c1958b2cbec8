//! Entra ID, whose two versions of tokens have different issuers.

use serde_json::{Value, json};
use tower_revoke_core::{ClaimNames, Reason};
use tower_revoke_jwt::JwtVerifier;
use tower_revoke_testing::TestAlgorithm;

use super::{Provider, accepted, jwt, rejected, with};

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const OTHER_TENANT: &str = "fa15d692-e9c7-4460-a743-29f29522229a";
const API: &str = "6e74172b-be56-4843-9ff4-e66a39bb12e3";

/// Entra's keys have no `alg`, and members of their own.
fn entra_key(key: &mut Value) {
    key.as_object_mut().unwrap().remove("alg");
    key["x5t"] = key["kid"].clone();
    key["x5c"] = json!(["MIIC/TCCAeWgAwIBAgIIUd7j/OIahkYwDQYJKoZIhvcNAQELBQAwLTErMCkGA1UEAxMi"]);
    key["cloud_instance_name"] = json!("microsoftonline.com");
    key["issuer"] = json!("https://login.microsoftonline.com/{tenantid}/v2.0");
}

/// <https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens>,
/// <https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference>
#[tokio::test]
async fn entra_v2() {
    let authority = format!("https://login.microsoftonline.com/{TENANT}");
    let issuer = format!("{authority}/v2.0");
    let metadata = json!({
        "issuer": issuer,
        "jwks_uri": format!("{authority}/discovery/v2.0/keys"),
        "token_endpoint": format!("{authority}/oauth2/v2.0/token"),
        "id_token_signing_alg_values_supported": ["RS256"],
        "tenant_region_scope": "WW",
    });
    let provider = Provider::with_keys(metadata, TestAlgorithm::RS256, entra_key).await;
    let tokens = provider.build(
        JwtVerifier::issuer(issuer.as_str())
            .audience(API)
            .require("scp")
            .discover(),
    );
    let header = || json!({"typ": "JWT", "x5t": provider.keys.key_id()});
    let access = json!({
        "aud": API,
        "iss": issuer,
        "iat": 0, "nbf": 0, "exp": 0,
        "aio": "AXQAi/8IAAAAFm+E/QTG+gFnVxLj",
        "azp": "75dbe77f-10a3-4e59-85fd-8c127544f17c",
        "azpacr": "0",
        "name": "Abe Lincoln",
        "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
        "preferred_username": "abeli@example.com",
        "rh": "I",
        "scp": "access_as_user",
        "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
        "tid": TENANT,
        "uti": "fqiBqXLPj0eQa82S-IYFAA",
        "ver": "2.0",
    });
    let caller = accepted(&tokens, &provider.sign(header(), &access)).await;
    assert_eq!(
        caller.client(),
        Some("75dbe77f-10a3-4e59-85fd-8c127544f17c")
    );
    assert!(caller.has_scope("access_as_user"));
    // An ID token: for the client, which may be registered as one application with the API.
    let changes = json!({"scp": null, "azp": null, "azpacr": null, "nonce": "12345"});
    let id = with(&access, changes);
    rejected(&tokens, &provider.sign(header(), &id), Reason::MissingClaim).await;
    let other_api = json!({"aud": "75dbe77f-10a3-4e59-85fd-8c127544f17c"});
    let other_api = with(&access, other_api);
    rejected(
        &tokens,
        &provider.sign(header(), &other_api),
        Reason::WrongAudience,
    )
    .await;
    let changes = json!({
        "iss": format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0"),
        "tid": OTHER_TENANT,
    });
    let other_tenant = with(&access, changes);
    rejected(
        &tokens,
        &provider.sign(header(), &other_tenant),
        Reason::WrongIssuer,
    )
    .await;
    let changes = json!({"iss": format!("https://sts.windows.net/{TENANT}/"), "ver": "1.0"});
    let v1 = with(&access, changes);
    rejected(&tokens, &provider.sign(header(), &v1), Reason::WrongIssuer).await;
}

/// As [`entra_v2`].
#[tokio::test]
async fn entra_v1() {
    let issuer = format!("https://sts.windows.net/{TENANT}/");
    let metadata = json!({
        "issuer": issuer,
        "jwks_uri": "https://login.microsoftonline.com/common/discovery/keys",
        "token_endpoint": format!("https://login.microsoftonline.com/{TENANT}/oauth2/token"),
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    let provider = Provider::with_keys(metadata, TestAlgorithm::RS256, entra_key).await;
    let audience = format!("api://{API}");
    let tokens = provider.build(
        JwtVerifier::issuer(issuer.as_str())
            .audience(audience.as_str())
            .require("scp")
            .discover(),
    );
    let access = json!({
        "aud": audience,
        "iss": issuer,
        "iat": 0, "nbf": 0, "exp": 0,
        "acr": "1", "aio": "AXQAi/8IAAAAFm+E/QTG+gFnVxLj", "amr": ["pwd"],
        "appid": "75dbe77f-10a3-4e59-85fd-8c127544f17c",
        "appidacr": "0",
        "family_name": "Lincoln", "given_name": "Abe", "ipaddr": "222.222.222.22",
        "oid": "02223b6b-aa1d-42d4-9ec0-1b2bb9194438",
        "rh": "I",
        "scp": "user_impersonation",
        "sub": "l3_roISQU222bULS9yi2k0XpqpOiMz5H3ZACo1GeXA",
        "tid": TENANT,
        "unique_name": "abeli@example.com", "uti": "FVsGxYXI30-TuikuuUoFAA",
        "ver": "1.0",
    });
    let caller = accepted(&tokens, &provider.sign(jwt(), &access)).await;
    assert_eq!(
        caller.client(),
        Some("75dbe77f-10a3-4e59-85fd-8c127544f17c")
    );
    let daemon = with(&access, json!({"scp": null, "roles": ["Orders.Read.All"]}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &daemon),
        Reason::MissingClaim,
    )
    .await;
    let for_graph = with(&access, json!({"aud": "https://graph.microsoft.com"}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &for_graph),
        Reason::WrongAudience,
    )
    .await;
    let other_tenant = format!("https://sts.windows.net/{OTHER_TENANT}/");
    let other_tenant = with(&access, json!({"iss": other_tenant, "tid": OTHER_TENANT}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &other_tenant),
        Reason::WrongIssuer,
    )
    .await;

    // Applications act for themselves: their roles are what they may do.
    let tokens = provider.build(
        JwtVerifier::issuer(issuer.as_str())
            .audience(audience.as_str())
            .require("roles")
            .claim_names(ClaimNames::default().scopes("roles"))
            .discover(),
    );
    let caller = accepted(&tokens, &provider.sign(jwt(), &daemon)).await;
    assert!(caller.has_scope("Orders.Read.All"));
    rejected(
        &tokens,
        &provider.sign(jwt(), &access),
        Reason::MissingClaim,
    )
    .await;
}
