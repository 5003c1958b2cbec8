//! Tests deferred verification.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use http::{Request, Response};
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};
use tower_revoke_bearer::RequireBearerLayer;
use tower_revoke_core::{Authenticated, BearerToken, Rejection, TokenVerifier};
use tower_revoke_testing::Gate;

use super::support::*;

fn waker() -> std::task::Context<'static> {
    std::task::Context::from_waker(std::task::Waker::noop())
}

#[tokio::test]
async fn the_request_waits_for_the_verdict() {
    for (token, status) in [("ann", 200), ("bad", 401), ("unavailable", 503)] {
        let gate = Gate::closed();
        let layer = RequireBearerLayer::new(Tokens::later(&gate));
        let mut service = layer.layer(inner());
        let mut answer = Box::pin(service.ready().await.unwrap().call(bearer(token)));
        assert!(answer.as_mut().poll(&mut waker()).is_pending());
        gate.open();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), status);
        if token == "ann" {
            assert_eq!(caller(&answer).unwrap().subject(), Some("ann"));
        }
    }
}

#[tokio::test]
async fn a_token_in_the_query_keeps_a_deferred_response_private() {
    let gate = Gate::closed();
    gate.open();
    let layer = RequireBearerLayer::new(Tokens::later(&gate)).query();
    let answer = call(&layer, build(get("/?access_token=ann"))).await;
    assert_eq!(answer.headers()["cache-control"], "private");
}

#[tokio::test]
async fn nothing_is_verified_before_the_future_is_polled_or_without_a_token() {
    let gate = Gate::closed();
    gate.open();
    let tokens = Tokens::later(&gate);
    let asked = tokens.asked.clone();
    let mut service = RequireBearerLayer::new(tokens).layer(inner());
    drop(service.ready().await.unwrap().call(bearer("ann")));
    for request in [build(get("/")), with("authorization", "Bearer")] {
        let _ = service.ready().await.unwrap().call(request).await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

/// Records that the verification was dropped.
struct NeverAnswers(Arc<AtomicBool>);

impl TokenVerifier for NeverAnswers {
    async fn verify(&self, _: &BearerToken) -> Result<Authenticated, Rejection> {
        struct OnDrop<'a>(&'a AtomicBool);
        impl Drop for OnDrop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _note = OnDrop(&self.0);
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_future_dropped_while_verifying_calls_no_service() {
    let given_up = Arc::new(AtomicBool::new(false));
    let permits = Arc::new(Semaphore::new(1));
    let called = Arc::new(AtomicUsize::new(0));
    let count = called.clone();
    let inner = service_fn(move |_: Request<()>| {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok::<_, tower::BoxError>(Response::new(())))
    });
    let inner = ConcurrencyLimit::with_semaphore(inner, permits.clone());
    let mut service = RequireBearerLayer::new(NeverAnswers(given_up.clone())).layer(inner);
    let mut answer = Box::pin(service.ready().await.unwrap().call(bearer("ann")));
    assert!(answer.as_mut().poll(&mut waker()).is_pending());
    drop(answer);
    assert_eq!(permits.available_permits(), 1);
    assert!(given_up.load(Ordering::Relaxed));
    assert_eq!(called.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_rejection_keeps_no_permit_of_the_inner_service() {
    let gate = Gate::closed();
    gate.open();
    let permits = Arc::new(Semaphore::new(1));
    let limited = || ConcurrencyLimit::with_semaphore(inner(), permits.clone());

    // Rejected later.
    let later = RequireBearerLayer::new(Tokens::later(&gate));
    let mut service = later.layer(limited());
    let answer = service.ready().await.unwrap().call(bearer("bad")).await;
    assert_eq!(answer.unwrap().status(), 401);
    assert_eq!(permits.available_permits(), 1);

    // Rejected at once: the same ready service takes the next request.
    let mut service = layer().layer(limited());
    for token in ["bad", "bad", "ann"] {
        let answer = service.ready().await.unwrap().call(bearer(token)).await;
        assert_eq!(answer.unwrap().status() == 200, token == "ann");
    }
    assert_eq!(permits.available_permits(), 1);
}

/// A `!Send` future, as on a thread-per-core server.
#[tokio::test]
async fn the_inner_future_need_not_be_send() {
    let gate = Gate::closed();
    gate.open();
    for tokens in [Tokens::default(), Tokens::later(&gate)] {
        let inner = service_fn(|_: Request<()>| {
            let local = Rc::new("hello");
            async move {
                tokio::task::yield_now().await;
                Ok::<_, std::convert::Infallible>(Response::new(local.len()))
            }
        });
        let service = RequireBearerLayer::new(tokens).layer(inner);
        assert_eq!(service.oneshot(bearer("ann")).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn the_inner_error_comes_through() {
    let failing = service_fn(async |_: Request<()>| Err::<Response<()>, _>("broken"));
    let service = layer().layer(failing);
    assert_eq!(service.oneshot(bearer("ann")).await.unwrap_err(), "broken");
}
