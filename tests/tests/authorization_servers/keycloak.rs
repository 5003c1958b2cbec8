//! Tests the stack with tokens and keys of a real Keycloak, in one test because it starts slowly.

use std::time::Duration;

use axum::{Router, routing::get};
use http::StatusCode;
use tower_revoke::{
    Condition, Endpoint, JwtVerifier, JwtVerifierBuilder, Reason, RequireBearerLayer,
    RevocationList, UseLimitLayer,
    core::{BearerToken, TokenId, TokenVerifier},
};
use tower_revoke_http::HttpsClient;
use tower_revoke_oauth::RevocationClient;
use tower_revoke_testing::TestIssuer;
use tower_revoke_tests::{
    Server, Wire,
    servers::{ClientId, Issuer, Keycloak},
};

use crate::clients::{self, Client};

const SHOP: ClientId = Keycloak::SHOP;

const ONE_TIME: &[(&str, &str)] = &[("scope", "OTT")];

#[tokio::test]
async fn a_real_keycloak() {
    let keycloak = Keycloak::start().await;
    for realm in [&keycloak.rs256, &keycloak.es256] {
        one_time_tokens_are_spent_and_others_are_not(realm).await;
        tokens_that_say_what_they_are_pass_where_that_is_asked(realm).await;
        tokens_for_others_are_rejected(realm).await;
        an_id_token_is_told_by_its_claim(realm).await;
        what_is_revoked_there_is_inactive_there(realm).await;
        it_is_told_of_what_is_spent_here(realm).await;
        it_serves_our_clients(&keycloak, realm).await;
        a_token_has_one_id_however_it_is_verified(realm).await;
    }
    tokens_of_another_realm_are_rejected(&keycloak).await;
    // Last, because it leaves other keys.
    keys_are_rotated_and_withdrawn(&keycloak).await;
}

async fn one_time_tokens_are_spent_and_others_are_not(realm: &Issuer) {
    let service = Service::of(realm).await;
    let plain = realm.token(SHOP, &[]).await;
    for wire in Wire::ALL {
        let one_time = realm.token(SHOP, ONE_TIME).await;
        assert_eq!(service.ask(wire, &plain).await, "200", "{}", realm.name);
        assert_eq!(service.ask(wire, &one_time).await, "200");
        assert_eq!(service.ask(wire, &one_time).await, "401 invalid_token");
        assert_eq!(service.rejection(&one_time).await, Some(Reason::Spent));
        assert_eq!(service.ask(wire, &plain).await, "200");
    }
}

/// Keycloak sends `typ: at+jwt` only if the client is configured to (RFC 9068).
async fn tokens_that_say_what_they_are_pass_where_that_is_asked(realm: &Issuer) {
    let strict = Service::strict(realm).await;
    let typed = realm.token(Keycloak::TYPED_SHOP, &[]).await;
    assert_eq!(strict.ask(Wire::Http1, &typed).await, "200");
    let untyped = realm.token(SHOP, &[]).await;
    assert_eq!(strict.rejection(&untyped).await, Some(Reason::WrongType));
    let service = Service::of(realm).await;
    assert_eq!(service.ask(Wire::Http1, &typed).await, "200");
}

async fn tokens_for_others_are_rejected(realm: &Issuer) {
    let service = Service::of(realm).await;
    let token = realm.token(Keycloak::TILL, &[]).await;
    assert_eq!(service.ask(Wire::Http1, &token).await, "401 invalid_token");
    assert_eq!(service.rejection(&token).await, Some(Reason::WrongAudience));
}

/// The audience of an ID token is the client, which may have the same id as the API.
async fn an_id_token_is_told_by_its_claim(realm: &Issuer) {
    let id_token = realm.id_token(SHOP, Keycloak::ANN).await;
    let tokens = || JwtVerifier::issuer(&realm.name).discover();
    let service = Service::start(tokens(), SHOP.id, one_time_tokens()).await;
    assert_eq!(service.rejection(&id_token).await, None);
    // As in the guide.
    let tokens = || tokens().claim("typ", "Bearer");
    let service = Service::start(tokens(), SHOP.id, one_time_tokens()).await;
    assert_eq!(service.rejection(&id_token).await, Some(Reason::WrongClaim));
    let service = Service::start(tokens(), "api", one_time_tokens()).await;
    let (access_token, _) = realm.token_pair(SHOP, Keycloak::ANN).await;
    assert_eq!(service.rejection(&access_token).await, None);
}

