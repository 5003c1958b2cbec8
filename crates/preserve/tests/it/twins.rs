//! TRAPS 45: header names that CGI, WSGI and Rack map to one variable.

use std::{collections::BTreeMap, convert::Infallible};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_revoke_preserve::{ConfigError, HopByHopLayer, Outbound, OutboundAuthorizationLayer};

use crate::support::{client, echoed, received, serve};

fn layer(upstream: &str) -> Result<OutboundAuthorizationLayer, ConfigError> {
    OutboundAuthorizationLayer::strip()
        .upstream(upstream, Outbound::rename("x-caller-token")?)?
        .upstream("keep.internal", Outbound::keep())?
        .upstream("basic.internal", Outbound::client_credentials("id", "pw"))
}

fn request<B>(uri: &str, headers: &[(&str, &str)], body: B) -> Request<B> {
    let mut request = Request::post(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).expect("a request")
}

/// Responds with the headers it received.
#[derive(Clone)]
struct Echo;

impl<B> Service<Request<B>> for Echo {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        std::future::ready(Ok(echoed(&request)))
    }
}

async fn sent<L, B>(layer: L, uri: &str, headers: &[(&str, &str)]) -> HeaderMap
where
    L: Layer<Echo>,
    L::Service: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
{
    let request = request(uri, headers, Empty::new());
    let answer = layer.layer(Echo).oneshot(request).await;
    received(&answer.expect("no error"))
}

const TWINS: [&str; 5] = [
    "x_caller_token",
    "x_caller-token",
    "X-Caller_Token",
    "x.caller.token",
    "x-caller~token",
];

#[tokio::test]
async fn trap_45_a_twin_of_a_renamed_header_reaches_no_upstream() {
    let layer = layer("rename.internal").unwrap();
    for twin in TWINS {
        for (uri, expected) in [
            ("http://rename.internal/", Some("x-caller-token")),
            ("http://keep.internal/", Some("authorization")),
            ("http://basic.internal/", Some("authorization")),
            ("http://other.internal/", None),
        ] {
            let callers = [("authorization", "Bearer a"), (twin, "Bearer forged")];
            let headers = sent(layer.clone(), uri, &callers).await;
            let names: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
            assert_eq!(names, expected.as_slice(), "{twin} {uri}");
        }
    }
}

#[tokio::test]
async fn trap_45_twins_of_proxy_headers_reach_no_upstream() {
    let callers = [
        "proxy_authorization",
        "client_cert",
        "x_forwarded_for",
        "x_forwarded-host",
        "x.forwarded.proto",
        "x_original_url",
        "x_rewrite_url",
        "x_real_ip",
        "x_host",
    ];
    let callers = callers.map(|name| (name, "forged"));
    let layer = layer("rename.internal").unwrap();
    for uri in ["http://rename.internal/", "http://other.internal/"] {
        let headers = sent(layer.clone(), uri, &callers).await;
        assert!(headers.is_empty(), "{uri} {headers:?}");
    }
}

#[tokio::test]
async fn trap_45_other_names_with_an_underscore_stay() {
    let callers = [
        ("api_key", "1"),
        ("x_caller", "2"),
        ("x_caller_token_id", "3"),
    ];
    let layer = layer("rename.internal").unwrap();
    let headers = sent(layer, "http://rename.internal/", &callers).await;
    assert_eq!(headers.len(), callers.len(), "{headers:?}");
}

#[tokio::test]
async fn trap_45_twins_of_hop_by_hop_headers_are_removed() {
    let callers = [
        ("transfer_encoding", "chunked"),
        ("content_length", "9"),
        ("keep_alive", "5"),
        ("http2_settings", "a"),
        ("proxy_connection", "keep-alive"),
        ("api_key", "1"),
    ];
    let layer = HopByHopLayer::via("edge").unwrap();
    let headers = sent(layer, "http://orders.internal/", &callers).await;
    let mut names: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["api_key", "via"]);
}

