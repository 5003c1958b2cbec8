//! Tests how each call is counted, and that none stays in flight.

use std::{
    convert::Infallible,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_revoke_core::{BoxError, ByStatus, Clock, Outcome, Reason, UnixTime};
use tower_revoke_monitor::{
    Classify, Latency, Monitor, MonitorBody, MonitorFuture, MonitorLayer, MonitorService,
};
use tower_revoke_testing::{Gate, ScriptedBody, readiness_conformance};

use crate::support::*;

fn layer() -> MonitorLayer {
    MonitorLayer::service("orders")
}

fn answer(status: u16) -> Answer {
    let mut answer = hello();
    *answer.status_mut() = status.try_into().expect("valid");
    answer
}

fn grpc_status(status: &str) -> HeaderMap {
    HeaderMap::from_iter([(
        "grpc-status".parse().expect("valid"),
        status.parse().expect("valid"),
    )])
}

#[tokio::test]
async fn the_status_determines_the_outcome() {
    for (status, expected) in [
        (200, SUCCESS),
        (304, SUCCESS),
        (404, FAILURE),
        (500, EXCEPTION),
        (503, EXCEPTION),
    ] {
        let layer = layer();
        call(&layer, "ann", answer(status)).await;
        assert_eq!(numbers(&total(&layer)), expected, "{status}");
        let snapshot = layer.monitor().snapshot();
        let orders = &snapshot.services["orders"];
        assert_eq!(numbers(&orders.clients["ann"]), expected, "{status}");
        assert_eq!(orders.anonymous.in_flight, 0);
    }
}

#[tokio::test]
async fn a_call_is_in_flight_until_its_last_frame() {
    let layer = layer();
    let gate = Gate::closed();
    let body = ScriptedBody::new().data("hel").wait_for(&gate).data("lo");
    let mut body = Some(Response::builder().header("content-length", "5").body(body));
    let mut service = layer.layer(service_fn(|request: Request<()>| {
        identify(&request, caller("ann"));
        let response = body.take().unwrap();
        async move { response }
    }));
    let response = start(&mut service);
    let ann = || layer.monitor().snapshot().services["orders"].clients["ann"].clone();
    assert_eq!(numbers(&ann()), IN_FLIGHT);
    let mut body = response.await.unwrap().into_body();
    assert_eq!(numbers(&ann()), IN_FLIGHT);
    body.frame().await.unwrap().unwrap();
    assert_eq!(numbers(&ann()), IN_FLIGHT);
    gate.open();
    // The frame that completes the announced length; no further frame is polled.
    body.frame().await.unwrap().unwrap();
    assert_eq!(numbers(&ann()), SUCCESS);
    drop(body);
    assert_eq!(numbers(&total(&layer)), SUCCESS);
}

#[tokio::test]
async fn a_grpc_call_is_judged_by_its_trailers() {
    for (status, expected) in [
        ("0", SUCCESS),
        ("5", FAILURE),
        ("13", EXCEPTION),
        ("1", CANCELLED),
    ] {
        let streamed = layer();
        let body = ScriptedBody::new().data("x").trailers(grpc_status(status));
        let mut head = Response::new(body);
        let content_type = "application/grpc".parse().unwrap();
        head.headers_mut().insert("content-type", content_type);
        call(&streamed, "ann", head).await;
        assert_eq!(numbers(&total(&streamed)), expected, "{status}");

        let trailers_only = layer();
        let mut head = Response::new(ScriptedBody::new().says_when_it_ends());
        *head.headers_mut() = grpc_status(status);
        call(&trailers_only, "ann", head).await;
        assert_eq!(numbers(&total(&trailers_only)), expected, "{status}");
    }
}

#[tokio::test]
async fn a_rejection_is_counted_by_its_reason_and_has_no_latency() {
    let layer = layer();
    let service = layer.layer(service_fn(|request: Request<bool>| {
        let reason = match request.into_body() {
            true => Reason::NoToken,
            false => Reason::Revoked,
        };
        let response = rejected(reason);
        async move { Ok::<_, Infallible>(response) }
    }));
    for first in [true, false, false] {
        let response = service.clone().oneshot(Request::new(first)).await.unwrap();
        match first {
            true => drain(response.into_body()).await,
            // Our rejection counts, though the client has not read it.
            false => drop(response),
        }
    }
    let total = total(&layer);
    assert_eq!(numbers(&total), [0, 0, 0, 0, 0, 3]);
    let reasons = total.rejected_by.into_iter().collect::<Vec<_>>();
    assert_eq!(reasons, [("no_token", 1), ("revoked", 2)]);
    assert_eq!(total.latency, Latency::default());
}

#[tokio::test]
async fn an_error_is_an_exception() {
    let layer = layer();
    let failing = layer.layer(service_fn(|_: Request<()>| async {
        Err::<Answer, BoxError>("down".into())
    }));
    assert!(failing.oneshot(Request::new(())).await.is_err());
    assert_eq!(numbers(&total(&layer)), EXCEPTION);

    let layer = self::layer();
    call(
        &layer,
        "ann",
        Response::new(ScriptedBody::new().data("x").fail()),
    )
    .await;
    assert_eq!(numbers(&total(&layer)), EXCEPTION);
}

/// A body that panics when it is polled.
struct Panics;

impl Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("in the body")
    }
}

