//! Responses that end, with their body whole or not.

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use tower::{ServiceBuilder, service_fn};
use tower_http::compression::CompressionLayer;
use tower_revoke::{Outcome, PendingRevocations, RevokeAfterResponseLayer, UseLimitLayer};
use tower_revoke_testing::{Behavior, StoreOp};
use tower_revoke_tests::{Client, Server, Wire, World, get};

use crate::kit::{WAYS, ask, assert_spent, serve, trailers, ways};

#[tokio::test]
async fn g1_a_client_with_the_whole_response_has_a_spent_token() {
    let world = World::new();
    let servers = [
        serve(&world, &RevokeAfterResponseLayer::new()).await,
        serve(&world, &UseLimitLayer::single()).await,
    ];
    for server in servers {
        for wire in Wire::ALL {
            for way in WAYS {
                let token = world.token();
                let first = ask(&server, wire, get(way, &token)).await;
                assert!(first.whole, "{wire:?} {way}");
                assert_ne!(first.status, 401, "{wire:?} {way}");
                assert_spent(&server, wire, &token, way).await;
            }
        }
    }
}

#[tokio::test]
async fn g1_bodies_trailers_and_lengths_arrive_unchanged() {
    let world = World::new();
    let server = serve(&world, &RevokeAfterResponseLayer::new()).await;
    for wire in Wire::ALL {
        let length = ask(&server, wire, get("/length", &world.token())).await;
        assert_eq!(length.bytes, "hello");
        assert_eq!(length.headers["content-length"], "5");

        // TRAPS 11: an exact size hint still becomes a Content-Length.
        let hinted = ask(&server, wire, get("/hint-only", &world.token())).await;
        assert_eq!(hinted.bytes, "hello world");
        assert_eq!(hinted.headers["content-length"], "11", "{wire:?}");

        let chunked = ask(&server, wire, get("/chunked", &world.token())).await;
        assert_eq!(chunked.bytes, "hello world");
        assert!(!chunked.headers.contains_key("content-length"));
    }
    let trailed = ask(&server, Wire::Http2, get("/trailers", &world.token())).await;
    assert_eq!(trailed.trailers, Some(trailers()));
}

/// With a failing store, it must not get the whole body either, even if the length is known.
#[tokio::test]
async fn g1_a_grpc_content_type_does_not_move_the_end() {
    let world = World::new();
    let pending = PendingRevocations::default();
    let layer = RevokeAfterResponseLayer::new()
        .commit_timeout(Duration::from_millis(30))
        .pending_revocations(&pending);
    let server = serve(&world, &layer).await;
    let grpc = |token: &str| {
        let mut request = get("/length", token);
        let kind = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        request
    };
    for wire in Wire::ALL {
        let token = world.token();
        let first = ask(&server, wire, grpc(&token)).await;
        assert!(first.whole && first.bytes == "hello", "{wire:?}");
        assert_spent(&server, wire, &token, "/length").await;

        world.store.set(StoreOp::Revoke, Behavior::Fails);
        let cut = ask(&server, wire, grpc(&world.token())).await;
        assert!(!cut.whole && cut.bytes != "hello", "{wire:?}");
        world.store.set(StoreOp::Revoke, Behavior::Works);
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
    }
}

