//! G1 over real sockets: once a client has a whole response, its token is spent, on HTTP/1.0,
//! HTTP/1.1 and HTTP/2, however the response ends. Also covers a store that fails.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::{ServiceBuilder, service_fn, util::Either};
use tower_http::compression::CompressionLayer;
use tower_revoke::{
    OnStoreError, Outcome, PendingRevocations, RevokeAfterResponseLayer, UseLimitLayer,
};
use tower_revoke_testing::{Behavior, Gate, ScriptedBody, StoreOp};
use tower_revoke_tests::{Answer, Client, Server, Wire, World, get};

/// The ways in which a response can end, each a path of the service.
const WAYS: [&str; 17] = [
    "/204",
    "/205",
    "/304",
    "/empty",
    "/empty-by-surprise",
    "/length",
    "/length-in-frames",
    "/hint-only",
    "/length-zero",
    "/length-zero-header",
    "/chunked",
    "/chunked-one-frame",
    "/says-when-it-ends",
    "/trailers",
    "/sse",
    "/404",
    "/500",
];

/// Those that end with the head.
const WITH_HEAD: [&str; 6] = [
    "/204",
    "/205",
    "/304",
    "/empty",
    "/length-zero",
    "/length-zero-header",
];

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("3"));
    trailers
}

fn answer(path: &str) -> Response<ScriptedBody> {
    let response = Response::builder();
    let body = ScriptedBody::new();
    match path {
        "/204" => response.status(204).body(body),
        "/205" => response.status(205).body(body),
        "/304" => response.status(304).header("etag", "\"1\"").body(body),
        "/empty" => response.body(body.hint(0).says_when_it_ends()),
        "/empty-by-surprise" => response.body(body),
        "/length" => response
            .header("content-length", 5)
            .body(body.data("hello")),
        "/length-in-frames" => response
            .header("content-length", 11)
            .body(body.data("hello").data(" ").data("world")),
        "/hint-only" => response.body(body.data("hello ").data("world").hint(11)),
        "/length-zero" => response.body(body.hint(0)),
        "/length-zero-header" => response.header("content-length", 0).body(body),
        "/chunked" => response.body(body.data("hello ").data("world")),
        "/chunked-one-frame" => response.body(body.data("hello")),
        "/says-when-it-ends" => response.body(body.data("a").data("b").says_when_it_ends()),
        "/trailers" => response
            .header("trailer", "x-sum")
            .body(body.data("abc").trailers(trailers())),
        "/sse" => response
            .header(header::CONTENT_TYPE, "text/event-stream")
            .body(body.data("data: 1\n\n").data("data: 2\n\n")),
        "/404" => response.status(404).body(body.data("no")),
        "/500" => response.status(500).body(body.data("broken")),
        "/compress" => response
            .header(header::CONTENT_TYPE, "text/plain")
            .body(body.data("a".repeat(10_000))),
        "/too-short" => response
            .header("content-length", 9)
            .body(body.data("hello")),
        "/too-long" => response
            .header("content-length", 3)
            .body(body.data("hello").data("more")),
        "/breaks" => response.body(body.data("hello").fail()),
        "/breaks-in-length" => response
            .header("content-length", 9)
            .body(body.data("hello").fail()),
        other => panic!("unknown path: {other}"),
    }
    .expect("a response")
}

async fn ways(request: Request<Incoming>) -> Result<Response<ScriptedBody>, Infallible> {
    Ok(answer(request.uri().path()))
}

/// Either of the two spending layers.
type SpendLayer = Either<UseLimitLayer, RevokeAfterResponseLayer>;

trait ToSpendLayer {
    fn to_spend_layer(&self) -> SpendLayer;
}

impl ToSpendLayer for UseLimitLayer {
    fn to_spend_layer(&self) -> SpendLayer {
        Either::Left(self.clone())
    }
}

impl ToSpendLayer for RevokeAfterResponseLayer {
    fn to_spend_layer(&self) -> SpendLayer {
        Either::Right(self.clone())
    }
}

async fn serve(world: &World, layer: &impl ToSpendLayer) -> Server {
    let layer = layer.to_spend_layer();
    Server::start(world.protect(&layer, service_fn(ways))).await
}

async fn ask(server: &Server, wire: Wire, request: Request<Empty<Bytes>>) -> Answer {
    let mut client = Client::connect(server.addr, wire).await;
    client.send(request).await.expect("a head")
}

