//! Tests the bearer layer in a stack with third-party layers.

use axum::{Router, body::Body, routing::get};
use http::{Method, Request, Response, StatusCode};
use tower::ServiceExt;
use tower_http::cors::{Any, CorsLayer};
use tower_revoke_bearer::RequireClaimsLayer;
use tower_revoke_core::Authenticated;

use super::support::layer;

fn router() -> Router {
    let orders = get(async |caller: Authenticated| caller.subject().unwrap_or("").to_owned());
    let write = async |_: Authenticated| "written";
    let invoice = get(write).layer(RequireClaimsLayer::scope("orders:write"));
    Router::new()
        .route("/orders", orders)
        .route("/invoice", invoice)
        .layer(layer())
}

async fn ask(app: Router, method: Method, path: &str, token: &str) -> Response<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("origin", "https://app.example.com");
    if token.is_empty() {
        request = request
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization");
    } else {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).expect("a request");
    app.oneshot(request).await.expect("no error")
}

#[tokio::test]
async fn a_router_is_protected_as_a_whole_and_by_route() {
    for (path, token, status) in [
        ("/orders", "ann", 200),
        ("/orders", "bad", 401),
        ("/invoice", "ann", 403),
    ] {
        let answer = ask(router(), Method::GET, path, token).await;
        assert_eq!(answer.status().as_u16(), status);
    }
}

#[tokio::test]
async fn a_cors_preflight_passes_an_outer_cors_layer() {
    let cors = CorsLayer::new().allow_origin(Any).allow_headers(Any);
    let app = router().layer(cors);
    let preflight = ask(app.clone(), Method::OPTIONS, "/orders", "").await;
    assert_eq!(preflight.status(), StatusCode::OK);
    assert_eq!(preflight.headers()["access-control-allow-headers"], "*");

    // The CORS headers let the page read the reason of the rejection.
    let rejected = ask(app, Method::GET, "/orders", "bad").await;
    assert_eq!(rejected.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(rejected.headers()["access-control-allow-origin"], "*");

    // Inside the bearer layer, it would never see the preflight request.
    let cors = CorsLayer::new().allow_origin(Any).allow_headers(Any);
    let wrong = Router::new()
        .route("/orders", get(async || ""))
        .layer(cors)
        .layer(layer());
    let preflight = ask(wrong, Method::OPTIONS, "/orders", "").await;
    assert_eq!(preflight.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_optional_caller_is_an_optional_extractor() {
    let hello = async |caller: Option<Authenticated>| match caller {
        Some(caller) => format!("hello {}", caller.subject().unwrap_or("")),
        None => "hello stranger".to_owned(),
    };
    let app = Router::new()
        .route("/", get(hello))
        .layer(layer().optional());
    for (token, expected) in [("ann", "hello ann"), ("", "hello stranger")] {
        let answer = ask(app.clone(), Method::GET, "/", token).await;
        let body = axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
        assert_eq!(body, expected);
    }
}
