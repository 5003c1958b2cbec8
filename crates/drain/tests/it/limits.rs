//! Tests which uploads are drained, and for how long.

use std::{pin::pin, time::Duration};

use futures_util::poll;
use http::{HeaderValue, Request, StatusCode, Version, header};
use tokio::time::Instant;
use tower_revoke_drain::DrainUploadLayer;
use tower_revoke_testing::{Gate, ScriptedBody};

use crate::support::{reject, upload};

/// A body that never arrives.
fn stalled() -> ScriptedBody {
    ScriptedBody::new().wait_for(&Gate::closed())
}

async fn is_held(layer: &DrainUploadLayer, request: Request<ScriptedBody>) -> bool {
    let mut answer = pin!(reject(layer, request));
    poll!(answer.as_mut()).is_pending()
}

#[tokio::test]
async fn only_bounded_uploads_in_progress_are_drained() {
    type Change = fn(&mut Request<ScriptedBody>);
    let cases: [(&str, bool, Change); 12] = [
        ("HTTP/2", true, |_| ()),
        ("HTTP/3", true, |request| {
            *request.version_mut() = Version::HTTP_3;
        }),
        ("HTTP/1.1", false, |request| {
            *request.version_mut() = Version::HTTP_11;
        }),
        ("a length that is the limit", true, |request| {
            set(request, header::CONTENT_LENGTH, "9");
        }),
        ("a length above the limit", false, |request| {
            set(request, header::CONTENT_LENGTH, "10");
        }),
        ("a length that is none", false, |request| {
            set(request, header::CONTENT_LENGTH, "nine");
        }),
        ("no length", false, |request| {
            request.headers_mut().remove(header::CONTENT_LENGTH);
        }),
        ("Expect", false, |request| {
            set(request, header::EXPECT, "100-continue");
        }),
        ("gRPC", false, |request| {
            set(request, header::CONTENT_TYPE, "application/grpc+proto");
        }),
        ("grpc-web", true, |request| {
            set(request, header::CONTENT_TYPE, "application/grpc-web");
        }),
        ("a body that has ended", false, |request| {
            *request.body_mut() = ScriptedBody::new().says_when_it_ends();
        }),
        ("another content", true, |request| {
            set(request, header::CONTENT_TYPE, "application/json");
        }),
    ];
    let layer = DrainUploadLayer::new().max_bytes(9);
    for (case, expected, change) in cases {
        let mut request = upload(5, stalled());
        change(&mut request);
        assert_eq!(is_held(&layer, request).await, expected, "{case}");
    }
}

fn set(request: &mut Request<ScriptedBody>, name: header::HeaderName, value: &'static str) {
    let value = HeaderValue::from_static(value);
    request.headers_mut().insert(name, value);
}

#[tokio::test]
async fn clones_share_the_bytes_in_flight() {
    let layer = DrainUploadLayer::new().capacity(10);
    let gate = Gate::closed();
    let body = ScriptedBody::new().wait_for(&gate);
    let mut first = pin!(reject(&layer.clone(), upload(6, body)));
    assert!(poll!(first.as_mut()).is_pending());
    {
        let mut second = pin!(reject(&layer.clone(), upload(4, stalled())));
        assert!(poll!(second.as_mut()).is_pending());
        assert!(!is_held(&layer, upload(1, stalled())).await);
    }
    // A caller that has left and an upload that has ended release their bytes.
    assert!(is_held(&layer, upload(4, stalled())).await);
    assert!(!is_held(&layer, upload(5, stalled())).await);
    gate.open();
    first.await.unwrap();
    assert!(is_held(&layer, upload(10, stalled())).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_is_waited_for_no_longer_than_the_timeout() {
    let timeout = Duration::from_secs(3);
    let layer = DrainUploadLayer::new().timeout(timeout).capacity(9);
    // Paused time advances only when all tasks are idle.
    for body in [
        stalled(),
        ScriptedBody::new().data("abc").wait_for(&Gate::closed()),
    ] {
        let gone = body.gone();
        let started = Instant::now();
        let answer = reject(&layer, upload(9, body)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(started.elapsed().as_secs(), timeout.as_secs());
        assert!(*gone.borrow());
    }
}

#[tokio::test]
async fn no_more_is_read_than_was_announced() {
    let gate = Gate::closed();
    let body = ScriptedBody::new().data("abc").data("d").wait_for(&gate);
    let answer = reject(&DrainUploadLayer::new(), upload(3, body)).await;
    assert_eq!(answer.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn extreme_settings_do_not_panic() {
    let layer = DrainUploadLayer::new()
        .max_bytes(u64::MAX)
        .capacity(u64::MAX)
        .timeout(Duration::MAX);
    let gate = Gate::closed();
    let body = ScriptedBody::new().wait_for(&gate);
    let mut first = pin!(reject(&layer, upload(u64::MAX, body)));
    assert!(poll!(first.as_mut()).is_pending());
    assert!(!is_held(&layer, upload(u64::MAX, stalled())).await);
    gate.open();
    first.await.unwrap();
}