#[test]
fn trap_45_credentials_are_not_renamed_to_a_twin_of_a_reserved_name() {
    for name in ["content_length", "Proxy_Authorization", "transfer.encoding"] {
        let error = Outbound::rename(name).unwrap_err();
        assert!(matches!(error, ConfigError::ReservedHeader(_)), "{name}");
    }
}

/// Responds with its variables, which CGI derives from headers (RFC 3875 §4.1.18); it merges
/// trailers into the headers.
async fn cgi(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole body");
    let trailers = body.trailers().cloned().unwrap_or_default();
    let mut variables = BTreeMap::<String, String>::new();
    for (name, value) in head.headers.iter().chain(&trailers) {
        let plain = |byte: char| match byte.is_ascii_alphanumeric() {
            true => byte.to_ascii_uppercase(),
            false => '_',
        };
        let name = name.as_str().chars().map(plain).collect();
        let variable = variables.entry(name).or_default();
        *variable += value.to_str().expect("text");
    }
    let caller = variables.remove("X_CALLER_TOKEN").unwrap_or_default();
    let forged = variables
        .into_iter()
        .filter(|(_, value)| value.contains("forged"));
    let forged: Vec<String> = forged.map(|(name, _)| name).collect();
    Ok(Response::new(Full::from(format!("{caller} {forged:?}"))))
}

fn body(
    trailers: &[(&'static str, &'static str)],
) -> impl Body<Data = Bytes, Error = Infallible> + use<> {
    let mut map = HeaderMap::new();
    for (name, value) in trailers {
        map.append(*name, value.parse().expect("a value"));
    }
    let frames = [
        Frame::data(Bytes::from_static(b"hello")),
        Frame::trailers(map),
    ];
    StreamBody::new(stream::iter(frames.map(Ok)))
}

/// Calls the upstream over HTTP/1.1 and HTTP/2.
async fn through_both(
    headers: &[(&str, &str)],
    trailers: &[(&'static str, &'static str)],
) -> Vec<String> {
    let upstream = serve(service_fn(cgi)).await;
    let mut answers = Vec::new();
    for is_http2 in [false, true] {
        let service = layer(&upstream.to_string())
            .expect("valid")
            .layer(client(is_http2));
        let request = request(&format!("http://{upstream}/"), headers, body(trailers));
        let answer = service.oneshot(request).await.expect("an answer");
        let answer = answer.into_body().collect().await.expect("a body");
        answers.push(String::from_utf8_lossy(&answer.to_bytes()).into_owned());
    }
    answers
}

#[tokio::test]
async fn trap_45_a_cgi_program_reads_only_the_verified_token() {
    for twin in TWINS {
        let headers = [
            (twin, "Bearer forged"),
            ("authorization", "Bearer checked"),
            ("x_forwarded_user", "forged"),
        ];
        let expected = "Bearer checked []";
        assert_eq!(through_both(&headers, &[]).await, [expected; 2], "{twin}");
    }
}

#[tokio::test]
async fn trap_45_a_cgi_program_that_merges_trailers_reads_no_forged_one() {
    let names = "x_caller_token, x-caller-token, x-forwarded-user, x_original_url, cookie, host, \
                 authorization, proxy_authorization, x-sum";
    let headers = [("authorization", "Bearer checked"), ("trailer", names)];
    let trailers = [
        ("x_caller_token", "Bearer forged"),
        ("x-caller-token", "Bearer forged"),
        ("x-forwarded-user", "forged"),
        ("x_original_url", "/forged"),
        ("cookie", "session=forged"),
        ("host", "forged"),
        ("authorization", "Bearer forged"),
        ("proxy_authorization", "Basic forged"),
        ("x-sum", "not forged"),
    ];
    let expected = "Bearer checked [\"X_SUM\"]";
    assert_eq!(through_both(&headers, &trailers).await, [expected; 2]);
    // If all trailers are dropped, nothing is left.
    assert_eq!(
        through_both(&headers, &trailers[..1]).await,
        ["Bearer checked []"; 2]
    );
}
