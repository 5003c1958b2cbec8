//! Tests what a service is rolled out with: layers that observe, and a list whose outage admits.

use std::collections::BTreeMap;

use axum::{Router, routing::get};
use tower::ServiceBuilder;
use tower_revoke::{
    JwtVerifier, MemoryStore, OnListError, RequireBearerLayer, Revocation, RevocationList,
    RevokeAfterResponseLayer, UseLimitLayer,
};
use tower_revoke_testing::{Behavior, ScriptedStore, StoreOp};
use tower_revoke_tests::{Server, Wire, World};

async fn serve(
    bearer: RequireBearerLayer<JwtVerifier>,
    once: UseLimitLayer,
    revokes: RevokeAfterResponseLayer,
) -> Server {
    let router = Router::new()
        .route("/orders", get(async || "orders"))
        .route("/invoice", get(async || "once").layer(once))
        .route(
            "/report",
            get(async || "report ".repeat(100)).layer(revokes),
        )
        .layer(ServiceBuilder::new().layer(bearer));
    Server::start(router).await
}

#[tokio::test]
async fn a_stack_that_observes_rejects_nobody_and_spends_nothing() {
    let world = World::new();
    let bearer = RequireBearerLayer::new(world.tokens.clone()).observe();
    let once = UseLimitLayer::single().observe();
    let revokes = RevokeAfterResponseLayer::new().observe();
    let server = serve(bearer.clone(), once, revokes).await;
    let mut tokens = Vec::new();
    for wire in Wire::ALL {
        let [invoiced, reported] = [world.token(), world.token()];
        for _ in 0..3 {
            assert_eq!(server.verdict(wire, "/invoice", &invoiced).await, "200");
            assert_eq!(server.verdict(wire, "/report", &reported).await, "200");
        }
        assert_eq!(
            server.verdict(wire, "/report", "no.good.token").await,
            "200"
        );
        tokens.extend([invoiced, reported]);
    }
    let wires = Wire::ALL.len() as u64;
    let counts = bearer.not_enforced();
    assert_eq!(counts["spent"], 4 * wires, "{counts:?}");
    assert_eq!(counts["malformed_token"], wires, "{counts:?}");

    // The same service, enforced: no token has lost anything.
    let server = serve(
        RequireBearerLayer::new(world.tokens.clone()),
        UseLimitLayer::single(),
        RevokeAfterResponseLayer::new(),
    )
    .await;
    for token in tokens {
        assert_eq!(
            server.verdict(Wire::ALL[0], "/invoice", &token).await,
            "200"
        );
        let again = server.verdict(Wire::ALL[0], "/invoice", &token).await;
        assert_eq!(again, "401 invalid_token");
    }
}

#[tokio::test]
async fn an_outage_of_the_list_admits_what_is_not_known_to_be_revoked() {
    let (store, script) = ScriptedStore::over(MemoryStore::new());
    // Without a mirror, which would know of every token.
    let list = RevocationList::builder(store).mirror_capacity(0).build();
    let world = World::over(list.expect("a list"), script);
    let bearer = RequireBearerLayer::new(world.tokens.clone()).on_list_error(OnListError::Admit);
    let server = serve(
        bearer.clone(),
        UseLimitLayer::single(),
        RevokeAfterResponseLayer::new(),
    )
    .await;
    for wire in Wire::ALL {
        world.store.set(StoreOp::LookUp, Behavior::Works);
        world.store.set(StoreOp::TakeUse, Behavior::Works);
        let revoked = world.token();
        let caller = tower_revoke::BearerToken::new(&revoked).expect("a token");
        let caller = tower_revoke::core::TokenVerifier::verify(&world.tokens, &caller).await;
        let caller = caller.expect("a good token");
        let revocation = Revocation::of_token(caller.token_id(), caller.expires_at());
        world
            .list
            .revoke(revocation)
            .await
            .expect("a store that works");
        assert_eq!(
            server.verdict(wire, "/orders", &revoked).await,
            "401 invalid_token"
        );

        world.store.set(StoreOp::LookUp, Behavior::Fails);
        world.store.set(StoreOp::TakeUse, Behavior::Fails);
        let before = bearer.not_enforced().get("unavailable").copied();
        let unknown = world.token();
        assert_eq!(server.verdict(wire, "/orders", &unknown).await, "200");
        assert_eq!(
            bearer.not_enforced(),
            BTreeMap::from([("unavailable", before.unwrap_or(0) + 1)])
        );
        assert_eq!(
            server.verdict(wire, "/orders", &revoked).await,
            "401 invalid_token"
        );
        assert_eq!(
            server.verdict(wire, "/orders", "no.good.token").await,
            "401 invalid_token"
        );
        // A use can't be taken without the store.
        assert_eq!(server.verdict(wire, "/invoice", &unknown).await, "503");
    }
}
