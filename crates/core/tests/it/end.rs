//! Tests the end-of-body hook: it runs once, before the end is passed on, and the size hint is
//! kept.

use std::{
    sync::{Arc, Mutex},
    task::Poll,
};

use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tower_revoke_core::{
    BoxError, BoxFuture,
    end::{BodyEnd, Ending, OnEnd, RequestShape, WatchedBody},
};
use tower_revoke_testing::{Gate, ScriptedBody};

/// Records how the body ended, and holds the end until a gate opens.
struct Watcher {
    seen: Arc<Mutex<Vec<String>>>,
    gate: Gate,
    fails: bool,
}

impl OnEnd for Watcher {
    type Hold = BoxFuture<'static, Result<(), BoxError>>;

    fn on_end(self, end: BodyEnd<'_>) -> Self::Hold {
        let seen = match end {
            BodyEnd::Complete { trailers: None } => "complete".to_owned(),
            BodyEnd::Complete {
                trailers: Some(trailers),
            } => format!("complete with {} trailers", trailers.len()),
            BodyEnd::Failed => "failed".to_owned(),
            BodyEnd::Cancelled => "cancelled".to_owned(),
            _ => "unknown".to_owned(),
        };
        self.seen.lock().unwrap().push(seen);
        Box::pin(async move {
            self.gate.passed().await;
            match self.fails {
                true => Err("as told".into()),
                false => Ok(()),
            }
        })
    }
}

struct Watched {
    body: std::pin::Pin<Box<WatchedBody<ScriptedBody, Watcher>>>,
    seen: Arc<Mutex<Vec<String>>>,
    gate: Gate,
}

fn watch(body: ScriptedBody, ending: Ending, fails: bool) -> Watched {
    let seen = Arc::default();
    let gate = Gate::closed();
    let watcher = Watcher {
        seen: Arc::clone(&seen),
        gate: gate.clone(),
        fails,
    };
    Watched {
        body: Box::pin(WatchedBody::new(body, ending, watcher)),
        seen,
        gate,
    }
}