async fn assert_spent(server: &Server, wire: Wire, token: &str, way: &str) {
    let again = ask(server, wire, get("/length", token)).await;
    assert_eq!(again.verdict(), "401 invalid_token", "{wire:?} {way}");
}

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
        // Nothing follows the head, so the head waits for the store and becomes a 503 if that
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

#[tokio::test]
async fn a_store_that_fails_before_the_call_is_a_503() {
    let world = World::new();
    let token = world.token();
    for mood in [Behavior::Fails, Behavior::Frozen, Behavior::LosesTheAnswer] {
        let pending = PendingRevocations::default();
        let layer = UseLimitLayer::single()
            .commit_timeout(Duration::from_millis(50))
            .pending_revocations(&pending);
        let server = serve(&world, &layer).await;
        for wire in Wire::ALL {
            world.store.set(StoreOp::TakeUse, mood);
            let answer = ask(&server, wire, get("/length", &token)).await;
            assert_eq!(answer.status, 503, "{mood:?}");
            assert!(answer.headers.contains_key("retry-after"));
            assert!(!answer.headers.contains_key("www-authenticate"));
            // A use whose outcome is unknown is returned by its id, so the token stays valid.
            assert!(pending.shutdown(Duration::MAX).await.is_complete());
        }
    }
    world.store.set(StoreOp::TakeUse, Behavior::Works);
    let server = serve(&world, &UseLimitLayer::single()).await;
    assert_eq!(
        ask(&server, Wire::Http1, get("/length", &token))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_store_that_fails_at_the_end_leaves_the_response_incomplete() {
    let world = World::new();
    for mood in [Behavior::Fails, Behavior::Frozen] {
        let pending = PendingRevocations::default();
        let layer = RevokeAfterResponseLayer::new()
            .commit_timeout(Duration::from_millis(30))
            .pending_revocations(&pending);
        let server = serve(&world, &layer).await;
        for wire in Wire::ALL {
            for way in WAYS {
                world.store.set(StoreOp::Revoke, mood);
                let token = world.token();
                let answer = ask(&server, wire, get(way, &token)).await;
                if WITH_HEAD.contains(&way) {
                    assert_eq!(answer.status, 500, "{mood:?} {wire:?} {way}");
                    assert!(answer.whole);
                    assert!(!answer.headers.contains_key("retry-after"));
                } else {
                    assert!(!answer.whole, "{mood:?} {wire:?} {way}");
                }
                // The pending revocation is written once the store is back.
                world.store.set(StoreOp::Revoke, Behavior::Works);
                assert!(pending.shutdown(Duration::MAX).await.is_complete());
                assert_spent(&server, wire, &token, way).await;
            }
        }
    }
}

#[tokio::test]
async fn on_store_error_deliver_completes_and_keeps_trying() {
    let world = World::new();
    let pending = PendingRevocations::default();
    let layer = RevokeAfterResponseLayer::new()
        .on_store_error(OnStoreError::Deliver)
        .commit_timeout(Duration::from_millis(30))
        .pending_revocations(&pending);
    let server = serve(&world, &layer).await;
    for wire in Wire::ALL {
        for way in ["/204", "/length", "/chunked"] {
            world.store.set(StoreOp::Revoke, Behavior::Fails);
            let token = world.token();
            let answer = ask(&server, wire, get(way, &token)).await;
            assert!(answer.status.is_success() && answer.whole);
            world.store.set(StoreOp::Revoke, Behavior::Works);
            assert!(pending.shutdown(Duration::MAX).await.is_complete());
            assert_spent(&server, wire, &token, way).await;
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

mod clients_that_leave {
    use super::*;

    /// A deadline so long that only the client's disconnect can have spent the token.
    const NEVER: Duration = Duration::from_secs(3_600);

    /// A service that responds only once its gate opens, and reports when it was called.
    async fn gated(
        world: &World,
        layer: &SpendLayer,
        before: Gate,
        after: Gate,
        asked: Gate,
    ) -> Server {
        let service = service_fn(move |request: Request<Incoming>| {
            let (before, after, asked) = (before.clone(), after.clone(), asked.clone());
            async move {
                if request.uri().path() != "/gated" {
                    return Ok(answer(request.uri().path()));
                }
                asked.open();
                before.passed().await;
                let body = ScriptedBody::new()
                    .data("first")
                    .wait_for(&after)
                    .data("last");
                Ok::<_, Infallible>(Response::new(body))
            }
        });
        Server::start(world.protect(layer, service)).await
    }

    /// TRAPS 28: the response future is dropped before there is a body.
    #[tokio::test]
    async fn trap_28_before_the_head() {
        let pending = PendingRevocations::default();
        let revokes = RevokeAfterResponseLayer::new().deadline(NEVER);
        for layer in [
            Either::Right(revokes.pending_revocations(&pending)),
            Either::Left(UseLimitLayer::single().pending_revocations(&pending)),
        ] {
            for wire in Wire::ALL {
                let world = World::new();
                let asked = Gate::closed();
                let server = gated(
                    &world,
                    &layer,
                    Gate::closed(),
                    Gate::closed(),
                    asked.clone(),
                )
                .await;
                let token = world.token();
                let mut client = Client::connect(server.addr, wire).await;
                tokio::select! {
                    _ = client.head(get("/gated", &token)) => panic!("no head was sent"),
                    () = asked.passed() => {}
                }
                drop(client);
                assert!(pending.shutdown(Duration::MAX).await.is_complete());
                assert_spent(&server, wire, &token, "left before the head").await;
            }
        }
    }

    /// TRAPS 27: no use is returned once the client has read a part of the body.
    #[tokio::test]
    async fn trap_27_in_the_middle() {
        let pending = PendingRevocations::default();
        let revokes = RevokeAfterResponseLayer::new().deadline(NEVER);
        let revokes = revokes.pending_revocations(&pending);
        let single = UseLimitLayer::single().pending_revocations(&pending);
        for layer in [
            Either::Right(revokes.clone()),
            Either::Right(revokes.keep_on(Outcome::Cancelled)),
            Either::Left(single.clone()),
            Either::Left(single.return_on(Outcome::Cancelled)),
        ] {
            for wire in Wire::ALL {
                let world = World::new();
                let before = Gate::closed();
                before.open();
                let server = gated(&world, &layer, before, Gate::closed(), Gate::closed()).await;
                let token = world.token();
                let mut client = Client::connect(server.addr, wire).await;
                let response = client.head(get("/gated", &token)).await.unwrap();
                let mut body = response.into_body();
                let first = body.frame().await.unwrap().unwrap();
                assert_eq!(first.into_data().unwrap(), "first");
                drop(body);
                drop(client);
                assert!(pending.shutdown(Duration::MAX).await.is_complete());
                assert_spent(&server, wire, &token, "left in the middle").await;
            }
        }
    }

    #[tokio::test]
    async fn one_byte_before_the_end() {
        let world = World::new();
        let pending = PendingRevocations::default();
        let layer = RevokeAfterResponseLayer::new()
            .deadline(NEVER)
            .pending_revocations(&pending);
        let server = serve(&world, &layer).await;
        for way in ["/length", "/chunked", "/hint-only"] {
            let token = world.token();
            let mut stream = TcpStream::connect(server.addr).await.unwrap();
            let request =
                format!("GET {way} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut read = Vec::new();
            let end = if way == "/chunked" {
                "world\r\n0\r\n\r\n"
            } else {
                "o"
            };
            let almost = &end.as_bytes()[..end.len() - 1];
            let last = if way == "/length" {
                "hell"
            } else {
                "hello worl"
            };
            while !read.ends_with(almost) && !read.ends_with(last.as_bytes()) {
                read.push(stream.read_u8().await.unwrap());
            }
            drop(stream);
            assert!(pending.shutdown(Duration::MAX).await.is_complete());
            assert_spent(&server, Wire::Http1, &token, way).await;
        }
    }

    #[tokio::test]
    async fn one_byte_before_the_end_on_http_2() {
        let world = World::new();
        let pending = PendingRevocations::default();
        let layer = RevokeAfterResponseLayer::new()
            .deadline(NEVER)
            .pending_revocations(&pending);
        let server = serve(&world, &layer).await;
        for (way, almost) in [("/length", "hell"), ("/chunked-one-frame", "hell")] {
            let token = world.token();
            let mut client = Client::connect_with_window(server.addr, Wire::Http2, 4).await;
            let response = client.head(get(way, &token)).await.unwrap();
            let mut body = response.into_body();
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), almost);
            drop(body);
            drop(client);
            assert!(pending.shutdown(Duration::MAX).await.is_complete());
            assert_spent(&server, Wire::Http2, &token, way).await;
        }
    }

    /// TRAPS 26: a client that stops reading keeps its token valid only until the deadline.
    #[tokio::test]
    async fn trap_26_that_stop_reading() {
        let world = World::new();
        let pending = PendingRevocations::default();
        let layer = RevokeAfterResponseLayer::new()
            .deadline(Duration::from_millis(50))
            .pending_revocations(&pending);
        let endless = service_fn(|request: Request<Incoming>| async move {
            let path = request.uri().path().to_owned();
            if path != "/endless" {
                return Ok(answer(&path));
            }
            let block = Bytes::from(vec![0; 1 << 20]);
            let body = (0..64).fold(ScriptedBody::new(), |body, _| body.data(block.clone()));
            Ok::<_, Infallible>(Response::new(body))
        });
        let server = Server::start(world.protect(&layer, endless)).await;
        for wire in Wire::ALL {
            let token = world.token();
            let mut client = Client::connect(server.addr, wire).await;
            let response = client.head(get("/endless", &token)).await.unwrap();
            assert_eq!(pending.len(), 1);
            assert!(pending.shutdown(Duration::MAX).await.is_complete());
            assert_spent(&server, wire, &token, "stopped reading").await;
            // The stream itself continues.
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.to_bytes().len(), 64 << 20);
        }
    }
}

/// Answers `/held` with a body that waits for the gate, and any other path as [`answer`] does.
async fn answer_or_hold(
    request: Request<Incoming>,
    hold: Gate,
) -> Result<Response<ScriptedBody>, Infallible> {
    Ok(match request.uri().path() {
        "/held" => Response::new(ScriptedBody::new().data("first").wait_for(&hold)),
        path => answer(path),
    })
}

/// A call is rejected up front if there is no capacity for its revocation.
#[tokio::test]
async fn trap_28_no_slot_is_a_503_before_the_call() {
    let world = World::new();
    let pending = PendingRevocations::new(1);
    let layer = RevokeAfterResponseLayer::new().pending_revocations(&pending);
    let hold = Gate::closed();
    let held = hold.clone();
    let service = service_fn(move |request| answer_or_hold(request, held.clone()));
    let server = Server::start(world.protect(&layer, service)).await;
    for wire in Wire::ALL {
        let mut client = Client::connect(server.addr, wire).await;
        let first = client.head(get("/held", &world.token())).await.unwrap();
        let busy = ask(&server, wire, get("/length", &world.token())).await;
        assert_eq!(busy.status, 503);
        assert_eq!(busy.headers["retry-after"], "1");
        drop(first);
        drop(client);
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
        assert_eq!(
            ask(&server, wire, get("/length", &world.token()))
                .await
                .status,
            200
        );
    }
    hold.open();
}

/// TRAPS 42: 1,024 calls with one token share one pending revocation, whatever the capacity.
#[tokio::test]
async fn trap_42_a_thousand_calls_with_one_token_leave_slots_for_others() {
    const CALLS: usize = 1_024;
    let world = World::new();
    let pending = PendingRevocations::new(16);
    let layer = RevokeAfterResponseLayer::new()
        .deadline(Duration::from_secs(3_600))
        .pending_revocations(&pending);
    let hold = Gate::closed();
    let held = hold.clone();
    let service = service_fn(move |request| answer_or_hold(request, held.clone()));
    let server = Server::start(world.protect(&layer, service)).await;
    let client = Client::connect(server.addr, Wire::Http2).await;
    let greedy = world.token();
    let mut responses = Vec::new();
    for _ in 0..CALLS {
        let response = client.another().head(get("/held", &greedy)).await;
        responses.push(response.expect("a head"));
    }
    assert!(responses.iter().all(|response| response.status() == 200));
    assert_eq!(pending.len(), 1);
    for wire in Wire::ALL {
        let other = world.token();
        assert_eq!(ask(&server, wire, get("/length", &other)).await.status, 200);
        assert_spent(&server, wire, &other, "/length").await;
    }
    hold.open();
    for response in responses {
        response.into_body().collect().await.expect("a whole body");
    }
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_spent(&server, Wire::Http1, &greedy, "/held").await;
}
