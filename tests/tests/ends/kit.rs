//! A service whose responses end in every way, behind a layer that spends.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use tower::{service_fn, util::Either};
use tower_revoke::{RevokeAfterResponseLayer, UseLimitLayer};
use tower_revoke_testing::ScriptedBody;
use tower_revoke_tests::{Answer, Client, Server, Wire, World, get};

/// The ways in which a response can end, each a path of the service.
pub(crate) const WAYS: [&str; 17] = [
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
pub(crate) const WITH_HEAD: [&str; 6] = [
    "/204",
    "/205",
    "/304",
    "/empty",
    "/length-zero",
    "/length-zero-header",
];

pub(crate) fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("3"));
    trailers
}

pub(crate) fn answer(path: &str) -> Response<ScriptedBody> {
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

pub(crate) async fn ways(request: Request<Incoming>) -> Result<Response<ScriptedBody>, Infallible> {
    Ok(answer(request.uri().path()))
}

/// Either of the two spending layers.
pub(crate) type SpendLayer = Either<UseLimitLayer, RevokeAfterResponseLayer>;

pub(crate) trait ToSpendLayer {
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

pub(crate) async fn serve(world: &World, layer: &impl ToSpendLayer) -> Server {
    let layer = layer.to_spend_layer();
    Server::start(world.protect(&layer, service_fn(ways))).await
}

pub(crate) async fn ask(server: &Server, wire: Wire, request: Request<Empty<Bytes>>) -> Answer {
    let mut client = Client::connect(server.addr, wire).await;
    client.send(request).await.expect("a head")
}

pub(crate) async fn assert_spent(server: &Server, wire: Wire, token: &str, way: &str) {
    let again = ask(server, wire, get("/length", token)).await;
    assert_eq!(again.verdict(), "401 invalid_token", "{wire:?} {way}");
}
