//! Tests which connection-specific headers are removed, from requests and from responses.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_preserve::{
    ConfigError, HopByHopLayer, Outbound, OutboundAuthorizationLayer, OutboundBody,
};

use crate::support::{echoed, received};

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn empty() -> Body {
    Empty::new().boxed_unsync()
}

fn full(text: &'static str) -> Body {
    Full::from(text).boxed_unsync()
}

fn unknown_length() -> Body {
    StreamBody::new(futures_util::stream::empty()).boxed_unsync()
}

fn request(version: Version, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::get("http://orders.internal/").version(version);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).expect("a request")
}

/// Returns the lines of a head, in order.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let line = |(name, value): (_, &http::HeaderValue)| {
        format!("{name}: {}", value.to_str().expect("text"))
    };
    let mut lines: Vec<_> = headers.iter().map(line).collect();
    lines.sort();
    lines
}

/// Returns the request as the proxy's client receives it.
async fn sent(request: Request<Body>) -> Request<()> {
    let client = service_fn(async |request: Request<Body>| {
        let (head, _) = request.into_parts();
        Ok::<_, Infallible>(Response::new(Request::from_parts(head, ())))
    });
    let service = HopByHopLayer::via("edge").expect("a name").layer(client);
    service
        .oneshot(request)
        .await
        .expect("an answer")
        .into_body()
}

async fn sent_lines(version: Version, headers: &[(&str, &str)], body: Body) -> Vec<String> {
    lines(sent(request(version, headers, body)).await.headers())
}

#[tokio::test]
async fn rfc9110_7_6_1_what_connection_names_is_removed_and_so_is_connection() {
    let headers = [
        ("connection", "close, X-One,\tx-two ,,"),
        ("connection", "x-three"),
        ("x-one", "1"),
        ("x-two", "2"),
        ("x-three", "3"),
        ("x-four", "4"),
    ];
    let sent = sent_lines(Version::HTTP_11, &headers, empty()).await;
    assert_eq!(sent, ["via: 1.1 edge", "x-four: 4"]);
}

#[tokio::test]
async fn rfc9110_7_6_1_hop_by_hop_fields_are_removed_even_if_not_listed() {
    let headers = [
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic abc"),
        ("proxy-anything", "x"),
        ("te", "gzip"),
        ("upgrade", "h2c"),
        ("http2-settings", "abc"),
        ("expect", "100-continue"),
        ("trailer", "x-sum"),
        ("accept", "*/*"),
    ];
    let sent = sent_lines(Version::HTTP_11, &headers, empty()).await;
    assert_eq!(sent, ["accept: */*", "trailer: x-sum", "via: 1.1 edge"]);
}

#[tokio::test]
async fn rfc9110_10_1_4_te_trailers_is_forwarded() {
    for te in ["trailers", "gzip, Trailers"] {
        let sent = sent_lines(Version::HTTP_2, &[("te", te)], empty()).await;
        assert_eq!(sent, ["connection: te", "te: trailers", "via: 2 edge"]);
    }
}

#[tokio::test]
async fn rfc9110_7_6_3_each_hop_adds_itself_with_the_received_version() {
    for (version, via) in [
        (Version::HTTP_10, "1.0 edge"),
        (Version::HTTP_11, "1.1 edge"),
        (Version::HTTP_2, "2 edge"),
        (Version::HTTP_3, "3 edge"),
    ] {
        let before = sent(request(version, &[("via", "1.1 further")], empty())).await;
        assert_eq!(before.version(), Version::HTTP_11);
        let hops: Vec<_> = before.headers().get_all("via").iter().collect();
        assert_eq!(hops, ["1.1 further", via]);
    }
}

#[test]
fn rfc9110_7_6_3_a_name_is_a_host_or_a_pseudonym() {
    for name in ["edge", "edge.example:8080", "[::1]:80", "a_b"] {
        assert!(HopByHopLayer::via(name).is_ok(), "{name}");
    }
    for name in ["", "two words", "a,b", "edge\r\nx: y", "(comment)"] {
        let error = HopByHopLayer::via(name).unwrap_err();
        assert!(matches!(error, ConfigError::InvalidPseudonym(_)), "{name}");
    }
}

#[tokio::test]
async fn rfc9112_6_3_a_length_beside_transfer_encoding_is_removed() {
    let headers = [("content-length", "5"), ("transfer-encoding", "chunked")];
    let sent = sent_lines(Version::HTTP_11, &headers, unknown_length()).await;
    assert_eq!(sent, ["transfer-encoding: chunked", "via: 1.1 edge"]);
}

#[tokio::test]
async fn a_body_is_reframed_by_its_known_length() {
    let with_length = [("content-length", "5")];
    let sent = sent_lines(Version::HTTP_2, &with_length, full("hello")).await;
    assert_eq!(sent, ["content-length: 5", "via: 2 edge"]);
    let sent = sent_lines(Version::HTTP_2, &[], unknown_length()).await;
    assert_eq!(sent, ["transfer-encoding: chunked", "via: 2 edge"]);
    let sent = sent_lines(Version::HTTP_2, &[], full("hello")).await;
    assert_eq!(sent, ["via: 2 edge"]);
}

