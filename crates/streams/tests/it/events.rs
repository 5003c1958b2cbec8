//! `text/event-stream`: a clean end after an event.

use std::time::Duration;

use http::Response;
use http_body::Body;
use tower_revoke_streams::TokenLifetimeLayer;
use tower_revoke_testing::{Gate, ScriptedBody};

use crate::support::{LIFE, World, call, data, endless, next};

fn events(body: ScriptedBody) -> Response<ScriptedBody> {
    let response = Response::builder().header("content-type", "Text/Event-Stream; charset=utf-8");
    response.body(body).unwrap()
}

#[tokio::test]
async fn events_end_cleanly_and_with_the_named_event() {
    for (layer, last) in [
        (TokenLifetimeLayer::new(), None),
        (
            TokenLifetimeLayer::new().end_event("token\n-ended"),
            Some("event: token-ended\ndata: revoked\n\n"),
        ),
    ] {
        let world = World::new();
        let response = endless("text/event-stream", &[b"data: 1\n\n"]);
        let mut answer = call(&layer, world.request(), response).await;
        data(&mut answer).await;
        let (frame, ()) = tokio::join!(next(&mut answer), world.revoke());
        let frame = frame.map(|frame| frame.unwrap().into_data().unwrap());
        assert_eq!(frame.as_deref(), last.map(str::as_bytes));
        assert!(next(&mut answer).await.is_none());
        assert!(answer.body().is_end_stream());
    }
}

#[tokio::test]
async fn an_event_that_has_begun_is_completed_and_no_other_begins() {
    let world = World::new();
    let gate = Gate::closed();
    let body = ScriptedBody::new()
        .data("data: 1\n\ndata: 2")
        .wait_for(&gate);
    let body = body.data("3\n\ndata: 4\n\n").data("data: 5\n\n");
    let layer = TokenLifetimeLayer::new().end_event("end");
    let mut answer = call(&layer, world.request(), events(body)).await;
    data(&mut answer).await;
    world.revoke().await;
    gate.open();
    assert_eq!(data(&mut answer).await, "3\n\n");
    assert_eq!(data(&mut answer).await, "event: end\ndata: revoked\n\n");
    assert!(next(&mut answer).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_does_not_end_is_cut_off() {
    let world = World::new();
    let response = endless("text/event-stream", &[b"data: 1"]);
    let mut answer = call(&TokenLifetimeLayer::new(), world.request(), response).await;
    data(&mut answer).await;
    world.revoke().await;
    let begun = tokio::time::Instant::now();
    assert!(next(&mut answer).await.expect("an error").is_err());
    assert_eq!(begun.elapsed().as_secs(), 1);
}

#[tokio::test]
async fn nothing_is_added_to_encoded_events_and_a_length_is_not_broken_quietly() {
    for (name, value, is_error) in [
        ("content-encoding", "br", false),
        ("content-length", "100", true),
    ] {
        let world = World::new();
        let mut response = endless("text/event-stream", &[b"abc"]);
        response.headers_mut().insert(name, value.parse().unwrap());
        let layer = TokenLifetimeLayer::new().end_event("end");
        let mut answer = call(&layer, world.request(), response).await;
        data(&mut answer).await;
        world.revoke().await;
        let last = next(&mut answer).await;
        assert_eq!(last.is_some_and(|last| last.is_err()), is_error, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_announces_the_expiry() {
    let world = World::new();
    let layer = TokenLifetimeLayer::new().before_expiry(Duration::from_secs(60), "expires");
    let response = endless("text/event-stream", &[b"data: 1\n\n"]);
    let mut answer = call(&layer, world.request(), response).await;
    data(&mut answer).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(data(&mut answer).await, "event: expires\ndata: 60\n\n");
    assert_eq!(begun.elapsed(), LIFE - Duration::from_secs(60));
    let (end, ()) = tokio::join!(next(&mut answer), world.pass(LIFE));
    assert!(end.is_none());
}
