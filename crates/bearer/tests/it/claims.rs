//! Tests `RequireClaimsLayer` on a route behind a bearer layer.

use http::Request;
use serde_json::json;
use tower::{Layer, ServiceExt};
use tower_revoke_bearer::{RequireBearerLayer, RequireClaimsLayer};
use tower_revoke_core::{Reason, Rejection};

use super::support::*;

async fn ask(
    bearer: Option<RequireBearerLayer<Tokens>>,
    claims: RequireClaimsLayer,
    request: Request<()>,
) -> (u16, Option<Reason>, http::HeaderMap) {
    let route = claims.layer(inner());
    let (status, headers, extensions) = match bearer {
        Some(bearer) => {
            let answer = bearer
                .layer(route)
                .oneshot(request)
                .await
                .expect("no error");
            (
                answer.status(),
                answer.headers().clone(),
                answer.extensions().clone(),
            )
        }
        None => {
            let answer = route.oneshot(request).await.expect("no error");
            (
                answer.status(),
                answer.headers().clone(),
                answer.extensions().clone(),
            )
        }
    };
    let reason = extensions.get::<Rejection>().map(Rejection::reason);
    (status.as_u16(), reason, headers)
}

#[tokio::test]
async fn a_route_can_require_more_than_the_service() {
    for (claims, status) in [
        (RequireClaimsLayer::scope("orders:read"), 200),
        (RequireClaimsLayer::scope("orders:write"), 403),
        (
            RequireClaimsLayer::any_scope(["orders:write", "orders:list"]),
            200,
        ),
        (RequireClaimsLayer::claim("tenant", "acme"), 200),
        (RequireClaimsLayer::claim("level", json!(4)), 403),
        (
            RequireClaimsLayer::scope("orders:read").and_claim("tenant", "other"),
            403,
        ),
        (
            RequireClaimsLayer::claim("tenant", "acme").and_scope("orders:write"),
            403,
        ),
        (
            RequireClaimsLayer::scope("orders:read").and_any_scope(["a", "b"]),
            403,
        ),
    ] {
        let answer = ask(Some(layer()), claims, bearer("ann")).await;
        assert_eq!(answer.0, status);
    }
}

#[tokio::test]
async fn rfc6750_3_1_a_route_names_the_scope_in_the_realm_of_the_bearer_layer() {
    let claims = RequireClaimsLayer::scope("orders:write");
    let (status, _, headers) = ask(Some(layer().realm("orders")), claims, bearer("ann")).await;
    assert_eq!(status, 403);
    let challenge = headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("Bearer realm=\"orders\", error=\"insufficient_scope\""));
    assert!(challenge.ends_with("scope=\"orders:write\""));
}

#[tokio::test]
async fn a_route_behind_an_optional_or_observing_layer_responds_401() {
    for (bearer_layer, request) in [
        (layer().optional(), build(get("/"))),
        (layer().observe(), bearer("bad")),
    ] {
        let claims = RequireClaimsLayer::scope("orders:read");
        let (status, reason, headers) = ask(Some(bearer_layer), claims, request).await;
        assert_eq!((status, reason), (401, Some(Reason::NoToken)));
        assert_eq!(headers["www-authenticate"], "Bearer realm=\"api\"");
    }
}

#[tokio::test]
async fn a_missing_bearer_layer_is_a_misconfiguration() {
    let claims = RequireClaimsLayer::scope("orders:read");
    let (status, reason, headers) = ask(None, claims, bearer("ann")).await;
    assert_eq!((status, reason), (500, Some(Reason::Misconfigured)));
    assert!(!headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn grpc_callers_get_a_grpc_status_from_the_route() {
    let mut request = bearer("ann");
    *request.method_mut() = http::Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    let grpc = http::HeaderValue::from_static("application/grpc");
    request.headers_mut().insert("content-type", grpc);
    let claims = RequireClaimsLayer::scope("orders:write");
    let (status, _, headers) = ask(Some(layer()), claims, request).await;
    assert_eq!(status, 200);
    assert_eq!(headers["grpc-status"], "7");
}
