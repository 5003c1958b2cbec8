//! TRAPS 46: tokens in cookies, and a `Connection` header that names what the proxy sets.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_revoke_core::{BearerContext, BearerToken, internal::TokenCookies};
use tower_revoke_preserve::{
    HopByHopLayer, Outbound, OutboundAuthorizationLayer, PreserveAuthorizationLayer,
};

use crate::support::{client, echoed, received, serve};

const UPSTREAM: &str = "orders.internal";

fn layer(outbound: Outbound) -> OutboundAuthorizationLayer {
    OutboundAuthorizationLayer::strip()
        .upstream(UPSTREAM, outbound)
        .expect("valid")
}

fn request(headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::get(format!("http://{UPSTREAM}/"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).expect("a request")
}

async fn echo<B>(request: Request<B>) -> Result<Response<()>, Infallible> {
    Ok(echoed(&request))
}

/// Returns the header lines that the upstream receives.
async fn sent<S, B>(service: S, request: Request<Empty<Bytes>>) -> Vec<String>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
{
    let Ok(answer) = service.oneshot(request).await;
    lines(&received(&answer))
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let line = |(name, value): (_, &http::HeaderValue)| {
        format!("{name}: {}", value.to_str().expect("text"))
    };
    let mut lines: Vec<_> = headers.iter().map(line).collect();
    lines.sort();
    lines
}

/// Marks the request as seen by a bearer layer that reads this cookie.
fn seen_by_a_bearer_layer(
    mut request: Request<Empty<Bytes>>,
    cookie: &str,
    token: &str,
) -> Request<Empty<Bytes>> {
    let extensions = request.extensions_mut();
    TokenCookies::add(extensions, cookie.into());
    let token = BearerToken::new(token).expect("a token");
    extensions.insert(BearerContext::new(Default::default(), Some(token)));
    request
}

#[tokio::test]
async fn trap_46_a_configured_cookie_is_stripped_without_a_bearer_layer() {
    let cookies = [("cookie", "a=1; session=t"), ("cookie", "admin=u")];
    for uri in [UPSTREAM, "other.internal"] {
        let layer = layer(Outbound::keep())
            .token_cookie("session")
            .token_cookie("admin");
        let mut request = request(&cookies);
        *request.uri_mut() = format!("http://{uri}/").parse().unwrap();
        let lines = sent(layer.layer(service_fn(echo)), request).await;
        assert_eq!(lines, ["cookie: a=1"], "{uri}");
    }
}

#[tokio::test]
async fn trap_46_a_new_request_with_the_extensions_forwards_no_cookie() {
    let asked = request(&[("cookie", "session=t; a=1")]);
    let asked = seen_by_a_bearer_layer(asked, "session", "t");
    let (head, body) = asked.into_parts();
    let mut onward = request(&[("cookie", "session=t; a=1")]);
    *onward.body_mut() = body;
    *onward.extensions_mut() = head.extensions;
    let lines = sent(layer(Outbound::keep()).layer(service_fn(echo)), onward).await;
    assert_eq!(lines, ["authorization: Bearer t", "cookie: a=1"]);
}

#[tokio::test]
async fn trap_46_a_kept_token_from_a_cookie_is_sensitive_and_is_renamed_too() {
    for (outbound, name) in [
        (Outbound::keep(), "authorization"),
        (Outbound::rename("x-caller").unwrap(), "x-caller"),
    ] {
        let asked = request(&[("cookie", "session=t")]);
        let asked = seen_by_a_bearer_layer(asked, "session", "t");
        let service = layer(outbound).layer(service_fn(echo));
        let headers = received(&service.oneshot(asked).await.unwrap());
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[name], "Bearer t");
        assert!(headers[name].is_sensitive());
    }
}

#[tokio::test]
async fn trap_46_other_cookies_keep_their_sensitivity() {
    let mut asked = request(&[("cookie", "a=1; session=t"), ("cookie", "b=2")]);
    for (_, value) in asked.headers_mut() {
        value.set_sensitive(true);
    }
    let service = layer(Outbound::keep())
        .token_cookie("session")
        .layer(service_fn(echo));
    let headers = received(&service.oneshot(asked).await.unwrap());
    let cookies: Vec<_> = headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert!(cookies.iter().all(|cookie| cookie.is_sensitive()));
}