#[tokio::test]
async fn g1_head_spends_and_can_be_exempted() {
    let world = World::new();
    let head = |token: &str| {
        let mut request = get("/length", token);
        *request.method_mut() = Method::HEAD;
        request
    };
    let spends = RevokeAfterResponseLayer::new().commit_timeout(Duration::from_millis(30));
    let spends = serve(&world, &spends).await;
    let spares = RevokeAfterResponseLayer::new().except_methods([Method::HEAD]);
    let spares = serve(&world, &spares).await;
    for wire in Wire::ALL {
        let token = world.token();
        let answer = ask(&spends, wire, head(&token)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-length"], "5");
        assert_spent(&spends, wire, &token, "HEAD").await;
        // Nothing follows the head, so the head waits for the store and becomes a 500 if that
        // fails.
        world.store.set(StoreOp::Revoke, Behavior::Fails);
        let answer = ask(&spends, wire, head(&world.token())).await;
        assert_eq!(answer.status, 500);
        world.store.set(StoreOp::Revoke, Behavior::Works);

        let token = world.token();
        assert_eq!(ask(&spares, wire, head(&token)).await.status, 200);
        assert_eq!(ask(&spares, wire, get("/length", &token)).await.status, 200);
        assert_spent(&spares, wire, &token, "GET after HEAD").await;
    }
}

#[tokio::test]
async fn a_wrong_content_length_still_spends() {
    let world = World::new();
    let pending = PendingRevocations::default();
    let server = serve(
        &world,
        &RevokeAfterResponseLayer::new().pending_revocations(&pending),
    )
    .await;
    for wire in Wire::ALL {
        for way in ["/too-short", "/too-long"] {
            let token = world.token();
            let mut client = Client::connect(server.addr, wire).await;
            // How hyper handles the mismatch is irrelevant here.
            let _ = client.send(get(way, &token)).await;
            drop(client);
            assert!(pending.shutdown(Duration::MAX).await.is_complete());
            assert_spent(&server, wire, &token, way).await;
        }
    }
}

#[tokio::test]
async fn an_error_in_the_body_spends_and_reaches_the_client() {
    let world = World::new();
    let pending = PendingRevocations::default();
    let server = serve(
        &world,
        &RevokeAfterResponseLayer::new().pending_revocations(&pending),
    )
    .await;
    for wire in Wire::ALL {
        for way in ["/breaks", "/breaks-in-length"] {
            let token = world.token();
            let answer = ask(&server, wire, get(way, &token)).await;
            assert!(!answer.whole, "{wire:?} {way}");
            assert!(pending.shutdown(Duration::MAX).await.is_complete());
            assert_spent(&server, wire, &token, way).await;
        }
    }
}

#[tokio::test]
async fn g1_holds_under_and_over_compression() {
    let world = World::new();
    let layer = RevokeAfterResponseLayer::new();
    let outside = ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .service(world.protect(&layer, service_fn(ways)));
    let outside = Server::start(outside).await;
    let inside = ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .service_fn(ways);
    let inside = Server::start(world.protect(&layer, inside)).await;
    for server in [&outside, &inside] {
        for wire in Wire::ALL {
            let token = world.token();
            let mut request = get("/compress", &token);
            let gzip = HeaderValue::from_static("gzip");
            request.headers_mut().insert(header::ACCEPT_ENCODING, gzip);
            let answer = ask(server, wire, request).await;
            assert!(answer.whole);
            assert_eq!(answer.headers[header::CONTENT_ENCODING], "gzip");
            assert!(answer.bytes.len() < 1_000);
            assert_spent(server, wire, &token, "/compress").await;
        }
    }
}

#[tokio::test]
async fn rules_return_the_use_or_keep_the_token_at_the_head() {
    let world = World::new();
    let returns = UseLimitLayer::single()
        .return_on(Outcome::Exception)
        .return_if(|head| head.status == StatusCode::NOT_FOUND);
    let keeps = RevokeAfterResponseLayer::new()
        .keep_on(Outcome::Exception)
        .keep_if(|head| head.status == StatusCode::NOT_FOUND);
    for server in [serve(&world, &returns).await, serve(&world, &keeps).await] {
        for wire in Wire::ALL {
            let token = world.token();
            for way in ["/500", "/404", "/500"] {
                let answer = ask(&server, wire, get(way, &token)).await;
                assert_eq!(answer.status.to_string()[..3], way[1..], "{wire:?}");
            }
            assert_eq!(ask(&server, wire, get("/length", &token)).await.status, 200);
            assert_spent(&server, wire, &token, "/length").await;
        }
    }
}
