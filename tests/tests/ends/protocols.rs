//! HTTP/1.0, upgrades, informational statuses and gRPC.

use std::{convert::Infallible, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::service_fn;
use tower_revoke::{PendingRevocations, RevokeAfterResponseLayer};
use tower_revoke_testing::{Behavior, ScriptedBody, StoreOp};
use tower_revoke_tests::{Client, Server, Wire, World, get};

use crate::kit::{answer, ask, assert_spent, serve};

/// TRAPS 25: an HTTP/1.0 response without a length looks complete even when it is cut off.
#[tokio::test]
async fn trap_25_http_1_0_is_spent_before_the_head() {
    let world = World::new();
    let layer = RevokeAfterResponseLayer::new().commit_timeout(Duration::from_millis(50));
    let server = serve(&world, &layer).await;
    let old = async |path: &str, token: &str| {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    for way in ["/chunked", "/length", "/hint-only", "/sse"] {
        let token = world.token();
        assert!(old(way, &token).await.starts_with("HTTP/1.0 200"), "{way}");
        assert!(old(way, &token).await.starts_with("HTTP/1.0 401"), "{way}");
    }
    world.store.set(StoreOp::Revoke, Behavior::Fails);
    let answer = old("/chunked", &world.token()).await;
    assert!(answer.starts_with("HTTP/1.0 500"), "{answer}");
    assert!(!answer.contains("hello"));
}

#[tokio::test]
async fn an_upgrade_is_spent_before_it_begins() {
    async fn upgrade(request: Request<Incoming>) -> Result<Response<ScriptedBody>, Infallible> {
        if request.uri().path() != "/upgrade" {
            return Ok(answer(request.uri().path()));
        }
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(request).await.expect("an upgrade");
            let mut io = hyper_util::rt::TokioIo::new(upgraded);
            let mut word = [0; 4];
            io.read_exact(&mut word).await.expect("four bytes");
            io.write_all(&word).await.expect("an echo");
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "echo")
            .body(ScriptedBody::new());
        Ok(response.expect("a response"))
    }
    let world = World::new();
    let layer = RevokeAfterResponseLayer::new();
    let server = Server::start(world.protect(&layer, service_fn(upgrade))).await;
    let token = world.token();
    let mut request = get("/upgrade", &token);
    request
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    request
        .headers_mut()
        .insert(header::UPGRADE, HeaderValue::from_static("echo"));
    let mut client = Client::connect(server.addr, Wire::Http1).await;
    let response = client.head(request).await.unwrap();
    assert_eq!(response.status(), 101);
    assert_spent(&server, Wire::Http1, &token, "/upgrade").await;
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    let mut io = hyper_util::rt::TokioIo::new(upgraded);
    io.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    io.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping");
}

/// TRAPS 53: on HTTP/1, hyper replaces the response by a 500 of its own; on HTTP/2 the client gets
/// a head that it doesn't take as final.
#[tokio::test]
async fn trap_53_a_final_1xx_is_settled_with_its_head() {
    async fn informational(
        request: Request<Incoming>,
    ) -> Result<Response<ScriptedBody>, Infallible> {
        let path = request.uri().path();
        let Some(status) = path.strip_prefix("/final-") else {
            return Ok(answer(path));
        };
        let body = ScriptedBody::new().data("hello");
        Ok(Response::builder()
            .status(status)
            .body(body)
            .expect("a response"))
    }
    let world = World::new();
    let pending = PendingRevocations::default();
    let layer = RevokeAfterResponseLayer::new()
        .commit_timeout(Duration::from_millis(250))
        .pending_revocations(&pending);
    let server = Server::start(world.protect(&layer, service_fn(informational))).await;
    for path in ["/final-100", "/final-102", "/final-103", "/final-199"] {
        // An immediate second call would arrive before a slow store could finish a late revocation.
        let slow = Behavior::Slow(Duration::from_millis(50));
        world.store.set(StoreOp::Revoke, slow);
        let token = world.token();
        let first = ask(&server, Wire::Http1, get(path, &token)).await;
        assert!(first.whole && first.bytes.is_empty());
        assert_eq!(first.status, 500, "{path}");
        assert_spent(&server, Wire::Http1, &token, path).await;

        let token = world.token();
        let mut client = Client::connect(server.addr, Wire::Http2).await;
        let _no_client_takes_it = client.send(get(path, &token)).await;
        assert_spent(&server, Wire::Http2, &token, path).await;

        // With a failing store, the response is our own problem+json 500.
        world.store.set(StoreOp::Revoke, Behavior::Fails);
        for wire in Wire::ALL {
            let failed = ask(&server, wire, get(path, &world.token())).await;
            assert_eq!(failed.status, 500, "{wire:?} {path}");
            assert_eq!(
                failed.headers[header::CONTENT_TYPE],
                "application/problem+json"
            );
        }
        world.store.set(StoreOp::Revoke, Behavior::Works);
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
    }
}

#[tokio::test]
async fn grpc_streams_are_spent_before_their_trailers() {
    async fn grpc(request: Request<Incoming>) -> Result<Response<ScriptedBody>, Infallible> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let body = ScriptedBody::new();
        let body = match request.uri().path() {
            "/stream" => body.data("one").data("two").trailers(trailers),
            // A body with a known length that still has trailers to come.
            "/unary" => body.data("one").hint(3).trailers(trailers),
            _ => body.hint(0).says_when_it_ends(),
        };
        let mut response = Response::new(body);
        let kind = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if request.uri().path() == "/trailers-only" {
            let status = HeaderValue::from_static("5");
            response.headers_mut().insert("grpc-status", status);
        }
        Ok(response)
    }
    let call = |path: &str, token: &str| {
        let mut request = get(path, token);
        *request.method_mut() = Method::POST;
        let kind = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        request
    };
    let world = World::new();
    let pending = PendingRevocations::default();
    let layer = RevokeAfterResponseLayer::new()
        .commit_timeout(Duration::from_millis(50))
        .pending_revocations(&pending);
    let server = Server::start(world.protect(&layer, service_fn(grpc))).await;
    for path in ["/stream", "/unary", "/trailers-only"] {
        let token = world.token();
        let first = ask(&server, Wire::Http2, call(path, &token)).await;
        assert_eq!(first.status, 200);
        assert!(first.whole);
        if path != "/trailers-only" {
            assert_eq!(first.trailers.unwrap()["grpc-status"], "0", "{path}");
        }
        let again = ask(&server, Wire::Http2, call(path, &token)).await;
        assert_eq!(again.status, 200);
        assert_eq!(again.headers["grpc-status"], "16");
        assert!(again.bytes.is_empty());

        world.store.set(StoreOp::Revoke, Behavior::Fails);
        let cut = ask(&server, Wire::Http2, call(path, &world.token())).await;
        if path == "/trailers-only" {
            assert_eq!(cut.headers["grpc-status"], "13");
        } else {
            assert!(!cut.whole && cut.trailers.is_none(), "{path}");
        }
        world.store.set(StoreOp::Revoke, Behavior::Works);
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
    }
}
