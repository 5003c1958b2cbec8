//! Tests that gRPC calls are rejected with a trailers-only response.

use http::{Request, Version};
use http_body::Body;

use super::support::*;

fn grpc(content_type: &str, token: &str) -> Request<()> {
    grpc_over(Version::HTTP_2, content_type, token)
}

fn grpc_over(version: Version, content_type: &str, token: &str) -> Request<()> {
    let request = Request::post("/orders.Orders/List")
        .version(version)
        .header("content-type", content_type)
        .header("authorization", format!("Bearer {token}"));
    build(request)
}

#[tokio::test]
async fn grpc_rejections_are_trailers_only() {
    for (layer, token, status) in [
        (layer(), "bad", "16"),
        (layer(), "", "16"),
        (layer().scope("orders:write"), "ann", "7"),
        (layer(), "unavailable", "14"),
    ] {
        for content_type in ["application/grpc", "application/grpc+proto"] {
            for version in [Version::HTTP_2, Version::HTTP_3] {
                let answer = call(&layer, grpc_over(version, content_type, token)).await;
                assert_eq!(answer.status(), 200);
                assert_eq!(answer.headers()["grpc-status"], status);
                assert_eq!(answer.headers()["content-type"], "application/grpc");
                assert!(answer.body().is_end_stream());
                assert!(seen(&answer).is_none());
            }
        }
    }
}

#[tokio::test]
async fn grpc_rejections_can_be_deferred() {
    let gate = tower_revoke_testing::Gate::closed();
    gate.open();
    let layer = tower_revoke_bearer::RequireBearerLayer::new(Tokens::later(&gate));
    let answer = call(&layer, grpc("application/grpc", "bad")).await;
    assert_eq!(answer.headers()["grpc-status"], "16");
}

#[tokio::test]
async fn grpc_web_is_not_grpc() {
    let answer = call(&layer(), grpc("application/grpc-web", "bad")).await;
    assert_eq!(answer.status(), 401);
}
