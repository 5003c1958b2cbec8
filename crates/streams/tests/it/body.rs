//! Bodies that are cut off with an error, and what stays as it was.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, SizeHint};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_core::{BoxError, Reason, Rejection, TokenEnd};
use tower_revoke_streams::{TokenEndedError, TokenLifetimeBody, TokenLifetimeLayer};
use tower_revoke_testing::{Gate, ScriptedBody};

use crate::support::{LIFE, World, call, data, endless, next};

fn end_of(error: &BoxError) -> TokenEnd {
    let error = error.downcast_ref::<TokenEndedError>().expect("typed");
    // With the feature `tonic-014`, the status is in between.
    let mut cause = error.source();
    while let Some(status) = cause.filter(|cause| !cause.is::<h2::Error>()) {
        cause = status.source();
    }
    let reset = cause.and_then(|cause| cause.downcast_ref::<h2::Error>());
    assert_eq!(reset.expect("a reset").reason(), Some(h2::Reason::CANCEL));
    error.end()
}

#[tokio::test]
async fn a_revocation_ends_a_body_with_an_error_and_drops_what_produces_it() {
    let world = World::new();
    let response = endless("text/csv", &[b"a", b"b"]);
    let mut gone = response.body().gone();
    let mut answer = call(&TokenLifetimeLayer::new(), world.request(), response).await;
    assert_eq!(data(&mut answer).await, "a");
    assert_eq!(data(&mut answer).await, "b");
    assert_eq!(world.watches(), 1);
    let (error, ()) = tokio::join!(next(&mut answer), world.revoke());
    let error = error.expect("an error").expect_err("an error");
    assert_eq!(end_of(&error), TokenEnd::Revoked);
    assert_eq!(error.to_string(), "the token was revoked");
    assert!(*gone.borrow_and_update());
    assert!(next(&mut answer).await.is_none());
    assert!(answer.body().is_end_stream());
    assert_eq!(world.watches(), 0);
}

