//! Tests the outbound layer.

use std::convert::Infallible;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Request, header::AUTHORIZATION};
use proptest::prelude::*;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_revoke_core::{Rejection, internal::ForwardingForbidden};
use tower_revoke_preserve::{
    ConfigError, OriginalAuthorization, Outbound, OutboundAuthorizationLayer, OutboundBody,
};

use crate::support::{echoed, received};

const TOKEN: &str = "Bearer callers";

fn layer() -> Result<OutboundAuthorizationLayer, ConfigError> {
    OutboundAuthorizationLayer::strip()
        .upstream("orders.internal", Outbound::keep())?
        .upstream(
            "legacy.internal:8080",
            Outbound::rename("X-Forwarded-Authorization")?,
        )?
        .upstream(
            "id.internal",
            Outbound::client_credentials("my id", "s:cret"),
        )?
        .upstream("stock.internal", Outbound::bearer("backends")?)
}

/// Returns the headers as the upstream receives them.
async fn sent(request: Request<()>) -> HeaderMap {
    let client = service_fn(async |request: Request<OutboundBody<()>>| {
        Ok::<_, Infallible>(echoed(&request))
    });
    let service = layer().expect("valid").layer(client);
    let answer = service.oneshot(request).await;
    received(&answer.expect("no error"))
}

fn to(uri: &str) -> Request<()> {
    with(uri, &[("authorization", TOKEN)])
}

fn with(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let request = headers
        .iter()
        .fold(Request::get(uri), |request, (name, value)| {
            request.header(*name, *value)
        });
    request.body(()).expect("a request")
}

#[tokio::test]
async fn an_upstream_that_is_not_configured_gets_nothing() {
    for uri in [
        "http://other.internal/",
        "http://orders.internal:81/",
        "http://orders.internal@evil.example/",
        "http://legacy.internal/",
        "/",
    ] {
        assert!(!sent(to(uri)).await.contains_key("authorization"), "{uri}");
        let mut request = with(uri, &[]);
        let original = OriginalAuthorization::new(HeaderValue::from_static(TOKEN));
        request.extensions_mut().insert(original);
        assert!(sent(request).await.is_empty(), "{uri}");
    }
}

#[tokio::test]
async fn rfc9110_11_6_2_a_kept_header_is_forwarded_unchanged_and_sensitive() {
    for uri in ["http://orders.internal/", "https://ORDERS.internal:443/"] {
        let headers = sent(to(uri)).await;
        assert_eq!(headers["authorization"], TOKEN);
        assert!(headers["authorization"].is_sensitive());
    }
    // A caller's `Host` doesn't determine where the connection goes.
    let by_host = with(
        "/",
        &[("host", "orders.internal"), ("authorization", TOKEN)],
    );
    assert!(!sent(by_host).await.contains_key("authorization"));
}

#[tokio::test]
async fn a_kept_header_comes_back_if_a_layer_has_removed_it() {
    let original = OriginalAuthorization::new(HeaderValue::from_static(TOKEN));
    for (uri, name) in [
        ("http://orders.internal/", "authorization"),
        ("http://legacy.internal:8080/", "x-forwarded-authorization"),
    ] {
        let mut request = with(uri, &[]);
        request.extensions_mut().insert(original.clone());
        let headers = sent(request).await;
        assert_eq!(headers[name], TOKEN);
        assert_eq!(headers.len(), 1);
    }
    // A value that another layer has set in its place stays.
    let mut request = with(
        "http://orders.internal/",
        &[("authorization", "Bearer new")],
    );
    request.extensions_mut().insert(original);
    assert_eq!(sent(request).await["authorization"], "Bearer new");
}

#[tokio::test]
async fn two_headers_are_both_dropped() {
    let twice = [("authorization", TOKEN), ("authorization", "Bearer other")];
    for uri in ["http://orders.internal/", "http://legacy.internal:8080/"] {
        assert!(sent(with(uri, &twice)).await.is_empty());
    }
}

#[tokio::test]
async fn a_renamed_header_replaces_an_existing_one() {
    let headers = sent(to("http://legacy.internal:8080/")).await;
    assert_eq!(headers["x-forwarded-authorization"], TOKEN);
    assert!(headers["x-forwarded-authorization"].is_sensitive());
    assert!(!headers.contains_key("authorization"));
}

