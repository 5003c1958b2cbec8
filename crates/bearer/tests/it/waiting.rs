//! TRAPS 44: what a request holds while its token is verified, and what happens if the inner
//! service is busy by then.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Waker},
    time::Duration,
};

use http::{Request, Response};
use tokio::{sync::Semaphore, time::timeout};
use tower::{BoxError, Layer, Service, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit};
use tower_revoke_bearer::RequireBearerLayer;
use tower_revoke_core::{Authenticated, BearerToken, Reason, Rejection, TokenVerifier};
use tower_revoke_testing::Gate;

use super::support::*;

/// Accepts `ann`, and verifies any other token for as long as the gate is closed.
struct Slow(Gate);

impl TokenVerifier for Slow {
    fn verify_cached(&self, token: &BearerToken) -> Option<Result<Authenticated, Rejection>> {
        (token.as_str() == "ann").then(|| Ok(ann()))
    }

    async fn verify(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        self.0.passed().await;
        match token.as_str() {
            "new" => Ok(ann()),
            _ => Err(Reason::UnknownKey.into()),
        }
    }
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[tokio::test]
async fn trap_44_tokens_that_are_being_verified_hold_no_permit() {
    let gate = Gate::closed();
    let permits = Arc::new(Semaphore::new(100));
    let limited = ConcurrencyLimit::with_semaphore(inner(), permits.clone());
    let mut service = RequireBearerLayer::new(Slow(gate.clone())).layer(limited);
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let mut answer = Box::pin(service.ready().await.unwrap().call(bearer("unsigned")));
        assert!(answer.as_mut().poll(&mut noop()).is_pending());
        waiting.push(answer);
    }
    assert_eq!(permits.available_permits(), 100);
    let mut known = Box::pin(service.oneshot(bearer("ann")));
    assert!(known.as_mut().poll(&mut noop()).is_ready(), "pending");
    gate.open();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status(), 401);
    }
}

/// A buffer keeps its service until the next request: a permit that stayed in it would be missing
/// for the request that waits for one.
#[tokio::test(start_paused = true)]
async fn trap_44_one_permit_behind_a_buffer_serves_every_request() {
    let gate = Gate::closed();
    let limited = ConcurrencyLimit::new(inner(), 1);
    let service = RequireBearerLayer::new(Slow(gate.clone())).layer(limited);
    let service = Buffer::new(service, 8);
    let call = |token| {
        let answer = tokio::spawn(service.clone().oneshot(bearer(token)));
        async move {
            let answer = timeout(Duration::from_secs(30), answer).await;
            answer
                .expect("the call never finishes")
                .unwrap()
                .unwrap()
                .status()
        }
    };
    let waiting = ["new", "unsigned", "new"].map(call);
    assert_eq!(call("ann").await, 200);
    gate.open();
    for (answer, status) in waiting.into_iter().zip([200, 401, 200]) {
        assert_eq!(answer.await, status);
    }
    assert_eq!(call("new").await, 200);
}

/// A verifier whose only token can be revoked.
#[derive(Clone, Default)]
struct Revocable {
    is_revoked: Arc<AtomicBool>,
    /// Whether a verified token is cached from then on.
    keeps: bool,
    verified: Arc<AtomicUsize>,
}

impl TokenVerifier for Revocable {
    fn verify_cached(&self, _: &BearerToken) -> Option<Result<Authenticated, Rejection>> {
        (self.keeps && self.verified.load(SeqCst) > 0).then(|| self.answer())
    }

    async fn verify(&self, _: &BearerToken) -> Result<Authenticated, Rejection> {
        self.verified.fetch_add(1, SeqCst);
        tokio::task::yield_now().await;
        self.answer()
    }
}

impl Revocable {
    fn answer(&self) -> Result<Authenticated, Rejection> {
        match self.is_revoked.load(SeqCst) {
            true => Err(Reason::Revoked.into()),
            false => Ok(ann()),
        }
    }
}

#[tokio::test]
async fn trap_44_a_token_revoked_while_it_waits_for_a_permit_is_rejected() {
    for keeps in [true, false] {
        for revokes in [true, false] {
            let permits = Arc::new(Semaphore::new(1));
            let limited = ConcurrencyLimit::with_semaphore(inner(), permits.clone());
            let tokens = Revocable {
                keeps,
                ..Revocable::default()
            };
            let mut service = RequireBearerLayer::new(tokens.clone()).layer(limited);
            let mut answer = Box::pin(service.ready().await.unwrap().call(bearer("ann")));
            let busy = permits.clone().try_acquire_owned().unwrap();
            for _ in 0..5 {
                assert!(answer.as_mut().poll(&mut noop()).is_pending());
            }
            assert_eq!(tokens.verified.load(SeqCst), 1);
            tokens.is_revoked.store(revokes, SeqCst);
            drop(busy);
            let answer = answer.await.unwrap();
            assert_eq!(reason(&answer), revokes.then_some(Reason::Revoked));
            assert_eq!(seen(&answer).is_none(), revokes);
            assert_eq!(tokens.verified.load(SeqCst), if keeps { 1 } else { 2 });
            assert_eq!(permits.available_permits(), 1);
        }
    }
}

/// In observe mode, the request passes whatever the second verdict is, so it must not wait for the
/// verdict while holding a permit.
#[tokio::test]
async fn trap_44_a_bad_token_that_is_only_observed_holds_no_permit_for_a_second_verdict() {
    let permits = Arc::new(Semaphore::new(1));
    let limited = ConcurrencyLimit::with_semaphore(inner(), permits.clone());
    let tokens = Revocable::default();
    tokens.is_revoked.store(true, SeqCst);
    let observing = RequireBearerLayer::new(tokens.clone()).observe();
    let mut service = observing.layer(limited);
    let mut answer = Box::pin(service.ready().await.unwrap().call(bearer("unsigned")));
    let busy = permits.clone().try_acquire_owned().unwrap();
    for _ in 0..5 {
        assert!(answer.as_mut().poll(&mut noop()).is_pending());
    }
    drop(busy);
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(caller(&answer).is_none());
    assert_eq!(tokens.verified.load(SeqCst), 1);
}

/// Without waiting for the service, the verdict is still fresh.
#[tokio::test]
async fn a_ready_service_is_called_without_a_second_verdict() {
    let tokens = Revocable::default();
    let service = RequireBearerLayer::new(tokens.clone()).layer(inner());
    let answer = service.oneshot(bearer("ann")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(tokens.verified.load(SeqCst), 1);
}

/// Ready the first time, and broken when polled again.
#[derive(Clone)]
struct Breaks(bool);

impl Service<Request<()>> for Breaks {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<()>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        match std::mem::replace(&mut self.0, true) {
            false => std::task::Poll::Ready(Ok(())),
            true => std::task::Poll::Ready(Err("broken".into())),
        }
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Err("called".into()))
    }
}

#[tokio::test]
async fn an_inner_service_that_breaks_meanwhile_returns_its_error() {
    let gate = Gate::closed();
    gate.open();
    for (token, answer) in [("new", Err("broken".to_owned())), ("unsigned", Ok(401))] {
        let mut service = RequireBearerLayer::new(Slow(gate.clone())).layer(Breaks(false));
        let call = service.ready().await.unwrap().call(bearer(token));
        let found = call.await.map(|answer| answer.status().as_u16());
        assert_eq!(found.map_err(|error| error.to_string()), answer, "{token}");
    }
}
