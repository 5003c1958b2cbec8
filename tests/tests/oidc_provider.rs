//! The stack with the tokens of a real oidc-provider, a second opinion on RFC 9068, 7662 and 7009.

use axum::{Router, routing::get};
use http::StatusCode;
use tower_revoke::{JwtVerifier, RequireBearerLayer, RevocationList, RevokeLayer, When};
use tower_revoke_tests::{
    Client, Server, Wire, get as request,
    servers::{ClientId, Issuer, OidcProvider},
};

const SHOP: ClientId = OidcProvider::SHOP;

#[tokio::test]
async fn a_real_oidc_provider() {
    let provider = OidcProvider::start().await;
    let issuer = &provider.issuer;
    jwt_access_tokens_pass_and_are_spent(issuer).await;
    it_neither_introspects_nor_revokes_jwts(issuer).await;
    opaque_tokens_are_revoked_there_and_are_no_jwts_here(issuer).await;
}

/// RFC 9068, as another has read it: `typ` is `at+jwt`, and all required claims are there.
async fn jwt_access_tokens_pass_and_are_spent(issuer: &Issuer) {
    let protected = protect(issuer).await;
    for resource in [OidcProvider::RS256, OidcProvider::ES256] {
        let plain = issuer.token(SHOP, &[("resource", resource)]).await;
        let parameters = [("resource", resource), ("scope", "OTT")];
        for wire in Wire::ALL {
            let one_time = issuer.token(SHOP, &parameters).await;
            assert_eq!(ask(&protected, wire, &plain).await, "200", "{resource}");
            assert_eq!(ask(&protected, wire, &one_time).await, "200", "{resource}");
            let again = ask(&protected, wire, &one_time).await;
            assert_eq!(again, "401 invalid_token", "{resource}");
            assert_eq!(ask(&protected, wire, &plain).await, "200", "{resource}");
        }
    }
}

/// The answer that a revocation client meets, and must not repeat for ever.
async fn it_neither_introspects_nor_revokes_jwts(issuer: &Issuer) {
    let parameters = [("resource", OidcProvider::RS256)];
    let token = issuer.token(SHOP, &parameters).await;
    let said = [
        issuer.introspect(SHOP, &token).await,
        issuer.revoke(SHOP, &token).await,
    ];
    for reply in said {
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
        assert_eq!(reply.json["error"], "unsupported_token_type", "{reply:?}");
    }
}

async fn opaque_tokens_are_revoked_there_and_are_no_jwts_here(issuer: &Issuer) {
    let parameters = [("resource", OidcProvider::OPAQUE)];
    let token = issuer.token(SHOP, &parameters).await;
    let protected = protect(issuer).await;
    let verdict = ask(&protected, Wire::Http1, &token).await;
    assert_eq!(verdict, "401 invalid_token");

    let before = issuer.introspect(SHOP, &token).await;
    assert_eq!(before.json["active"], true, "{before:?}");
    let reply = issuer.revoke(SHOP, &token).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let after = issuer.introspect(SHOP, &token).await;
    assert_eq!(after.json["active"], false, "{after:?}");
}

/// A service behind the stack, with the keys that the server has now.
async fn protect(issuer: &Issuer) -> Server {
    let tokens = JwtVerifier::issuer(&issuer.name)
        .audience("api")
        .access_tokens_only()
        .jwks(issuer.jwks().await.to_string())
        .revocations(RevocationList::in_memory())
        .build()
        .expect("a verifier");
    let router = Router::new()
        .route("/", get(async || "hello"))
        .layer(RevokeLayer::single_use().when(When::scope("OTT")))
        .layer(RequireBearerLayer::new(tokens));
    Server::start(router).await
}

async fn ask(server: &Server, wire: Wire, token: &str) -> String {
    let mut client = Client::connect(server.addr, wire).await;
    let answer = client.send(request("/", token)).await.expect("a head");
    answer.verdict()
}
