//! Tests of the suite: layers that violate each rule must be caught, and correct ones must pass.

use std::{
    mem,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::Full;
use tower::{ServiceExt, layer::layer_fn};
use tower_revoke_core::BoxFuture;

use super::*;

type TestRequest = Request<Full<Bytes>>;
type Inner = ReadinessService<Full<Bytes>>;
type Answer = Result<Response<Full<Bytes>>, BoxError>;

fn request() -> TestRequest {
    Request::new(Full::default())
}

/// A service that runs `call` on the inner service that was polled ready.
struct Through<F> {
    inner: Inner,
    call: F,
}

impl<F> Service<TestRequest> for Through<F>
where
    F: FnMut(&mut Inner, TestRequest) -> BoxFuture<'static, Answer>,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: TestRequest) -> Self::Future {
        (self.call)(&mut self.inner, request)
    }
}

fn layer<F: Clone>(call: F) -> impl Layer<Inner, Service = Through<F>> {
    layer_fn(move |inner| Through {
        inner,
        call: call.clone(),
    })
}

async fn run<F>(call: F)
where
    F: FnMut(&mut Inner, TestRequest) -> BoxFuture<'static, Answer> + Clone,
{
    readiness_conformance(layer(call), request).await;
}

fn swap(inner: &mut Inner) -> Inner {
    let next = inner.clone();
    mem::replace(inner, next)
}

async fn deferred() {
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn a_correct_layer_passes() {
    run(|inner, request| {
        let mut ready = swap(inner);
        Box::pin(async move {
            deferred().await;
            ready.call(request).await
        })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_drops_the_ready_service_and_polls_a_clone_passes() {
    run(|inner, request| {
        drop(swap(inner));
        let clone = inner.clone();
        Box::pin(async move {
            deferred().await;
            clone.oneshot(request).await
        })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_rejects_everything_passes() {
    run(|_, _| {
        Box::pin(async {
            deferred().await;
            Ok(Response::new(Full::from("no")))
        })
    })
    .await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "over ConcurrencyLimit, called three times in turn: \
    the layer called a service that was not made ready")]
async fn trap_09_a_clone_made_after_poll_ready_is_caught() {
    run(call_a_clone).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "over Buffer, called three times in turn: the layer called")]
async fn trap_09_a_clone_made_after_poll_ready_is_caught_over_a_buffer() {
    let mut suite = Suite {
        fixture: Fixture::buffer(),
        layer: &layer(call_a_clone),
        make_request: &mut request,
    };
    suite.run().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "over tower-test's mock, called three times in turn: the layer called")]
async fn trap_09_a_clone_made_after_poll_ready_is_caught_over_a_mock() {
    let mut suite = Suite {
        fixture: Fixture::mock(),
        layer: &layer(call_a_clone),
        make_request: &mut request,
    };
    suite.run().await;
}

/// The most common mistake: calling the clone instead of the service that was polled ready.
fn call_a_clone(inner: &mut Inner, request: TestRequest) -> BoxFuture<'static, Answer> {
    let mut clone = inner.clone();
    Box::pin(async move {
        deferred().await;
        clone.call(request).await
    })
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "called a service that was not made ready")]
async fn a_layer_that_polls_no_readiness_is_caught() {
    struct Eager(Inner);
    impl Service<TestRequest> for Eager {
        type Response = Response<Full<Bytes>>;
        type Error = BoxError;
        type Future = <Inner as Service<TestRequest>>::Future;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: TestRequest) -> Self::Future {
            self.0.call(request)
        }
    }
    readiness_conformance(layer_fn(Eager), request).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "waits for one while it holds another")]
async fn a_layer_that_takes_two_permits_is_caught() {
    run(|inner, request| {
        let clone = inner.clone();
        Box::pin(async move {
            deferred().await;
            clone.oneshot(request).await
        })
    })
    .await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "never came to an end. It lost a permit")]
async fn a_layer_that_keeps_the_ready_service_after_a_rejection_is_caught() {
    run(keep_the_ready_one()).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "never came to an end. It lost a permit")]
async fn a_layer_that_keeps_a_slot_of_a_buffer_is_caught() {
    let layer = layer(keep_the_ready_one());
    let mut suite = Suite {
        fixture: Fixture::buffer(),
        layer: &layer,
        make_request: &mut request,
    };
    suite.run().await;
}

fn keep_the_ready_one() -> impl FnMut(&mut Inner, TestRequest) -> BoxFuture<'static, Answer> + Clone
{
    let kept = Arc::new(Mutex::new(Vec::new()));
    move |inner, _| {
        kept.lock().unwrap().push(swap(inner));
        Box::pin(async { Ok(Response::new(Full::from("no"))) })
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "with a response future dropped after 1 polls")]
async fn a_layer_that_loses_the_permit_of_a_dropped_future_is_caught() {
    struct KeepOnDrop(Option<Inner>, Arc<Mutex<Vec<Inner>>>);
    impl Drop for KeepOnDrop {
        fn drop(&mut self) {
            self.1.lock().unwrap().extend(self.0.take());
        }
    }
    let lost = Arc::new(Mutex::new(Vec::new()));
    run(move |inner, request| {
        let mut guard = KeepOnDrop(None, lost.clone());
        let ready = swap(inner);
        Box::pin(async move {
            guard.0 = Some(ready);
            deferred().await;
            let mut ready = guard.0.take().expect("just set");
            ready.call(request).await
        })
    })
    .await;
}