/// RFC 9113 §8.2.3.
#[tokio::test]
async fn trap_46_several_cookie_headers_over_http_2_lose_the_token_on_the_wire() {
    let upstream = serve(service_fn(async |request: Request<Incoming>| {
        let cookies = request.headers().get_all("cookie").iter();
        let cookies: Vec<_> = cookies
            .map(|cookie| cookie.to_str().unwrap_or("?"))
            .collect();
        Ok(Response::new(Full::<Bytes>::from(cookies.join(" + "))))
    }))
    .await;
    let proxy = ServiceBuilder::new()
        .layer(HopByHopLayer::via("edge").unwrap())
        .layer(OutboundAuthorizationLayer::strip().token_cookie("session"))
        .service(client(false));
    let proxy = serve(service_fn(move |mut request: Request<Incoming>| {
        let proxy = proxy.clone();
        async move {
            *request.uri_mut() = format!("http://{upstream}/").parse().expect("a URI");
            let answer = proxy.oneshot(request).await.expect("an answer");
            let body = answer.into_body().collect().await.expect("a body");
            Ok(Response::new(Full::from(body.to_bytes())))
        }
    }))
    .await;
    for (cookies, expected) in [
        (&["a=1", "session=t", "b=2"][..], "a=1; b=2"),
        (&["session=t"], ""),
        (&["session=t", "session=u; a=1"], "a=1"),
    ] {
        let mut request = Request::get(format!("http://{proxy}/"));
        for cookie in cookies {
            request = request.header("cookie", *cookie);
        }
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let answer = client(true).request(request).await.expect("an answer");
        assert_eq!(answer.version(), http::Version::HTTP_2);
        let body = answer.into_body().collect().await.expect("a body");
        assert_eq!(body.to_bytes(), expected, "{cookies:?}");
    }
}

/// Also with the layers in the wrong order.
#[tokio::test]
async fn trap_46_a_callers_connection_removes_nothing_that_the_outbound_layer_sets() {
    for (outbound, line) in [
        (Outbound::rename("x-caller").unwrap(), "x-caller: Bearer a"),
        (Outbound::keep(), "authorization: Bearer a"),
    ] {
        for connection in [
            "x-caller, Authorization",
            "close,X-Caller,authorization, x-own",
        ] {
            let headers = [
                ("authorization", "Bearer a"),
                ("connection", connection),
                ("x-own", "1"),
            ];
            let hop_by_hop = HopByHopLayer::via("edge").unwrap();
            let outbound = layer(outbound.clone());
            let inside = outbound.layer(hop_by_hop.layer(service_fn(echo)));
            let lines = sent(inside, request(&headers)).await;
            assert!(lines.iter().any(|sent| sent == line), "{lines:?}");
            // Nor does the upstream receive a `Connection` header that names it.
            let lines = sent(outbound.layer(service_fn(echo)), request(&headers)).await;
            let name = line.split(':').next().unwrap();
            let mut connections = lines.iter().filter(|line| line.starts_with("connection:"));
            assert!(
                connections.all(|line| !line.to_lowercase().contains(name)),
                "{lines:?}"
            );
        }
    }
}

/// Headers that a proxy adds between its two ends, such as the caller's name.
#[tokio::test]
async fn trap_46_a_callers_connection_removes_nothing_that_the_proxy_adds() {
    let forward = ServiceBuilder::new()
        .layer(PreserveAuthorizationLayer::new().for_proxy())
        .map_request(|mut request: Request<Empty<Bytes>>| {
            let ann = http::HeaderValue::from_static("ann");
            request.headers_mut().insert("x-user", ann);
            request
        })
        .layer(HopByHopLayer::via("edge").unwrap())
        .service_fn(async |request: Request<Empty<Bytes>>| {
            let lines = lines(request.headers()).join("\n");
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(lines)))
        });
    let headers = [
        ("connection", "close, X-User, te, x-own"),
        ("te", "trailers"),
        ("x-own", "1"),
        ("x-other", "2"),
    ];
    let answer = forward.oneshot(request(&headers)).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let expected = "connection: te\nte: trailers\nvia: 1.1 edge\nx-other: 2\nx-user: ann";
    assert_eq!(body, expected);
}
