//! Tests the stack with tokens of a real oidc-provider, an independent implementation of RFC 9068,
//! 7662 and 7009.

use std::time::Duration;

use axum::{Router, routing::get};
use http::StatusCode;
use tower_revoke::{
    Condition, JwtVerifier, Reason, RequireBearerLayer, RevocationList, UseLimitLayer,
    core::{BearerToken, TokenVerifier},
};
use tower_revoke_http::HttpsClient;
use tower_revoke_oauth::RevocationClient;
use tower_revoke_testing::TestIssuer;
use tower_revoke_tests::{
    Server, Wire,
    servers::{ClientId, Issuer, OidcProvider},
};

use crate::clients::{self, Client, send, signing_key};

const DRAINS_WITHIN: Duration = Duration::from_secs(30);

const SHOP: ClientId = OidcProvider::SHOP;

#[tokio::test]
async fn a_real_oidc_provider() {
    let provider = OidcProvider::start().await;
    let issuer = &provider.issuer;
    jwt_access_tokens_pass_and_are_spent(issuer).await;
    it_neither_introspects_nor_revokes_jwts(issuer).await;
    opaque_tokens_are_revoked_there_and_are_no_jwts_here(issuer).await;
    its_rejection_to_revoke_a_jwt_is_final(issuer).await;
    opaque_tokens_are_revoked_through_the_client(issuer).await;
    it_serves_our_clients(&provider).await;
    scopes_are_checked_by_the_layer(issuer).await;
    a_key_is_replaced(&provider).await;
}

/// RFC 9068: `typ` is `at+jwt`, and all required claims are present.
async fn jwt_access_tokens_pass_and_are_spent(issuer: &Issuer) {
    let protected = protect(issuer).await;
    for resource in [OidcProvider::RS256, OidcProvider::ES256] {
        let plain = issuer.token(SHOP, &[("resource", resource)]).await;
        let parameters = [("resource", resource), ("scope", "OTT")];
        for wire in Wire::ALL {
            let one_time = issuer.token(SHOP, &parameters).await;
            assert_eq!(
                protected.verdict(wire, "/", &plain).await,
                "200",
                "{resource}"
            );
            assert_eq!(
                protected.verdict(wire, "/", &one_time).await,
                "200",
                "{resource}"
            );
            let again = protected.verdict(wire, "/", &one_time).await;
            assert_eq!(again, "401 invalid_token", "{resource}");
            assert_eq!(
                protected.verdict(wire, "/", &plain).await,
                "200",
                "{resource}"
            );
        }
    }
}

/// The error that a revocation client gets for a JWT and must not retry forever.
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
    let verdict = protected.verdict(Wire::Http1, "/", &token).await;
    assert_eq!(verdict, "401 invalid_token");

    let before = issuer.introspect(SHOP, &token).await;
    assert_eq!(before.json["active"], true, "{before:?}");
    let reply = issuer.revoke(SHOP, &token).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let after = issuer.introspect(SHOP, &token).await;
    assert_eq!(after.json["active"], false, "{after:?}");
}

/// The token is still spent locally, and nothing is retried.
async fn its_rejection_to_revoke_a_jwt_is_final(issuer: &Issuer) {
    let server = server_of(issuer);
    let protected = protect_with(issuer, one_time_tokens().also_at(server.clone())).await;
    let parameters = [("resource", OidcProvider::RS256), ("scope", "OTT")];
    let token = issuer.token(SHOP, &parameters).await;
    assert_eq!(protected.verdict(Wire::Http1, "/", &token).await, "200");
    let again = protected.verdict(Wire::Http1, "/", &token).await;
    assert_eq!(again, "401 invalid_token");
    let told = server.shutdown(DRAINS_WITHIN).await;
    assert!(told.is_complete(), "{told:?}");
    let stats = server.stats();
    assert_eq!((stats.delivered, stats.rejected), (0, 1), "{stats:?}");
    assert_eq!(stats.last_rejection, Some("unsupported_token_type"));
    assert!(!stats.needs_operator, "{stats:?}");
}

async fn opaque_tokens_are_revoked_through_the_client(issuer: &Issuer) {
    let server = server_of(issuer);
    let token = issuer
        .token(SHOP, &[("resource", OidcProvider::OPAQUE)])
        .await;
    let before = issuer.introspect(SHOP, &token).await;
    assert_eq!(before.json["active"], true, "{before:?}");
    send(&server, issuer, &token).await;
    let told = server.shutdown(DRAINS_WITHIN).await;
    assert!(told.is_complete(), "{told:?}");
    assert_eq!(server.stats().delivered, 1, "{:?}", server.stats());
    let after = issuer.introspect(SHOP, &token).await;
    assert_eq!(after.json["active"], false, "{after:?}");
}

