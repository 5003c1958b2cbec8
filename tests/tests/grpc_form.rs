//! Tests which requests each layer rejects in gRPC form, which is an HTTP 200.

use std::convert::Infallible;

use axum::{Router, body::Body, routing::any};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body as _;
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_revoke::{
    Authenticated, GrpcRejections, PreserveAuthorizationLayer, RequireBearerLayer,
    RequireClaimsLayer, RevokeAfterResponseLayer, UseLimitLayer, core::BoxError,
};
use tower_revoke_tests::{Client, Server, Wire, World};

type Stack = BoxCloneSyncService<Request<hyper::body::Incoming>, Response<Body>, Infallible>;

/// Wraps `layer` around a service that must not be called.
fn around<L, S, B>(layer: L) -> Stack
where
    L: Layer<Unreached, Service = S>,
    S: tower::Service<
            Request<hyper::body::Incoming>,
            Response = Response<B>,
            Error = Infallible,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let unreached: Unreached = BoxCloneSyncService::new(service_fn(async |_| {
        panic!("a request without a token was accepted")
    }));
    let service = layer.layer(unreached);
    Stack::new(service.map_response(|response| response.map(Body::new)))
}

type Unreached = BoxCloneSyncService<Request<hyper::body::Incoming>, Response<Body>, Infallible>;

/// Every layer that can reject, set up to reject a request without a token.
fn rejecting(world: &World) -> Vec<(&'static str, Stack)> {
    let bearer = RequireBearerLayer::new(world.tokens.clone());
    let guests = bearer.clone().optional();
    let who = Router::new().fallback(any(async |_: Authenticated| "reached"));
    vec![
        ("bearer", around(bearer)),
        (
            "claims",
            around((guests.clone(), RequireClaimsLayer::scope("orders"))),
        ),
        ("spend", around((guests.clone(), UseLimitLayer::single()))),
        (
            "after response",
            around((guests.clone(), RevokeAfterResponseLayer::new())),
        ),
        ("extractor", Stack::new(who.layer(guests).into_service())),
    ]
}

struct Head {
    status: u16,
    grpc_status: Option<String>,
    ends_the_stream: bool,
}

/// Sends a request with a gRPC content type and without a token.
async fn ask(server: &Server, wire: Wire, method: Method, connection: Option<&str>) -> Head {
    let mut request = Request::builder()
        .method(method)
        .uri("http://localhost/orders.v1.Orders/Place")
        .header("host", "localhost")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(connection) = connection {
        request = request.header("connection", connection);
    }
    let request = request.body(Empty::new()).expect("a request");
    let mut client = Client::connect(server.addr, wire).await;
    let head = client.head(request).await.expect("an answer");
    let grpc_status = head.headers().get("grpc-status");
    Head {
        status: head.status().as_u16(),
        grpc_status: grpc_status.map(|value| value.to_str().expect("a number").to_owned()),
        ends_the_stream: head.body().is_end_stream(),
    }
}

/// TRAPS 39: a forward-auth proxy takes any 200 as permission.
#[tokio::test]
async fn trap_39_a_content_type_alone_gets_no_200() {
    let world = World::new();
    for (name, stack) in rejecting(&world) {
        let server = Server::start(stack).await;
        for (wire, method) in [
            (Wire::Http1, Method::GET),
            (Wire::Http1, Method::POST),
            (Wire::Http2, Method::GET),
            (Wire::Http2, Method::PUT),
        ] {
            let head = ask(&server, wire, method.clone(), None).await;
            assert_eq!(head.status, 401, "{name}: {method} over {wire:?}");
            assert_eq!(head.grpc_status, None, "{name}: {method} over {wire:?}");
        }
    }
}

#[tokio::test]
async fn trap_39_a_grpc_call_is_rejected_with_trailers_only() {
    let world = World::new();
    for (name, stack) in rejecting(&world) {
        let server = Server::start(stack).await;
        let head = ask(&server, Wire::Http2, Method::POST, None).await;
        assert_eq!(head.status, 200, "{name}");
        assert_eq!(head.grpc_status.as_deref(), Some("16"), "{name}");
        assert!(head.ends_the_stream, "{name}");
    }
}

/// Only HTTP/1.1 has the header `Connection`, so this layer never sees a gRPC call.
#[tokio::test]
async fn trap_39_the_rejection_of_a_proxy_is_no_200() {
    let layer = PreserveAuthorizationLayer::new().for_proxy();
    let server = Server::start(around(layer)).await;
    for method in [Method::GET, Method::POST] {
        let head = ask(&server, Wire::Http1, method, Some("authorization")).await;
        assert_eq!((head.status, head.grpc_status), (400, None));
    }
}

/// TRAPS 39: a forward-auth proxy may forward its client's own method and HTTP version.
#[tokio::test]
async fn trap_39_a_forward_auth_endpoint_never_rejects_with_a_200() {
    let world = World::new();
    let bearer = RequireBearerLayer::new(world.tokens.clone());
    let bearer = bearer.grpc_rejections(GrpcRejections::Never);
    let guests = bearer.clone().optional();
    for stack in [
        around(bearer),
        around((guests.clone(), RequireClaimsLayer::scope("orders"))),
        around((guests, UseLimitLayer::single())),
    ] {
        let server = Server::start(stack).await;
        let head = ask(&server, Wire::Http2, Method::POST, None).await;
        assert_eq!((head.status, head.grpc_status), (401, None));
    }
}