#[tokio::test]
async fn rfc6749_2_3_1_client_credentials_are_form_urlencoded_and_the_only_method() {
    let headers = sent(to("http://id.internal/revoke")).await;
    let values: Vec<_> = headers.get_all("authorization").iter().collect();
    assert_eq!(values.len(), 1);
    let basic = values[0].to_str().unwrap().strip_prefix("Basic ").unwrap();
    let pair = BASE64_STANDARD.decode(basic).unwrap();
    assert_eq!(pair, b"my+id:s%3Acret");
    assert!(values[0].is_sensitive());
}

#[tokio::test]
async fn a_backend_gets_its_own_token() {
    for request in [
        to("http://stock.internal/"),
        with("http://stock.internal/", &[]),
    ] {
        let headers = sent(request).await;
        assert_eq!(headers["authorization"], "Bearer backends");
        assert_eq!(headers.get_all("authorization").iter().count(), 1);
        assert!(headers["authorization"].is_sensitive());
    }
}

#[tokio::test]
async fn rfc9700_4_13_a_renamed_header_that_a_client_sends_is_dropped_for_every_upstream() {
    let forged = [
        ("x-forwarded-authorization", "Bearer forged"),
        ("X-FORWARDED-Authorization", "Bearer forged too"),
    ];
    for uri in [
        "http://orders.internal/",
        "http://legacy.internal:8080/",
        "http://id.internal/",
        "http://stock.internal/",
        "http://other.internal/",
    ] {
        let headers = sent(with(uri, &forged)).await;
        assert!(!headers.contains_key("x-forwarded-authorization"), "{uri}");
    }
    let mut both = with("http://legacy.internal:8080/", &forged);
    let token = HeaderValue::from_static(TOKEN);
    both.headers_mut().insert(AUTHORIZATION, token);
    let headers = sent(both).await;
    let values: Vec<_> = headers
        .get_all("x-forwarded-authorization")
        .iter()
        .collect();
    assert_eq!(values, [TOKEN]);
}

#[tokio::test]
async fn rfc9110_11_7_2_credentials_for_this_proxy_end_here() {
    for uri in ["http://orders.internal/", "http://other.internal/"] {
        let request = with(uri, &[("proxy-authorization", "Basic YTpi")]);
        assert!(sent(request).await.is_empty());
    }
}

#[tokio::test]
async fn other_headers_and_the_uri_stay() {
    let headers = [
        ("accept", "text/html"),
        ("cookie", "a=b"),
        ("authorization", TOKEN),
    ];
    let sent = sent(with("http://orders.internal/a?b", &headers)).await;
    assert_eq!(sent.len(), 3);
}

#[tokio::test]
async fn the_first_of_two_matching_upstreams_wins() {
    let client = service_fn(async |request: Request<OutboundBody<()>>| {
        Ok::<_, Infallible>(echoed(&request))
    });
    let renamed = || Outbound::rename("x-renamed").unwrap();
    for (first, second, kept) in [
        (Outbound::keep(), renamed(), true),
        (renamed(), Outbound::keep(), false),
    ] {
        let layer = OutboundAuthorizationLayer::strip()
            .upstream("host", first)
            .and_then(|layer| layer.upstream("host:80", second))
            .unwrap();
        let answer = layer.layer(client).oneshot(to("http://host/")).await;
        let headers = received(&answer.unwrap());
        assert_eq!(headers.contains_key("authorization"), kept);
    }
}

#[tokio::test]
async fn every_request_of_one_service_is_handled_by_its_target() {
    let client = service_fn(async |request: Request<OutboundBody<()>>| {
        Ok::<_, Infallible>(echoed(&request))
    });
    let mut service = layer().unwrap().layer(client);
    for (uri, kept) in [
        ("http://orders.internal/", true),
        ("http://evil.example/", false),
        ("http://orders.internal/", true),
    ] {
        let answer = service.ready().await.unwrap().call(to(uri)).await;
        let headers = received(&answer.unwrap());
        assert_eq!(headers.contains_key("authorization"), kept, "{uri}");
    }
}

