//! TRAPS 51: which responses are held, and until when.

use std::{convert::Infallible, pin::pin};

use bytes::Bytes;
use futures_util::poll;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_revoke_drain::DrainUploadLayer;
use tower_revoke_testing::{Gate, ScriptedBody};

use crate::support::{Upload, reject, unauthorized, upload};

#[tokio::test]
async fn trap_51_the_head_waits_until_the_upload_was_read() {
    let gate = Gate::closed();
    let body = ScriptedBody::new().data("abc").wait_for(&gate).data("defg");
    let gone = body.gone();
    let mut answer = pin!(reject(&DrainUploadLayer::new(), upload(7, body)));
    assert!(poll!(answer.as_mut()).is_pending());
    assert!(!*gone.borrow());
    gate.open();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(*gone.borrow());
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "no");
}

/// The last announced byte is not the end: the frame that ends the stream may still follow.
#[tokio::test]
async fn trap_51_the_head_waits_for_the_end_of_the_stream() {
    let gate = Gate::closed();
    let body = ScriptedBody::new().data("abc").wait_for(&gate);
    let mut answer = pin!(reject(&DrainUploadLayer::new(), upload(3, body)));
    assert!(poll!(answer.as_mut()).is_pending());
    gate.open();
    assert_eq!(answer.await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn trap_51_a_partly_read_upload_is_drained_too() {
    let gate = Gate::closed();
    let body = ScriptedBody::new().data("abc").wait_for(&gate).data("defg");
    let inner = service_fn(async |request: Request<Upload>| {
        let mut body = request.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data();
        assert_eq!(first.unwrap(), "abc");
        Ok::<_, Infallible>(unauthorized())
    });
    // Only the remaining bytes count.
    let mut service = DrainUploadLayer::new().capacity(4).layer(inner);
    let mut answer = pin!(service.call(upload(7, body)));
    assert!(poll!(answer.as_mut()).is_pending());
    gate.open();
    assert_eq!(answer.await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

/// The upload may be dropped only with the inner future.
#[tokio::test]
async fn trap_51_a_future_that_keeps_the_request_is_drained_too() {
    let gate = Gate::closed();
    let body = ScriptedBody::new().wait_for(&gate).data("abc");
    let inner = service_fn(|request: Request<Upload>| {
        std::future::poll_fn(move |_| {
            let _kept = &request;
            std::task::Poll::Ready(Ok::<_, Infallible>(unauthorized()))
        })
    });
    let mut service = DrainUploadLayer::new().layer(inner);
    let mut answer = pin!(service.call(upload(3, body)));
    assert!(poll!(answer.as_mut()).is_pending());
    gate.open();
    assert_eq!(answer.await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_answer_after_the_upload_is_not_held() {
    for body in [
        ScriptedBody::new().data("abc"),
        ScriptedBody::new().data("abc").says_when_it_ends(),
    ] {
        let inner = service_fn(async |request: Request<Upload>| {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Ok::<_, Infallible>(Response::new(Full::new(body)))
        });
        // With no capacity, nothing is drained.
        let mut service = DrainUploadLayer::new().capacity(0).layer(inner);
        let answer = service.call(upload(3, body)).await.unwrap();
        assert_eq!(
            answer.into_body().collect().await.unwrap().to_bytes(),
            "abc"
        );
    }
}

/// An echo responds before it reads: if its head were held, both sides would wait forever.
#[tokio::test]
async fn an_answer_that_reads_the_upload_is_not_held() {
    let gate = Gate::closed();
    let body = ScriptedBody::new().wait_for(&gate).data("abc");
    let echo = service_fn(async |request: Request<Upload>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let mut service = DrainUploadLayer::new().layer(echo);
    let mut answer = pin!(service.call(upload(3, body)));
    let std::task::Poll::Ready(answer) = poll!(answer.as_mut()) else {
        panic!("the head is held");
    };
    gate.open();
    let echoed = answer.unwrap().into_body().collect().await.unwrap();
    assert_eq!(echoed.to_bytes(), "abc");
}

#[tokio::test]
async fn a_failure_is_not_held() {
    let body = ScriptedBody::new().wait_for(&Gate::closed());
    let inner = service_fn(async |_: Request<Upload>| Err::<Response<Full<Bytes>>, _>("broken"));
    let mut service = DrainUploadLayer::new().layer(inner);
    assert_eq!(service.call(upload(3, body)).await.unwrap_err(), "broken");
}

#[tokio::test]
async fn a_client_that_aborts_its_upload_is_not_waited_for() {
    let body = ScriptedBody::new()
        .data("a")
        .fail()
        .wait_for(&Gate::closed());
    let answer = reject(&DrainUploadLayer::new(), upload(3, body)).await;
    assert_eq!(answer.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_client_that_leaves_while_the_head_is_held_stops_the_draining() {
    let body = ScriptedBody::new().wait_for(&Gate::closed());
    let gone = body.gone();
    {
        let mut answer = pin!(reject(&DrainUploadLayer::new(), upload(3, body)));
        assert!(poll!(answer.as_mut()).is_pending());
        assert!(!*gone.borrow());
    }
    assert!(*gone.borrow());
}

#[tokio::test]
async fn no_permit_is_held_while_the_upload_is_read() {
    let inner = service_fn(async |_: Request<Upload>| Ok::<_, Infallible>(unauthorized()));
    let mut service = ServiceBuilder::new()
        .layer(DrainUploadLayer::new())
        .concurrency_limit(1)
        .service(inner);
    let gate = Gate::closed();
    let body = ScriptedBody::new().wait_for(&gate);
    let mut held = pin!(service.ready().await.unwrap().call(upload(3, body)));
    assert!(poll!(held.as_mut()).is_pending());
    let other = service.ready().await.unwrap();
    other.call(upload(0, ScriptedBody::new())).await.unwrap();
    gate.open();
    held.await.unwrap();
}