#[tokio::test]
async fn rfc9113_8_2_3_cookie_lines_of_http_2_become_one() {
    let cookies = [("cookie", "a=1"), ("cookie", "b=2")];
    let sent = sent_lines(Version::HTTP_2, &cookies, empty()).await;
    assert_eq!(sent, ["cookie: a=1; b=2", "via: 2 edge"]);
    let sent = sent_lines(Version::HTTP_3, &cookies, empty()).await;
    assert_eq!(sent, ["cookie: a=1; b=2", "via: 3 edge"]);
    let sent = sent_lines(Version::HTTP_11, &cookies, empty()).await;
    assert_eq!(sent, ["cookie: a=1", "cookie: b=2", "via: 1.1 edge"]);
}

const WEBSOCKET: [(&str, &str); 2] = [
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "WebSocket"),
];

#[tokio::test]
async fn rfc9110_7_8_a_websocket_upgrade_is_forwarded() {
    let sent = sent_lines(Version::HTTP_11, &WEBSOCKET, empty()).await;
    assert_eq!(
        sent,
        ["connection: upgrade", "upgrade: websocket", "via: 1.1 edge"]
    );
}

#[tokio::test]
async fn rfc9110_7_8_no_other_upgrade_is_forwarded() {
    let upgrade = |upgrade| vec![("connection", "upgrade"), ("upgrade", upgrade)];
    for headers in [
        upgrade("h2c"),
        upgrade("websocket, h2c"),
        upgrade("h2c, websocket"),
        upgrade("TLS/1.0"),
        vec![("upgrade", "websocket")],
        vec![
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("upgrade", "h2c"),
        ],
    ] {
        let sent = sent_lines(Version::HTTP_11, &headers, empty()).await;
        assert_eq!(sent, ["via: 1.1 edge"], "{headers:?}");
    }
    for (version, body) in [
        (Version::HTTP_10, empty()),
        (Version::HTTP_2, empty()),
        (Version::HTTP_11, full("hello")),
    ] {
        let sent = sent(request(version, &WEBSOCKET, body)).await;
        assert!(!sent.headers().contains_key("upgrade"), "{version:?}");
    }
    let mut post = request(Version::HTTP_11, &WEBSOCKET, empty());
    *post.method_mut() = Method::POST;
    assert!(!sent(post).await.headers().contains_key("upgrade"));
}

/// Returns the response to `request` after the layer, for an upstream that sends `status` and
/// `headers`.
async fn answered(
    request: Request<Body>,
    status: u16,
    headers: &[(&str, &str)],
) -> Response<&'static str> {
    let client = service_fn(async |_: Request<Body>| {
        let mut response = Response::builder()
            .status(status)
            .version(Version::HTTP_10)
            .extension("the connection");
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Ok::<_, Infallible>(response.body("body").expect("a response"))
    });
    let service = HopByHopLayer::via("edge").expect("a name").layer(client);
    service.oneshot(request).await.expect("an answer")
}

#[tokio::test]
async fn rfc9110_7_6_1_hop_by_hop_fields_of_responses_are_removed_too() {
    let headers = [
        ("connection", "close, x-one"),
        ("x-one", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("upgrade", "h2c"),
        ("content-length", "9"),
        ("transfer-encoding", "chunked"),
        ("trailer", "x-sum"),
        ("www-authenticate", "Bearer"),
    ];
    let request = request(Version::HTTP_11, &[], empty());
    let response = answered(request, 200, &headers).await;
    assert_eq!(response.version(), Version::HTTP_11);
    assert_eq!(
        lines(response.headers()),
        [
            "trailer: x-sum",
            "via: 1.0 edge",
            "www-authenticate: Bearer"
        ]
    );
}

#[tokio::test]
async fn rfc9110_7_8_a_requested_101_is_passed_back() {
    let asked = request(Version::HTTP_11, &WEBSOCKET, empty());
    let response = answered(asked, 101, &WEBSOCKET).await;
    assert_eq!(response.status(), 101);
    assert_eq!(
        lines(response.headers()),
        ["connection: upgrade", "upgrade: websocket", "via: 1.0 edge"]
    );
    assert!(response.extensions().get::<&str>().is_some());
}

#[tokio::test]
async fn rfc9110_7_8_an_unrequested_101_is_a_502_without_an_upgrade() {
    let h2c = [("connection", "upgrade"), ("upgrade", "h2c")];
    for (asked, says) in [
        (request(Version::HTTP_11, &[], empty()), WEBSOCKET),
        (request(Version::HTTP_11, &h2c, empty()), h2c),
        (request(Version::HTTP_11, &WEBSOCKET, empty()), h2c),
        (request(Version::HTTP_2, &WEBSOCKET, empty()), WEBSOCKET),
    ] {
        let response = answered(asked, 101, &says).await;
        assert_eq!(response.status(), 502);
        assert!(response.headers().is_empty() && response.extensions().is_empty());
    }
}

/// Outside the layer that sets credentials, so that a caller's `Connection` can't name them.
#[tokio::test]
async fn rfc9110_7_6_1_a_caller_can_not_name_what_inner_layers_add() {
    let client = service_fn(async |request: Request<OutboundBody<Body>>| {
        Ok::<_, Infallible>(echoed(&request))
    });
    let outbound = OutboundAuthorizationLayer::strip()
        .upstream("orders.internal", Outbound::client_credentials("a", "b"))
        .unwrap();
    let service = HopByHopLayer::via("edge")
        .unwrap()
        .layer(outbound.layer(client));
    let headers = [("connection", "authorization"), ("authorization", "x")];
    let sent = service.oneshot(request(Version::HTTP_11, &headers, empty()));
    assert_eq!(
        lines(&received(&sent.await.unwrap())),
        ["authorization: Basic YTpi", "via: 1.1 edge"]
    );
}
