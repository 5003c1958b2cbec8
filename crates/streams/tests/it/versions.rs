//! HTTP/1.0, where a body that is cut off looks complete.

use http::{Method, Response, Version};
use tower_revoke_streams::TokenLifetimeLayer;
use tower_revoke_testing::ScriptedBody;

use crate::support::{World, call, data, endless, next};

#[tokio::test]
async fn http_10_is_rejected_before_the_handler_unless_allowed() {
    let world = World::new();
    for (method, expected) in [(Method::GET, 505), (Method::POST, 505), (Method::HEAD, 200)] {
        let mut request = world.request();
        *request.version_mut() = Version::HTTP_10;
        *request.method_mut() = method;
        let response = Response::new(ScriptedBody::new());
        let answer = call(&TokenLifetimeLayer::new(), request, response).await;
        assert_eq!(answer.status().as_u16(), expected);
    }
    let mut request = world.request();
    *request.version_mut() = Version::HTTP_10;
    let layer = TokenLifetimeLayer::new().allow_http_10();
    let mut answer = call(&layer, request, endless("text/csv", &[b"a"])).await;
    data(&mut answer).await;
    world.revoke().await;
    assert!(next(&mut answer).await.unwrap().is_err());
}

/// A proxy passes the version of its upstream on, and a server would end such a body by closing.
#[tokio::test]
async fn a_response_never_says_http_10_to_a_newer_client() {
    let world = World::new();
    let mut response = endless("text/csv", &[b"a"]);
    *response.version_mut() = Version::HTTP_10;
    let mut answer = call(&TokenLifetimeLayer::new(), world.request(), response).await;
    assert_eq!(answer.version(), Version::HTTP_11);
    data(&mut answer).await;
    world.revoke().await;
    assert!(next(&mut answer).await.unwrap().is_err());
}