#[tokio::test]
async fn trap_15_a_panic_is_an_exception_and_leaves_nothing_in_flight() {
    let in_call = layer();
    let mut service = in_call.layer(service_fn(
        |_: Request<()>| -> std::future::Ready<Result<Answer, Infallible>> {
            panic!("in the call")
        },
    ));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(start(&mut service)))).is_err());
    assert_eq!(numbers(&total(&in_call)), EXCEPTION);

    // Caught by an outer layer, such as tower-http's CatchPanic: the future is dropped after the
    // panic.
    let in_poll = layer();
    let mut service = in_poll.layer(service_fn(|_: Request<()>| async {
        match std::hint::black_box(true) {
            true => panic!("in the future"),
            false => Ok::<Answer, Infallible>(hello()),
        }
    }));
    let mut future = Box::pin(start(&mut service));
    assert!(
        AssertUnwindSafe(future.as_mut())
            .catch_unwind()
            .await
            .is_err()
    );
    assert_eq!(numbers(&total(&in_poll)), EXCEPTION);
    drop(future);
    assert_eq!(numbers(&total(&in_poll)), EXCEPTION);

    // In a task: the panic drops the body.
    let in_body = layer();
    let service = in_body.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Panics))
    }));
    let response = service.oneshot(Request::new(())).await.unwrap();
    let read = tokio::spawn(async { drain(response.into_body()).await });
    assert!(read.await.unwrap_err().is_panic());
    assert_eq!(numbers(&total(&in_body)), EXCEPTION);

    let in_name = layer().client_by(|_| panic!("in the rule over the client"));
    let mut service = in_name.layer(service_fn(|request: Request<()>| {
        identify(&request, caller("ann"));
        async { Ok::<_, Infallible>(hello()) }
    }));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(start(&mut service)))).is_err());
    assert_eq!(numbers(&total(&in_name)), EXCEPTION);
}

#[tokio::test]
async fn trap_15_a_dropped_call_is_cancelled_and_leaves_nothing_in_flight() {
    let hangs = layer();
    let mut service = hangs.layer(service_fn(|_: Request<()>| async {
        pending::<()>().await;
        Ok::<_, Infallible>(hello())
    }));
    let never_polled = start(&mut service);
    assert_eq!(total(&hangs).in_flight, 1);
    drop(never_polled);
    assert_eq!(numbers(&total(&hangs)), CANCELLED);
    let mut polled = Box::pin(start(&mut service));
    assert!(poll_once(polled.as_mut()).is_pending());
    assert_eq!(total(&hangs).in_flight, 1);
    drop(polled);
    assert_eq!(numbers(&total(&hangs)), [0, 0, 0, 0, 2, 0]);

    for frames in 0..2 {
        let left = layer();
        let body = || ScriptedBody::new().data("hel").data("lo");
        let service = left.layer(service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(body()))
        }));
        let response = service.oneshot(Request::new(())).await.unwrap();
        let mut body = response.into_body();
        for _ in 0..frames {
            body.frame().await.unwrap().unwrap();
        }
        assert_eq!(numbers(&total(&left)), IN_FLIGHT);
        drop(body);
        assert_eq!(numbers(&total(&left)), CANCELLED);
    }
}

#[tokio::test]
async fn the_outcome_of_the_head_stays_when_the_client_leaves_the_body() {
    for (status, expected) in [(404, FAILURE), (500, EXCEPTION)] {
        let layer = layer();
        let service = layer.layer(service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(answer(status))
        }));
        let response = service.oneshot(Request::new(())).await.unwrap();
        assert_eq!(numbers(&total(&layer)), IN_FLIGHT);
        drop(response);
        assert_eq!(numbers(&total(&layer)), expected);
    }
}

/// A server polls none of these to the end, or at all.
#[tokio::test]
async fn trap_10_and_24_where_nothing_follows_the_head_the_call_ends_with_it() {
    let get = Method::GET;
    let new = Version::HTTP_11;
    for (method, version, status, length) in [
        (Method::HEAD, new, 200, Some("5")),
        (Method::CONNECT, new, 200, None),
        (get.clone(), new, 204, None),
        (get.clone(), new, 205, None),
        (get.clone(), new, 304, None),
        (get.clone(), new, 101, None),
        (get.clone(), new, 200, Some("0")),
        (get.clone(), Version::HTTP_10, 200, None),
    ] {
        let layer = layer();
        let what = format!("{method} {version:?} {status} {length:?}");
        let service = layer.layer(service_fn(|_: Request<()>| async {
            let mut answer = answer(status);
            if let Some(length) = length {
                let length = length.parse().unwrap();
                answer.headers_mut().insert("content-length", length);
            }
            Ok::<_, Infallible>(answer)
        }));
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.version_mut() = version;
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(numbers(&total(&layer)), SUCCESS, "{what}");
        drop(response);
        assert_eq!(numbers(&total(&layer)), SUCCESS, "{what}");
    }
}