impl Watched {
    /// Returns the next frame as text; `None` while it is held.
    async fn next(&mut self) -> Option<String> {
        let poll = futures_util::poll!(self.body.frame());
        match poll {
            Poll::Pending => None,
            Poll::Ready(None) => Some("end".to_owned()),
            Poll::Ready(Some(Err(error))) => Some(format!("error: {error}")),
            Poll::Ready(Some(Ok(frame))) => Some(match frame.into_data() {
                Ok(data) => String::from_utf8(data.to_vec()).unwrap(),
                Err(_) => "trailers".to_owned(),
            }),
        }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}

#[tokio::test]
async fn the_frame_that_completes_the_announced_length_is_held() {
    let body = ScriptedBody::new().data("hello ").data("world").hint(11);
    let mut watched = watch(body, Ending::AfterBytes(11), false);
    assert_eq!(watched.body.size_hint().exact(), Some(11));
    assert_eq!(watched.next().await.unwrap(), "hello ");
    assert_eq!(watched.seen(), [""; 0]);
    assert_eq!(watched.next().await, None);
    assert_eq!(watched.seen(), ["complete"]);
    // A held frame still counts.
    assert_eq!(watched.body.size_hint().exact(), Some(5));
    assert!(!watched.body.is_end_stream());
    watched.gate.open();
    assert_eq!(watched.next().await.unwrap(), "world");
    assert_eq!(watched.body.size_hint().exact(), Some(0));
    assert_eq!(watched.next().await.unwrap(), "end");
    drop(watched.body);
    assert_eq!(*watched.seen.lock().unwrap(), ["complete"]);
}

#[tokio::test]
async fn the_frame_after_which_the_body_says_it_ended_is_held() {
    let body = ScriptedBody::new().data("a").data("b").says_when_it_ends();
    let mut watched = watch(body, Ending::WithBody, false);
    assert_eq!(watched.next().await.unwrap(), "a");
    assert_eq!(watched.next().await, None);
    assert!(!watched.body.is_end_stream());
    watched.gate.open();
    assert_eq!(watched.next().await.unwrap(), "b");
    assert!(watched.body.is_end_stream());
}

#[tokio::test]
async fn without_a_length_the_end_itself_is_held() {
    let mut watched = watch(ScriptedBody::new().data("a"), Ending::WithBody, false);
    assert_eq!(watched.next().await.unwrap(), "a");
    assert_eq!(watched.next().await, None);
    watched.gate.open();
    assert_eq!(watched.next().await.unwrap(), "end");
}

#[tokio::test]
async fn trailers_are_held_and_kept() {
    let body = ScriptedBody::new().data("a").trailers(trailers());
    let mut watched = watch(body, Ending::WithBody, false);
    assert_eq!(watched.next().await.unwrap(), "a");
    assert_eq!(watched.next().await, None);
    assert_eq!(watched.seen(), ["complete with 1 trailers"]);
    watched.gate.open();
    assert_eq!(watched.next().await.unwrap(), "trailers");
    assert_eq!(watched.next().await.unwrap(), "end");
}

#[tokio::test]
async fn a_body_shorter_than_announced_still_ends() {
    let mut watched = watch(ScriptedBody::new().data("a"), Ending::AfterBytes(9), false);
    assert_eq!(watched.next().await.unwrap(), "a");
    assert_eq!(watched.next().await, None);
    assert_eq!(watched.seen(), ["complete"]);
}

#[tokio::test]
async fn an_error_is_held_and_kept() {
    let mut watched = watch(ScriptedBody::new().fail(), Ending::WithBody, false);
    assert_eq!(watched.next().await, None);
    assert_eq!(watched.seen(), ["failed"]);
    watched.gate.open();
    assert_eq!(
        watched.next().await.unwrap(),
        "error: the body was told to fail"
    );
}

#[tokio::test]
async fn a_failing_watcher_cuts_the_body_off() {
    let body = ScriptedBody::new().data("hello");
    let mut watched = watch(body, Ending::AfterBytes(5), true);
    watched.gate.open();
    assert_eq!(watched.next().await.unwrap(), "error: as told");
}

#[tokio::test]
async fn a_dropped_body_is_cancelled_once() {
    let body = ScriptedBody::new().data("a").data("b");
    let mut watched = watch(body, Ending::WithBody, false);
    assert_eq!(watched.next().await.unwrap(), "a");
    drop(watched.body);
    assert_eq!(*watched.seen.lock().unwrap(), ["cancelled"]);

    // A body that is dropped while its end is held has already reported its end.
    let mut watched = watch(ScriptedBody::new(), Ending::WithBody, false);
    assert_eq!(watched.next().await, None);
    drop(watched.body);
    assert_eq!(*watched.seen.lock().unwrap(), ["complete"]);
}

fn ending(
    request: http::request::Builder,
    response: http::response::Builder,
    body: ScriptedBody,
) -> Ending {
    let shape = RequestShape::of(&request.body(()).unwrap());
    Ending::of(shape, &response.body(body).unwrap())
}

/// Otherwise its client would have the whole file before the end was seen.
#[test]
fn a_grpc_content_type_alone_does_not_move_the_end() {
    const GRPC: (&str, &str) = ("content-type", "application/grpc");
    let call = |version| Request::post("/").version(version).header(GRPC.0, GRPC.1);
    let file = || Response::builder().header("content-length", "5");
    let grpc = || file().header(GRPC.0, GRPC.1);
    let body = || ScriptedBody::new().data("hello");

    let versions = [
        Version::HTTP_10,
        Version::HTTP_11,
        Version::HTTP_2,
        Version::HTTP_3,
    ];
    for version in versions {
        let actual = ending(call(version), file(), body());
        assert_eq!(actual, Ending::AfterBytes(5), "{version:?}");
    }
    let unknown = Response::builder();
    assert_eq!(
        ending(call(Version::HTTP_10), unknown, body()),
        Ending::WithHead
    );
    // There is no gRPC before HTTP/2, whatever the service claims.
    assert_eq!(
        ending(call(Version::HTTP_11), grpc(), body()),
        Ending::AfterBytes(5)
    );
    for version in [Version::HTTP_2, Version::HTTP_3] {
        let actual = ending(call(version), grpc(), body());
        assert_eq!(actual, Ending::WithBody, "{version:?}");
    }
    // Nor with another method than POST.
    let get = call(Version::HTTP_2).method("GET");
    assert_eq!(ending(get, grpc(), body()), Ending::AfterBytes(5));
}

/// A proxy passes on its upstream's response including the version. hyper then ends the body with
/// the connection, so a body that is cut off looks complete.
#[test]
fn trap_25_a_response_of_http_1_0_without_a_length_ends_with_its_head() {
    for (request, response, expected) in [
        (Version::HTTP_11, Version::HTTP_10, Ending::WithHead),
        (Version::HTTP_11, Version::HTTP_11, Ending::WithBody),
        (Version::HTTP_10, Version::HTTP_11, Ending::WithHead),
        (Version::HTTP_2, Version::HTTP_10, Ending::WithBody),
        (Version::HTTP_3, Version::HTTP_10, Ending::WithBody),
    ] {
        let actual = ending(
            Request::get("/").version(request),
            Response::builder().version(response),
            ScriptedBody::new().data("hello"),
        );
        assert_eq!(actual, expected, "{request:?} {response:?}");
    }
}

#[test]
fn rfc9110_8_6_a_list_of_lengths_is_read() {
    for (values, expected) in [
        (&["5, 5"][..], Ending::AfterBytes(5)),
        (&["9,5"], Ending::AfterBytes(5)),
        (&["9", "5"], Ending::AfterBytes(5)),
    ] {
        let mut response = Response::builder();
        for value in values {
            response = response.header("content-length", *value);
        }
        let actual = ending(Request::get("/"), response, ScriptedBody::new().data("a"));
        assert_eq!(actual, expected, "{values:?}");
    }
}

#[tokio::test]
async fn a_wrong_upper_size_hint_does_not_panic() {
    struct Endless;

    impl Body for Endless {
        type Data = bytes::Bytes;
        type Error = BoxError;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Option<Result<Frame<bytes::Bytes>, BoxError>>> {
            Poll::Ready(Some(Ok(Frame::data("hello".into()))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(u64::MAX)
        }
    }

    let watcher = Watcher {
        seen: Arc::default(),
        gate: Gate::closed(),
        fails: false,
    };
    let mut body = Box::pin(WatchedBody::new(Endless, Ending::AfterBytes(5), watcher));
    assert!(futures_util::poll!(body.frame()).is_pending());
    assert_eq!(body.size_hint().exact(), Some(u64::MAX));
}