/// MCP, "Token Handling": a server must not pass on the token that it received.
#[tokio::test]
async fn mcp_a_request_that_forbids_it_takes_no_credentials_along() {
    let client = service_fn(async |request: Request<OutboundBody<()>>| {
        Ok::<_, Infallible>(echoed(&request))
    });
    let service = layer().expect("valid").layer(client);
    for (uri, is_rejected) in [
        ("http://orders.internal/", true),
        ("http://legacy.internal:8080/", true),
        ("http://id.internal/", false),
        ("http://stock.internal/", false),
        ("http://other.internal/", false),
    ] {
        for mut request in [to(uri), with(uri, &[])] {
            request.extensions_mut().insert(ForwardingForbidden);
            let answer = service.clone().oneshot(request).await.expect("no error");
            let status = if is_rejected { 500 } else { 200 };
            assert_eq!(answer.status(), status, "{uri}");
            let was_sent = answer.extensions().get::<HeaderMap>().is_some();
            assert_eq!(was_sent, !is_rejected, "{uri}");
            let rejection = answer.extensions().get::<Rejection>();
            let why = rejection.map(|rejection| rejection.description().to_owned());
            let forbids = |why: String| why.contains("must not be forwarded");
            assert_eq!(why.is_some_and(forbids), is_rejected, "{uri}");
        }
    }
}

#[test]
fn invalid_settings_are_errors() {
    let strip = OutboundAuthorizationLayer::strip;
    assert!(matches!(
        strip().upstream("http://orders.internal", Outbound::keep()),
        Err(ConfigError::InvalidUpstream(_))
    ));
    let once = strip().upstream("a:80", Outbound::keep()).unwrap();
    assert!(matches!(
        once.upstream("A:80", Outbound::client_credentials("a", "b")),
        Err(ConfigError::UpstreamNamedTwice(_))
    ));
    assert!(matches!(
        Outbound::rename("no header"),
        Err(ConfigError::InvalidHeaderName { .. })
    ));
    for name in ["Authorization", "host", "Connection", "content-length"] {
        let error = Outbound::rename(name).unwrap_err();
        assert!(matches!(error, ConfigError::ReservedHeader(_)), "{name}");
    }
    for token in ["", "a b", "a\r\nb", "é"] {
        let error = Outbound::bearer(token).unwrap_err();
        assert!(matches!(error, ConfigError::InvalidToken(_)), "{token}");
    }
}

/// RFC 9700 §4.9.3: tokens are secrets.
#[test]
fn debug_and_errors_show_no_secret() {
    let shown = format!("{:?}", layer().unwrap());
    for secret in ["s:cret", "s%3Acret", "backends", "bXk", "Basic", "Bearer"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let error = Outbound::bearer("se cret").unwrap_err();
    assert!(!format!("{error:?} {error}").contains("cret"));
    for upstream in ["me:s@cret@host", "https://me:secret@host:80/"] {
        let error = OutboundAuthorizationLayer::strip()
            .upstream(upstream, Outbound::keep())
            .unwrap_err();
        let shown = format!("{error:?} {error}");
        assert!(!shown.contains("cret") && shown.contains("host"), "{shown}");
    }
}

proptest! {
    #[test]
    fn a_token_goes_only_to_configured_hosts(
        https: bool,
        user in prop::option::of("[a-z.]{1,8}(:[a-z0-9]{0,3})?"),
        host in "[oO]rders\\.internal|evil\\.example|orders\\.internal\\.example|[a-z.-]{1,12}",
        port in prop::option::of(prop_oneof![Just(80), Just(443), 0..100_000_u32]),
        rest in "(/[a-z@.:/]{0,20})?(\\?[a-z@.:/]{0,20})?",
    ) {
        let scheme = if https { "https" } else { "http" };
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        let colon_port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let uri = format!("{scheme}://{user}{host}{colon_port}{rest}");
        if uri.parse::<http::Uri>().is_err() {
            return Ok(());
        }
        let default = if https { 443 } else { 80 };
        let named = host.eq_ignore_ascii_case("orders.internal")
            && port.is_none_or(|port| port == default);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sent = runtime.block_on(sent(to(&uri)));
        prop_assert_eq!(sent.contains_key("authorization"), named);
    }
}
