//! gRPC: a status in the trailers, after a message.

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::Empty;
use tower_revoke_streams::TokenLifetimeLayer;
use tower_revoke_testing::{Gate, ScriptedBody};

use crate::support::{World, call, data, endless, next};

fn request(world: &World) -> Request<Empty<Bytes>> {
    let mut request = world.request();
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    request
}

#[tokio::test]
async fn trailers_end_a_call_after_a_message() {
    let world = World::new();
    let response = endless("application/grpc+proto", &[b"\0\0\0\0\x02ab"]);
    let mut answer = call(&TokenLifetimeLayer::new(), request(&world), response).await;
    data(&mut answer).await;
    let (trailers, ()) = tokio::join!(next(&mut answer), world.revoke());
    let trailers = trailers.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "16");
    assert_eq!(trailers["grpc-message"], "the token was revoked");
    assert!(next(&mut answer).await.is_none());
}

#[tokio::test]
async fn a_message_that_has_begun_is_completed() {
    let world = World::new();
    let gate = Gate::closed();
    let body = ScriptedBody::new()
        .data(&b"\0\0\0\0\x04ab"[..])
        .wait_for(&gate);
    let body = body.data(&b"cd\0\0\0\0\x01e"[..]).data(&b"\0\0\0\0\0"[..]);
    let mut response = endless("application/grpc", &[]);
    *response.body_mut() = body;
    let mut answer = call(&TokenLifetimeLayer::new(), request(&world), response).await;
    data(&mut answer).await;
    world.revoke().await;
    gate.open();
    assert_eq!(data(&mut answer).await, "cd");
    let trailers = next(&mut answer).await.unwrap().unwrap().into_trailers();
    assert_eq!(trailers.unwrap()["grpc-status"], "16");
}

/// TRAPS 39: over HTTP/1.1 or without a gRPC response, it is a body like any other.
#[tokio::test]
async fn trap_39_a_content_type_alone_makes_no_trailers() {
    for (version, content_type) in [
        (Version::HTTP_11, "application/grpc"),
        (Version::HTTP_2, "text/plain"),
        (Version::HTTP_2, "application/grpc-web"),
    ] {
        let world = World::new();
        let mut request = request(&world);
        *request.version_mut() = version;
        let response = endless(content_type, &[b"\0\0\0\0\x02ab"]);
        let mut answer = call(&TokenLifetimeLayer::new(), request, response).await;
        data(&mut answer).await;
        world.revoke().await;
        assert!(next(&mut answer).await.unwrap().is_err());
    }
}