/// A body that always has a frame is never pending.
#[tokio::test]
async fn no_frame_is_produced_after_the_end() {
    for read in 0..3 {
        let world = World::new();
        let response = endless("text/csv", &[b"a", b"b", b"c"]);
        let mut answer = call(&TokenLifetimeLayer::new(), world.request(), response).await;
        for _ in 0..read {
            data(&mut answer).await;
        }
        world.revoke().await;
        let error = next(&mut answer).await.expect("an error");
        assert_eq!(end_of(&error.expect_err("an error")), TokenEnd::Revoked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_ends_its_body() {
    let world = World::new();
    let mut answer = call(
        &TokenLifetimeLayer::new(),
        world.request(),
        endless("text/csv", &[b"a"]),
    )
    .await;
    data(&mut answer).await;
    let (error, ()) = tokio::join!(next(&mut answer), world.pass(LIFE));
    let error = error.expect("an error").expect_err("an error");
    assert_eq!(end_of(&error), TokenEnd::Expired);
}

#[tokio::test]
async fn a_body_that_is_complete_with_its_first_frame_is_not_watched() {
    let world = World::new();
    let with_length = |body| Response::builder().header("content-length", "3").body(body);
    for response in [
        Response::new(ScriptedBody::new().data("abc").says_when_it_ends()),
        Response::new(ScriptedBody::new().data("abc").hint(3)),
        with_length(ScriptedBody::new().data("abc")).unwrap(),
        Response::new(ScriptedBody::new()),
        Response::new(ScriptedBody::new().trailers(HeaderMap::new())),
        Response::new(ScriptedBody::new().fail()),
    ] {
        let mut answer = call(&TokenLifetimeLayer::new(), world.request(), response).await;
        let hint = answer.body().size_hint();
        assert_eq!(hint.exact().unwrap_or(3), 3);
        let _ = next(&mut answer).await;
        assert_eq!(world.watches(), 0);
    }
    assert_eq!(world.list.stats().ended_watches, 0);
}

#[tokio::test]
async fn frames_trailers_and_hints_stay_as_they_were() {
    let world = World::new();
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", "1".parse().unwrap());
    let body = || {
        let body = ScriptedBody::new().data("ab").data("cd").data("ef");
        body.says_when_it_ends()
    };
    let response = Response::new(body().trailers(trailers.clone()));
    let mut answer = call(&TokenLifetimeLayer::new(), world.request(), response).await;
    for expected in ["ab", "cd", "ef"] {
        assert!(!answer.body().is_end_stream());
        assert_eq!(data(&mut answer).await, expected);
    }
    let last = next(&mut answer).await.unwrap().unwrap();
    assert_eq!(last.into_trailers().unwrap(), trailers);
    assert_eq!(world.watches(), 0);

    let mut answer = call(
        &TokenLifetimeLayer::new(),
        world.request(),
        Response::new(body().hint(6)),
    )
    .await;
    for left in [6, 4, 2] {
        assert_eq!(answer.body().size_hint().exact(), Some(left));
        assert_eq!(world.watches(), u64::from(left < 6));
        data(&mut answer).await;
    }
    assert!(answer.body().is_end_stream());
    assert_eq!(
        answer.body().size_hint().exact(),
        SizeHint::with_exact(0).exact()
    );
    assert_eq!(world.watches(), 0);
}

#[tokio::test]
async fn an_error_of_the_body_stays_and_a_dropped_body_is_watched_no_more() {
    let world = World::new();
    let response = Response::new(ScriptedBody::new().data("a").fail());
    let mut answer = call(&TokenLifetimeLayer::new(), world.request(), response).await;
    data(&mut answer).await;
    let error = next(&mut answer)
        .await
        .expect("an error")
        .expect_err("an error");
    assert_eq!(error.to_string(), "the body was told to fail");
    assert_eq!(world.watches(), 0);

    let mut answer = call(
        &TokenLifetimeLayer::new(),
        world.request(),
        endless("text/csv", &[b"a"]),
    )
    .await;
    data(&mut answer).await;
    assert_eq!(world.watches(), 1);
    drop(answer);
    assert_eq!(world.watches(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_grace_delays_the_end_and_a_lift_within_it_cancels_it() {
    let world = World::new();
    let layer = TokenLifetimeLayer::new().revocation_grace(Duration::from_secs(10));
    let gate = Gate::closed();
    let body = ScriptedBody::new().data("a").wait_for(&gate).data("b");
    let never = Gate::closed();
    let body = body.wait_for(&never);
    let mut answer = call(&layer, world.request(), Response::new(body)).await;
    data(&mut answer).await;
    world.revoke().await;
    gate.open();
    assert_eq!(data(&mut answer).await, "b");
    let later = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.lift().await;
        world.pass(Duration::from_secs(20)).await;
    };
    tokio::select! {
        biased;
        _ = next(&mut answer) => panic!("the revocation was lifted in time"),
        () = later => {}
    }
    let begun = tokio::time::Instant::now();
    world.revoke().await;
    let error = next(&mut answer)
        .await
        .expect("an error")
        .expect_err("an error");
    assert_eq!(end_of(&error), TokenEnd::Revoked);
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn a_request_body_ends_with_a_typed_error_and_the_handler_answers() {
    let world = World::new();
    let gate = Gate::closed();
    let upload = ScriptedBody::new().data("a").wait_for(&gate).data("b");
    let (read, has_read) = tokio::sync::oneshot::channel();
    let mut read = Some(read);
    let handler = service_fn(move |request: Request<TokenLifetimeBody<ScriptedBody>>| {
        let read = read.take();
        async move {
            let mut body = request.into_body();
            assert_eq!(
                body.frame().await.unwrap().unwrap().into_data().unwrap(),
                "a"
            );
            read.unwrap().send(()).unwrap();
            let error = body.frame().await.unwrap().expect_err("an error");
            Ok::<_, BoxError>(Response::new(end_of(&error).to_string()))
        }
    });
    let service = TokenLifetimeLayer::new().request_bodies().layer(handler);
    let request = world.request().map(|_| upload);
    let revoked = async {
        has_read.await.unwrap();
        world.revoke().await;
    };
    let (answer, ()) = tokio::join!(service.oneshot(request), revoked);
    assert_eq!(answer.unwrap().body(), "the token was revoked");
    assert_eq!(world.watches(), 0);
}

/// This layer can't respond that a layer is missing, so the body says it.
#[tokio::test]
async fn the_request_body_of_a_program_without_a_bearer_layer_is_an_error() {
    let handler = service_fn(async |request: Request<TokenLifetimeBody<ScriptedBody>>| {
        Ok::<_, BoxError>(Response::new(request.into_body().collect().await))
    });
    let service = TokenLifetimeLayer::new().request_bodies().layer(handler);
    let request = Request::new(ScriptedBody::new().data("a").data("b"));
    let read = service.oneshot(request).await.unwrap().into_body();
    let error = read.expect_err("an error");
    let rejection = error.downcast_ref::<Rejection>();
    assert_eq!(
        rejection.expect("a rejection").reason(),
        Reason::Misconfigured
    );
}

#[tokio::test]
async fn a_request_without_a_bearer_layer_is_misconfigured_and_one_without_a_token_passes() {
    let world = World::new();
    let response = || Response::new(ScriptedBody::new().data("a"));
    let bare = Request::new(http_body_util::Empty::<Bytes>::new());
    let answer = call(&TokenLifetimeLayer::new(), bare, response()).await;
    assert_eq!(answer.status(), 500);
    let mut optional = world.request();
    optional.extensions_mut().clear();
    let format = std::sync::Arc::default();
    optional
        .extensions_mut()
        .insert(tower_revoke_core::BearerContext::new(format, None));
    let mut answer = call(&TokenLifetimeLayer::new(), optional, response()).await;
    assert_eq!(
        (answer.status().as_u16(), data(&mut answer).await),
        (200, "a".into())
    );
    assert_eq!(world.watches(), 0);
}