#[tokio::test]
async fn trap_11_the_length_and_the_end_of_a_body_are_unchanged() {
    let layer = layer();
    let service = layer.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
    }));
    let response = service.oneshot(Request::new(())).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.size_hint().exact(), Some(5));
    assert!(!body.is_end_stream());
    body.frame().await.unwrap().unwrap();
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.is_end_stream());
    assert_eq!(numbers(&total(&layer)), SUCCESS);
}

#[tokio::test]
async fn latency_is_measured_to_the_end_of_the_body() {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
    let monitor = Monitor::builder().clock(clock).build();
    let layer = monitor.layer("orders");
    let mut service = layer.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(hello())
    }));
    for millis in [3, 1, 8] {
        let response = start(&mut service).await.unwrap();
        hand.advance(Duration::from_millis(millis));
        drain(response.into_body()).await;
    }
    let latency = total(&layer).latency;
    assert_eq!(latency.min, Some(Duration::from_millis(1)));
    assert_eq!(latency.max, Some(Duration::from_millis(8)));
    assert_eq!(latency.avg(), Some(Duration::from_millis(4)));
    assert_eq!(latency.sum, Duration::from_millis(12));
    assert_eq!(latency.count(), 3);
    let filled = (0..Latency::BUCKETS).filter(|&bucket| latency.buckets[bucket] > 0);
    let bounds = filled.map(|bucket| Latency::bound(bucket).unwrap().as_micros());
    assert_eq!(bounds.collect::<Vec<_>>(), [1_024, 4_096, 8_192]);
    assert_eq!(Latency::default().avg(), None);
}

/// Counts 404 and all trailers as success.
#[derive(Clone)]
struct Lenient;

impl Classify for Lenient {
    fn of_head<B>(&mut self, response: &Response<B>) -> Option<Outcome> {
        match response.status().as_u16() {
            404 => Some(Outcome::Success),
            418 => Some(Outcome::Rejected),
            _ => ByStatus.of_head(response),
        }
    }

    fn of_trailers(&mut self, _: Option<&HeaderMap>) -> Outcome {
        Outcome::Success
    }
}

#[tokio::test]
async fn a_custom_classifier_decides() {
    let layer = layer().classify(Lenient);
    call(&layer, "ann", answer(404)).await;
    let trailers = ScriptedBody::new().trailers(grpc_status("13"));
    call(&layer, "ann", Response::new(trailers)).await;
    assert_eq!(numbers(&total(&layer)), [0, 2, 0, 0, 0, 0]);
    call(&layer, "ann", answer(418)).await;
    let total = total(&layer);
    assert_eq!(numbers(&total), [0, 2, 0, 0, 0, 1]);
    assert_eq!(total.rejected_by["unspecified"], 1);
    // A rejection by this project doesn't reach the classifier.
    let layer = layer.clone();
    let service = layer.layer(service_fn(|_: Request<()>| async {
        let mut response = rejected(Reason::Spent);
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        Ok::<_, Infallible>(response)
    }));
    service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(self::total(&layer).rejected_by["spent"], 1);
}

#[tokio::test]
async fn trap_09_the_layer_keeps_the_readiness_contract() {
    let layer = layer();
    readiness_conformance(layer.clone(), || Request::new(Full::<Bytes>::default())).await;
    assert_eq!(total(&layer).in_flight, 0);
}

/// A service that is neither `Clone` nor `Send`, with a `!Send` body.
struct Plain(std::rc::Rc<()>);

impl Service<Request<()>> for Plain {
    type Response = Response<Full<Bytes>>;
    type Error = std::rc::Rc<()>;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        std::future::ready(Err(self.0.clone()))
    }
}

#[tokio::test]
async fn the_inner_service_needs_no_auto_traits() {
    let layer = layer();
    let mut service = layer.layer(Plain(std::rc::Rc::new(())));
    assert!(pin!(start(&mut service)).await.is_err());
    assert_eq!(numbers(&total(&layer)), EXCEPTION);
}

static_assertions::assert_impl_all!(Monitor: Clone, Send, Sync, Unpin);
static_assertions::assert_impl_all!(MonitorLayer: Clone, Send, Sync, Unpin);
static_assertions::assert_impl_all!(MonitorService<()>: Clone, Send, Sync, Unpin);
#[test]
#[should_panic(expected = "not polled after it has completed")]
fn a_future_that_is_polled_after_its_output_panics() {
    let layer = MonitorLayer::service("orders");
    let mut service = layer.layer(service_fn(|_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(hello()))
    }));
    let mut call = std::pin::pin!(service.call(Request::new(())));
    assert!(poll_once(call.as_mut()).is_ready());
    let _ = poll_once(call);
}

static_assertions::assert_impl_all!(MonitorFuture<(), ByStatus>: Send, Sync, Unpin);
static_assertions::assert_impl_all!(MonitorBody<Full<Bytes>>: Send, Sync, Unpin);
