//! RFC 9728: the metadata of the protected resource, and where challenges name it.

use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_revoke_bearer::{ProtectedResourceMetadata, RequireClaimsLayer, ResourceError};
use tower_revoke_core::internal::ForwardingForbidden;

use super::support::*;

const ORDERS: &str = "https://api.example.com/orders";

fn get_of(metadata: &ProtectedResourceMetadata, method: &str) -> Response<Full<bytes::Bytes>> {
    let request = Request::builder().method(method).body(());
    let answer = metadata.clone().oneshot(request.expect("a request"));
    let answer = futures_util::FutureExt::now_or_never(answer);
    answer.expect("at once").expect("no error")
}

async fn document(metadata: &ProtectedResourceMetadata) -> Value {
    let body = get_of(metadata, "GET").into_body().collect().await;
    serde_json::from_slice(&body.expect("a body").to_bytes()).expect("JSON")
}

#[tokio::test]
async fn rfc9728_2_the_document_names_what_the_layer_and_its_verifier_know() {
    let layer = layer().resource(ORDERS).expect("a resource");
    let plain = layer.metadata().expect("metadata");
    let expected = json!({
        "resource": ORDERS,
        "authorization_servers": ["https://id.example.com"],
        "bearer_methods_supported": ["header"],
    });
    assert_eq!(document(&plain).await, expected);

    let layer = layer.scope("orders:read").any_scope(["a", "orders:read"]);
    let layer = layer.scope("offline_access").cookie("session").query();
    let metadata = layer.metadata().expect("metadata");
    let metadata = metadata.member("resource_name", "Orders");
    let expected = json!({
        "resource": ORDERS,
        "authorization_servers": ["https://id.example.com"],
        "bearer_methods_supported": ["header", "query"],
        "scopes_supported": ["orders:read", "a"],
        "resource_name": "Orders",
    });
    assert_eq!(document(&metadata).await, expected);
}

#[test]
fn rfc9728_3_2_the_document_is_json_for_everyone() {
    let layer = layer().resource(ORDERS).expect("a resource");
    let metadata = layer.metadata().expect("metadata");
    for (method, status) in [("GET", 200), ("HEAD", 200), ("POST", 405)] {
        let answer = get_of(&metadata, method);
        assert_eq!(answer.status(), status, "{method}");
        assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        let kind = answer.headers().get(header::CONTENT_TYPE);
        assert_eq!(
            kind.is_some_and(|kind| kind == "application/json"),
            status == 200
        );
        let is_empty = http_body::Body::is_end_stream(answer.body());
        assert_eq!(is_empty, method != "GET", "{method}");
    }
}

#[test]
fn rfc9728_3_1_the_path_of_the_resource_follows_the_well_known_one() {
    for (resource, expected) in [
        ("https://api.example.com", ""),
        ("https://api.example.com/", ""),
        ("https://api.example.com/a/b", "/a/b"),
        ("https://api.example.com/a/", "/a"),
    ] {
        let layer = layer().resource(resource).expect("a resource");
        let expected = format!("/.well-known/oauth-protected-resource{expected}");
        assert_eq!(layer.metadata().expect("metadata").path(), expected);
    }
}

#[test]
fn rfc9728_1_2_a_resource_is_an_https_url_without_query_and_fragment() {
    let error = |resource: &str| layer().resource(resource).err();
    for resource in ["https://api.example.com/?a", "https://api.example.com/#a"] {
        let expected = ResourceError::QueryOrFragment(resource.to_owned());
        assert_eq!(error(resource), Some(expected));
    }
    for resource in ["http://api.example.com", "api.example.com", ""] {
        assert!(matches!(error(resource), Some(ResourceError::Url(_))));
    }
    assert_eq!(error("http://127.0.0.1:8080/mcp"), None);
    assert_eq!(layer().metadata().err(), Some(ResourceError::Missing));
}

#[tokio::test]
async fn rfc9728_5_1_challenges_name_the_metadata_and_all_scopes() {
    let layer = layer()
        .scope("orders:write")
        .resource("https://api.example.com:8443/orders")
        .expect("a resource")
        .scope("orders:read");
    let named = "scope=\"orders:write orders:read\", resource_metadata=\
                 \"https://api.example.com:8443/.well-known/oauth-protected-resource/orders\"";
    for (request, status) in [
        (build(get("/")), 401),
        (bearer("spent"), 401),
        (bearer("ann"), 403),
    ] {
        let answer = call(&layer, request).await;
        assert_eq!(answer.status(), status);
        let challenge = answer.headers()[header::WWW_AUTHENTICATE].to_str();
        let challenge = challenge.expect("text");
        assert!(challenge.ends_with(named), "{challenge}");
        assert_eq!(challenge.matches("scope=").count(), 1, "{challenge}");
    }
}

#[tokio::test]
async fn mcp_a_layer_marks_requests_whose_token_must_not_be_forwarded() {
    for (layer, expected) in [(layer(), false), (layer().forbid_forwarding(), true)] {
        let answer = call(&layer, bearer("ann")).await;
        let Seen(request) = answer.extensions().get().expect("it was called");
        let marker = request.extensions.get::<ForwardingForbidden>();
        assert_eq!(marker.is_some(), expected);
    }
}

/// A client that asks only for what the route lacks would lose what the service requires.
#[tokio::test]
async fn a_route_names_the_scopes_of_the_service_too() {
    let service = layer().scope("orders:read");
    let route = RequireClaimsLayer::scope("orders:write");
    let stack = tower::Layer::layer(&service, tower::Layer::layer(&route, inner()));
    let answer = stack.oneshot(bearer("ann")).await.expect("no error");
    assert_eq!(answer.status(), 403);
    let challenge = answer.headers()[header::WWW_AUTHENTICATE].to_str();
    let challenge = challenge.expect("text");
    assert!(
        challenge.ends_with("scope=\"orders:read orders:write\""),
        "{challenge}"
    );
}