/// By Basic, in the form, and by a signed assertion.
async fn it_serves_our_clients(provider: &OidcProvider) {
    let issuer = &provider.issuer;
    let signer = Client::Key(provider.signer.clone());
    let basic = Client::Basic(SHOP);
    let form = Client::Form(OidcProvider::POSTER);
    let opaque = [("resource", OidcProvider::OPAQUE)];
    for (client, another) in [(&basic, &form), (&form, &signer), (&signer, &basic)] {
        clients::tokens_are_introspected_and_revoked(issuer, client, client, &opaque).await;
        clients::strangers_end_nothing(issuer, client, client, another, &opaque).await;
        let ann = OidcProvider::ANN;
        clients::a_refresh_token_takes_its_access_tokens_along(issuer, client, SHOP, ann).await;
        clients::a_bound_token_is_rejected(issuer, client, SHOP, &opaque).await;
        // It answers 400 to a question about a JWT, which says nothing about the token.
        let jwt = [("resource", OidcProvider::RS256)];
        let jwt = issuer.token(SHOP, &jwt).await;
        let tokens = client.verifier(issuer, Some("api"));
        assert_eq!(tokens.rejection(&jwt).await, Some(Reason::Unavailable));
    }
    for resource in [OidcProvider::RS256, OidcProvider::ES256] {
        clients::a_bound_jwt_is_rejected(issuer, SHOP, &[("resource", resource)]).await;
    }
}

async fn scopes_are_checked_by_the_layer(issuer: &Issuer) {
    let tokens = Client::Basic(SHOP).verifier(issuer, Some("api")).0;
    tokens.ready().await.expect("an endpoint");
    let parameters = [("resource", OidcProvider::OPAQUE), ("scope", "read")];
    let token = issuer.token(SHOP, &parameters).await;
    let presented = BearerToken::new(&token).expect("a token");
    let caller = tokens.verify(&presented).await.expect("an active token");
    assert!(caller.has_scope("read"), "{:?}", caller.claims());
    assert_eq!(caller.issuer(), Some(&*issuer.name));
    assert_eq!(caller.token().claims().client(), Some(SHOP.id));
    let layer = RequireBearerLayer::new(tokens).scope("OTT");
    let router = Router::new().route("/", get(async || "hello")).layer(layer);
    let strict = Server::start(router).await;
    let verdict = strict.verdict(Wire::Http1, "/", &token).await;
    assert_eq!(verdict, "403 insufficient_scope");
}

/// The token is kept while an operator replaces the key.
async fn a_key_is_replaced(provider: &OidcProvider) {
    let issuer = &provider.issuer;
    let key = TestIssuer::with("signer", provider.signer.algorithm());
    let server = RevocationClient::discover(&issuer.name)
        .private_key_jwt("signer", signing_key(&key))
        .http_client(HttpsClient::new().expect("a client"));
    let server = server.build().expect("a client");
    let opaque = [("resource", OidcProvider::OPAQUE)];
    let token = issuer.signed_token(&provider.signer, &opaque).await;
    send(&server, issuer, &token).await;
    let told = server.shutdown(Duration::from_secs(2)).await;
    assert_eq!((told.queued, server.stats().needs_operator), (1, true));
    let set = server.set_private_key_jwt("signer", signing_key(&provider.signer));
    set.expect("credentials");
    let told = server.shutdown(DRAINS_WITHIN).await;
    assert_eq!((told.queued, told.delivered), (0, 1), "{told:?}");
}

fn server_of(issuer: &Issuer) -> RevocationClient {
    RevocationClient::discover(&issuer.name)
        .client_credentials(SHOP.id, SHOP.secret)
        .http_client(HttpsClient::new().expect("a client"))
        .build()
        .expect("a server")
}

fn one_time_tokens() -> UseLimitLayer {
    UseLimitLayer::single().when(Condition::scope("OTT"))
}

async fn protect(issuer: &Issuer) -> Server {
    protect_with(issuer, one_time_tokens()).await
}

/// A service behind the stack, which finds the server's keys by discovery.
async fn protect_with(issuer: &Issuer, revoke: UseLimitLayer) -> Server {
    let tokens = JwtVerifier::issuer(&issuer.name)
        .audience("api")
        .access_tokens_only()
        .discover()
        .http_client(HttpsClient::new().expect("a client"))
        .revocations(RevocationList::in_memory())
        .build()
        .expect("a verifier");
    let router = Router::new()
        .route("/", get(async || "hello"))
        .layer(revoke)
        .layer(RequireBearerLayer::new(tokens));
    Server::start(router).await
}
