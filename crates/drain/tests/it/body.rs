//! Tests that the request's body is unchanged.

use std::{convert::Infallible, pin::Pin};

use futures_util::{future::poll_fn, poll};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Body;
use http_body_util::BodyExt;
use tower::{Layer, Service, service_fn};
use tower_revoke_drain::DrainUploadLayer;
use tower_revoke_testing::ScriptedBody;

use crate::support::{Upload, upload};

/// Returns the body as the inner service receives it.
async fn inside(request: Request<ScriptedBody>) -> Upload {
    let inner = service_fn(async |request: Request<Upload>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let mut service = DrainUploadLayer::new().layer(inner);
    service.call(request).await.unwrap().into_body()
}

/// Returns what a body shows: its hints and its frames.
async fn seen(mut body: impl Body<Data = bytes::Bytes> + Unpin) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        seen.push(format!("{:?} {}", body.size_hint(), body.is_end_stream()));
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            None => return seen,
            Some(Ok(frame)) => seen.push(format!("{frame:?}")),
            Some(Err(_)) => {
                seen.push("an error".to_owned());
                return seen;
            }
        }
    }
}

#[tokio::test]
async fn frames_hints_and_trailers_are_unchanged() {
    let trailers = || HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from(3))]);
    let bodies: [fn(HeaderMap) -> ScriptedBody; 4] = [
        |_| {
            ScriptedBody::new()
                .data("abc")
                .data("de")
                .hint(5)
                .says_when_it_ends()
        },
        |trailers| {
            ScriptedBody::new()
                .data("abc")
                .trailers(trailers)
                .says_when_it_ends()
        },
        |trailers| {
            ScriptedBody::new()
                .data("abc")
                .data("de")
                .trailers(trailers)
        },
        |_| ScriptedBody::new().data("abc").hint(5).fail(),
    ];
    for version in [Version::HTTP_11, Version::HTTP_2, Version::HTTP_3] {
        for (number, body) in bodies.iter().enumerate() {
            let mut request = upload(5, body(trailers()));
            *request.version_mut() = version;
            let expected = seen(body(trailers())).await;
            assert!(expected.len() > 2);
            assert_eq!(
                seen(inside(request).await).await,
                expected,
                "{version:?} {number}"
            );
        }
    }
}

#[tokio::test]
async fn a_body_that_has_ended_says_so() {
    let mut body = inside(upload(3, ScriptedBody::new().data("abc"))).await;
    assert!(body.frame().await.is_some());
    assert!(!body.is_end_stream());
    assert!(body.frame().await.is_none());
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(matches!(poll!(body.frame()), std::task::Poll::Ready(None)));
}