/// Nothing tells the service of a revocation at the server: it accepts the token until it expires.
async fn what_is_revoked_there_is_inactive_there(realm: &Issuer) {
    let service = Service::of(realm).await;
    let token = realm.token(SHOP, &[]).await;
    let before = realm.introspect(Keycloak::API, &token).await;
    assert_eq!(before.json["active"], true, "{before:?}");
    let reply = realm.revoke(SHOP, &token).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let after = realm.introspect(Keycloak::API, &token).await;
    assert_eq!(after.json["active"], false, "{after:?}");
    assert_eq!(service.ask(Wire::Http1, &token).await, "200");
}

/// RFC 7009, with Basic credentials that must be form-urlencoded.
async fn it_is_told_of_what_is_spent_here(realm: &Issuer) {
    let server = RevocationClient::discover(&realm.name)
        .client_credentials(SHOP.id, SHOP.secret)
        .http_client(HttpsClient::new().expect("a client"))
        .build()
        .expect("a server");
    let layer = one_time_tokens().also_at(server.clone());
    let service = Service::with(realm, false, layer).await;
    let plain = realm.token(SHOP, &[]).await;
    let one_time = realm.token(SHOP, ONE_TIME).await;
    for token in [&plain, &one_time] {
        let before = realm.introspect(Keycloak::API, token).await;
        assert_eq!(before.json["active"], true, "{before:?}");
        assert_eq!(service.ask(Wire::Http1, token).await, "200");
    }
    let told = server.shutdown(Duration::from_secs(30)).await;
    assert!(told.is_complete(), "{told:?}");
    assert_eq!(server.stats().delivered, 1, "{:?}", server.stats());
    let spent = realm.introspect(Keycloak::API, &one_time).await;
    assert_eq!(spent.json["active"], false, "{spent:?}");
    let kept = realm.introspect(Keycloak::API, &plain).await;
    assert_eq!(kept.json["active"], true, "{kept:?}");
}

/// By Basic, in the form, and by a signed assertion. It tells only a token's audience that it is active.
async fn it_serves_our_clients(keycloak: &Keycloak, realm: &Issuer) {
    let signer = Client::Key(keycloak.signer.clone());
    let basic = Client::Basic;
    for (asks, owns, another) in [
        (basic(Keycloak::API), basic(SHOP), signer.clone()),
        (
            Client::Form(Keycloak::API),
            Client::Form(SHOP),
            signer.clone(),
        ),
        (signer.clone(), signer.clone(), basic(SHOP)),
    ] {
        clients::tokens_are_introspected_and_revoked(realm, &asks, &owns, &[]).await;
        clients::strangers_end_nothing(realm, &asks, &owns, &another, &[]).await;
        let form = Keycloak::ANN;
        clients::a_refresh_token_takes_its_access_tokens_along(realm, &asks, SHOP, form).await;
        clients::a_bound_token_is_rejected(realm, &asks, SHOP, &[]).await;
        let of_another = realm.token(Keycloak::TILL, &[]).await;
        let tokens = asks.verifier(realm, Some("api"));
        assert_eq!(tokens.rejection(&of_another).await, Some(Reason::Inactive));
    }
    clients::a_bound_jwt_is_rejected(realm, SHOP, &[]).await;
}

/// Its tokens are JWTs, which other services verify themselves.
async fn a_token_has_one_id_however_it_is_verified(realm: &Issuer) {
    let tokens = Client::Basic(Keycloak::API).verifier(realm, Some("api"));
    let token = realm.token(SHOP, ONE_TIME).await;
    let token = BearerToken::new(&token).expect("a token");
    let caller = tokens.0.verify(&token).await.expect("an active token");
    assert!(caller.has_scope("OTT"), "{:?}", caller.claims());
    let jwt_id = caller.token().claims().jwt_id().expect("a jti");
    assert_eq!(caller.token_id(), TokenId::of_jwt(&realm.name, jwt_id));
}

