//! Tests `Host`, and the headers that replace it.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_preserve::{ConfigError, Outbound, OutboundAuthorizationLayer};

use crate::support::{client, echoed, received, serve};

/// An upstream for each way to treat the credentials, and one that is not configured.
const UPSTREAMS: [&str; 6] = [
    "strip.internal",
    "keep.internal",
    "rename.internal",
    "basic.internal",
    "bearer.internal",
    "other.internal",
];

fn layer() -> Result<OutboundAuthorizationLayer, ConfigError> {
    OutboundAuthorizationLayer::strip()
        .upstream("strip.internal", Outbound::strip())?
        .upstream("keep.internal", Outbound::keep())?
        .upstream("rename.internal", Outbound::rename("x-caller")?)?
        .upstream("basic.internal", Outbound::client_credentials("id", "pw"))?
        .upstream("bearer.internal", Outbound::bearer("backends")?)
}

async fn sent(layer: OutboundAuthorizationLayer, request: Request<Empty<Bytes>>) -> HeaderMap {
    let client = service_fn(async |request: Request<_>| Ok::<_, Infallible>(echoed(&request)));
    let answer = layer.layer(client).oneshot(request).await;
    received(&answer.expect("no error"))
}

fn request(uri: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).expect("a request")
}

/// TRAPS 41.
#[tokio::test]
async fn trap_41_the_callers_host_reaches_no_upstream() {
    for upstream in UPSTREAMS {
        let uri = format!("http://{upstream}/");
        let callers = [
            ("host", "evil-tenant.internal"),
            ("authorization", "Bearer a"),
        ];
        let headers = sent(layer().unwrap(), request(&uri, &callers)).await;
        assert!(!headers.contains_key("host"), "{upstream}");
    }
}

/// TRAPS 41.
#[tokio::test]
async fn trap_41_an_upstream_gets_the_callers_host_only_if_configured() {
    let layer = OutboundAuthorizationLayer::strip()
        .upstream("strip.internal", Outbound::strip().keep_host())
        .and_then(|layer| layer.upstream("keep.internal", Outbound::keep().keep_host()))
        .and_then(|layer| {
            layer.upstream("rename.internal", Outbound::rename("x-caller")?.keep_host())
        })
        .unwrap();
    for (upstream, host, authorization) in [
        ("strip.internal", true, None),
        ("keep.internal", true, Some("authorization")),
        ("rename.internal", true, Some("x-caller")),
        ("other.internal", false, None),
    ] {
        let uri = format!("http://{upstream}/");
        let callers = [("host", "shop.example"), ("authorization", "Bearer a")];
        let headers = sent(layer.clone(), request(&uri, &callers)).await;
        let kept = headers.get("host").map(|host| host.to_str().unwrap());
        assert_eq!(kept, host.then_some("shop.example"), "{upstream}");
        assert_eq!(
            headers.len(),
            usize::from(host) + usize::from(authorization.is_some())
        );
        assert!(authorization.is_none_or(|name| headers[name] == "Bearer a"));
    }
}

/// TRAPS 41.
#[test]
fn trap_41_the_callers_host_beside_our_own_credentials_is_an_error() {
    for ours in [
        Outbound::client_credentials("id", "pw"),
        Outbound::bearer("backends").unwrap(),
    ] {
        let error = OutboundAuthorizationLayer::strip()
            .upstream("stock.internal", ours.keep_host())
            .unwrap_err();
        assert!(matches!(error, ConfigError::HostBesideOwnCredentials(_)));
        assert!(error.to_string().contains("`stock.internal`"), "{error}");
    }
}

/// TRAPS 41. RFC 9700 §4.13, RFC 9440 §4.
#[tokio::test]
async fn trap_41_replacements_of_the_host_or_the_uri_reach_no_upstream() {
    let callers = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-server",
        "x-forwarded-proto",
        "x-forwarded-client-cert",
        "x-forwarded",
        "x-host",
        "x-http-host-override",
        "x-original-host",
        "x-original-url",
        "x-rewrite-url",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
        "client-cert",
        "client-cert-chain",
        "proxy",
    ];
    let callers = callers.map(|name| (name, "evil"));
    for upstream in UPSTREAMS {
        let uri = format!("http://{upstream}/");
        let headers = sent(layer().unwrap(), request(&uri, &callers)).await;
        assert!(
            headers.keys().all(|name| name == "authorization"),
            "{headers:?}"
        );
    }
    let others = [
        "x-forward",
        "x-originals",
        "x-hosts",
        "origin",
        "x-request-id",
        "clients",
    ];
    let headers = others.map(|name| (name, "1"));
    let uri = "http://strip.internal/";
    assert_eq!(
        sent(layer().unwrap(), request(uri, &headers)).await.len(),
        others.len()
    );
}

/// TRAPS 41: hyper's client derives `Host` and `:authority` from the URI.
#[tokio::test]
async fn trap_41_the_upstream_is_told_its_own_name_on_the_wire() {
    let upstream = serve(service_fn(async |request: Request<Incoming>| {
        let headers = request.headers();
        let host = headers.get("host").and_then(|host| host.to_str().ok());
        let body = format!(
            "{:?} {:?} {:?} {}",
            request.version(),
            request
                .uri()
                .authority()
                .map(|authority| authority.as_str()),
            host,
            headers["authorization"].to_str().unwrap_or_default(),
        );
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(body)))
    }))
    .await;
    let outbound = OutboundAuthorizationLayer::strip()
        .upstream(
            &upstream.to_string(),
            Outbound::client_credentials("id", "pw"),
        )
        .unwrap();
    for (is_http2, expected) in [
        (
            false,
            format!("HTTP/1.1 None Some(\"{upstream}\") Basic aWQ6cHc="),
        ),
        (
            true,
            format!("HTTP/2.0 Some(\"{upstream}\") None Basic aWQ6cHc="),
        ),
    ] {
        let service = outbound.layer(client(is_http2));
        let callers = [("host", "evil-tenant.internal")];
        let request = request(&format!("http://{upstream}/"), &callers);
        let answer = service.oneshot(request).await.expect("an answer");
        let body = answer.into_body().collect().await.expect("a body");
        assert_eq!(String::from_utf8_lossy(&body.to_bytes()), expected);
    }
}
