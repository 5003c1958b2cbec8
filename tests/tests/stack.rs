//! Tests the README's order of layers on an axum router, over sockets.

use std::time::Duration;

use axum::{Router, http::StatusCode, routing::get};
use http::{HeaderValue, Method, Request, header};
use http_body_util::Empty;
use tower::ServiceBuilder;
use tower_http::{
    compression::CompressionLayer, cors::CorsLayer, timeout::TimeoutLayer, trace::TraceLayer,
};
use tower_revoke::{
    Authenticated, PendingRevocations, PreserveAuthorizationLayer, RequireBearerLayer,
    RequireClaimsLayer, RevokeAfterResponseLayer, UseLimitLayer,
};
use tower_revoke_tests::{Client, Server, Wire, World, get as request};

async fn serve(world: &World, pending: &PendingRevocations) -> Server {
    let claims = RequireClaimsLayer::scope("invoices:read");
    let once = UseLimitLayer::single().pending_revocations(pending);
    let revokes = RevokeAfterResponseLayer::new().pending_revocations(pending);
    let router = Router::new()
        .route(
            "/orders",
            get(async |caller: Authenticated| caller.subject().unwrap_or("nobody").to_owned()),
        )
        .route(
            "/invoice",
            get(async || "once ".repeat(100)).layer((claims.clone(), once)),
        )
        .route(
            "/slow",
            get(std::future::pending::<()>).layer((claims, revokes)),
        )
        .layer(
            ServiceBuilder::new()
                .layer(TraceLayer::new_for_http())
                .layer(CorsLayer::permissive())
                .layer(CompressionLayer::new())
                .layer(TimeoutLayer::with_status_code(
                    StatusCode::GATEWAY_TIMEOUT,
                    Duration::from_millis(200),
                ))
                .layer(PreserveAuthorizationLayer::new())
                .layer(RequireBearerLayer::new(world.tokens.clone())),
        );
    Server::start(router).await
}

#[tokio::test]
async fn the_whole_stack_rejects_admits_and_spends() {
    let world = World::new();
    let pending = PendingRevocations::default();
    let server = serve(&world, &pending).await;
    for wire in Wire::ALL {
        let plain = world.token();
        assert_eq!(server.verdict(wire, "/orders", &plain).await, "200");
        // A rejection for insufficient scope costs no use.
        assert_eq!(
            server.verdict(wire, "/invoice", &plain).await,
            "403 insufficient_scope"
        );
        assert_eq!(server.verdict(wire, "/orders", &plain).await, "200");

        let scoped = world
            .issuer
            .token()
            .audience("api")
            .scope("invoices:read")
            .sign();
        assert_eq!(server.verdict(wire, "/invoice", &scoped).await, "200");
        assert_eq!(
            server.verdict(wire, "/invoice", &scoped).await,
            "401 invalid_token"
        );
        assert_eq!(
            server.verdict(wire, "/orders", &scoped).await,
            "401 invalid_token"
        );
    }
}

#[tokio::test]
async fn a_preflight_passes_without_a_token() {
    let world = World::new();
    let server = serve(&world, &PendingRevocations::default()).await;
    let preflight = Request::builder()
        .method(Method::OPTIONS)
        .uri("http://localhost/invoice")
        .header(header::HOST, "localhost")
        .header(header::ORIGIN, "https://app.example.com")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization")
        .body(Empty::new())
        .expect("a request");
    let mut client = Client::connect(server.addr, Wire::Http1).await;
    let answer = client.send(preflight).await.expect("a head");
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains_key("access-control-allow-origin"));

    // A rejection carries the CORS headers too, so that a browser lets its page read the 401.
    let mut rejected = request("/orders", "no.such.token");
    let origin = HeaderValue::from_static("https://app.example.com");
    rejected.headers_mut().insert(header::ORIGIN, origin);
    let answer = client.send(rejected).await.expect("a head");
    assert_eq!(answer.verdict(), "401 invalid_token");
    assert!(answer.headers.contains_key("access-control-allow-origin"));
}

/// TRAPS 28: an outer timeout drops the call, as a client that leaves does.
#[tokio::test]
async fn trap_28_an_outer_timeout_spends() {
    let world = World::new();
    let pending = PendingRevocations::default();
    let server = serve(&world, &pending).await;
    let token = world
        .issuer
        .token()
        .audience("api")
        .scope("invoices:read")
        .sign();
    assert_eq!(server.verdict(Wire::Http1, "/slow", &token).await, "504");
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_eq!(
        server.verdict(Wire::Http1, "/orders", &token).await,
        "401 invalid_token"
    );
}