async fn tokens_of_another_realm_are_rejected(keycloak: &Keycloak) {
    let service = Service::of(&keycloak.rs256).await;
    let foreign = keycloak.es256.token(SHOP, &[]).await;
    assert_eq!(
        service.ask(Wire::Http1, &foreign).await,
        "401 invalid_token"
    );
    assert_eq!(service.rejection(&foreign).await, Some(Reason::WrongIssuer));

    // The keys of one realm don't verify tokens of another.
    let keys = Endpoint::new(keycloak.rs256.endpoint("jwks_uri")).expect("a URL");
    let mixed = JwtVerifier::issuer(&keycloak.es256.name).jwks_url(keys);
    let service = Service::start(mixed, "api", one_time_tokens()).await;
    assert_eq!(service.rejection(&foreign).await, Some(Reason::UnknownKey));
}

async fn keys_are_rotated_and_withdrawn(keycloak: &Keycloak) {
    let realm = &keycloak.rs256;
    let service = Service::of(realm).await;
    let old = realm.token(SHOP, &[]).await;
    assert_eq!(service.ask(Wire::Http1, &old).await, "200");

    // The first token with an unknown key triggers a refetch.
    keycloak.rotate().await;
    let new = realm.token(SHOP, &[]).await;
    assert_eq!(service.ask(Wire::Http1, &new).await, "200");
    assert_eq!(service.ask(Wire::Http1, &old).await, "200");
    let one_time = realm.token(SHOP, ONE_TIME).await;
    assert_eq!(service.ask(Wire::Http2, &one_time).await, "200");
    assert_eq!(
        service.ask(Wire::Http2, &one_time).await,
        "401 invalid_token"
    );

    // So does a token with a key that the server lacks; that refetch also drops the withdrawn key.
    keycloak.disable_first_key().await;
    let forged = TestIssuer::new(&realm.name).token().audience("api").sign();
    assert_eq!(service.rejection(&forged).await, Some(Reason::UnknownKey));
    assert_eq!(service.ask(Wire::Http1, &old).await, "401 invalid_token");
    assert_eq!(service.rejection(&old).await, Some(Reason::UnknownKey));
    assert_eq!(service.ask(Wire::Http1, &new).await, "200");
}

fn one_time_tokens() -> UseLimitLayer {
    UseLimitLayer::single().when(Condition::scope("OTT"))
}

/// A service behind the stack, which finds the realm's keys by discovery.
struct Service {
    server: Server,
    tokens: JwtVerifier,
}

impl Service {
    async fn of(realm: &Issuer) -> Self {
        Self::with(realm, false, one_time_tokens()).await
    }

    /// A service that requires `typ: at+jwt`.
    async fn strict(realm: &Issuer) -> Self {
        Self::with(realm, true, one_time_tokens()).await
    }

    async fn with(realm: &Issuer, is_strict: bool, revoke: UseLimitLayer) -> Self {
        let tokens = JwtVerifier::issuer(&realm.name).discover();
        let tokens = match is_strict {
            true => tokens.access_tokens_only(),
            false => tokens,
        };
        Self::start(tokens, "api", revoke).await
    }

    async fn start(tokens: JwtVerifierBuilder, audience: &str, revoke: UseLimitLayer) -> Self {
        let tokens = tokens
            .audience(audience)
            .http_client(HttpsClient::new().expect("a client"))
            // Short enough that each unknown key triggers a refetch.
            .key_refetch_interval(Duration::from_millis(1))
            .revocations(RevocationList::in_memory())
            .build()
            .expect("a verifier");
        let router = Router::new()
            .route("/", get(async || "hello"))
            .layer(revoke)
            .layer(RequireBearerLayer::new(tokens.clone()));
        Self {
            server: Server::start(router).await,
            tokens,
        }
    }

    async fn ask(&self, wire: Wire, token: &str) -> String {
        self.server.verdict(wire, "/", token).await
    }

    /// Returns why the verifier rejects a token, in more detail than a client gets.
    async fn rejection(&self, token: &str) -> Option<Reason> {
        let token = BearerToken::new(token).expect("a token");
        let rejection = self.tokens.verify(&token).await.err()?;
        Some(rejection.reason())
    }
}
