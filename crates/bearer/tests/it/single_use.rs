//! Tests tokens that are good for one request: the layer takes their use last.

use std::{
    convert::Infallible,
    future::pending,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_revoke_bearer::RequireBearerLayer;
use tower_revoke_core::{
    Authenticated, BearerToken, Claims, Reason, Rejection, Revocations, TokenId, TokenVerifier,
    UnixTime, VerifiedToken,
};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::{Behavior, ScriptedStore, StoreOp, StoreScript};

/// Knows one token that is good for one request, in advance or only when asked.
#[derive(Clone)]
struct OneToken {
    caller: Authenticated,
    is_cached: bool,
}

impl TokenVerifier for OneToken {
    fn verify_cached(&self, _: &BearerToken) -> Option<Result<Authenticated, Rejection>> {
        self.is_cached.then(|| Ok(self.caller.clone()))
    }

    async fn verify(&self, _: &BearerToken) -> Result<Authenticated, Rejection> {
        Ok(self.caller.clone())
    }
}

fn token(list: Option<RevocationList>) -> OneToken {
    let claims = Claims::from_value(json!({"iss": "i", "sub": "ann"})).expect("claims");
    let token = VerifiedToken::new(TokenId::of_jwt("i", "1"), claims, Duration::ZERO);
    let until = UnixTime::from_secs(4_000_000_000);
    let mut token = token.with_single_use(TokenId::of_jwt("i", "ticket"), until);
    if let Some(list) = list {
        let list: Arc<dyn Revocations> = list.into();
        token = token.with_revocations(list).expect("no maximum life");
    }
    OneToken {
        caller: Authenticated::new(Arc::new(token)),
        is_cached: true,
    }
}

fn over_script() -> (OneToken, StoreScript) {
    let (store, script) = ScriptedStore::over(MemoryStore::new());
    let list = RevocationList::builder(store).mirror_capacity(0).build();
    (token(Some(list.expect("a list"))), script)
}

fn request() -> Request<()> {
    let request = Request::get("/").header("authorization", "Bearer x");
    request.body(()).expect("a request")
}

#[tokio::test]
async fn a_verifier_that_has_it_cached_passes_it_on_once() {
    for is_cached in [true, false] {
        let tokens = token(Some(RevocationList::in_memory()));
        let served = AtomicUsize::new(0);
        let tokens = OneToken {
            is_cached,
            ..tokens
        };
        let service = RequireBearerLayer::new(tokens).layer(service_fn(|_: Request<()>| {
            served.fetch_add(1, SeqCst);
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello"))) }
        }));
        let answers = join_all((0..16).map(|_| service.clone().oneshot(request()))).await;
        let statuses: Vec<_> = answers
            .into_iter()
            .map(|Ok(answer)| answer.status())
            .collect();
        let won = statuses.iter().filter(|status| **status == StatusCode::OK);
        assert_eq!((won.count(), served.load(SeqCst)), (1, 1), "{statuses:?}");
        let rejected = statuses
            .iter()
            .filter(|status| **status == StatusCode::UNAUTHORIZED);
        assert_eq!(rejected.count(), 15);
    }
}

/// A wait for the inner service must not cost the use, should the client leave.
#[tokio::test]
async fn the_use_is_taken_when_the_inner_service_is_ready() {
    let (tokens, script) = over_script();
    let service = ServiceBuilder::new()
        .layer(RequireBearerLayer::new(tokens))
        .concurrency_limit(1)
        .service(service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
        }));
    let mut holder = service.clone();
    holder.ready().await.expect("ready");
    // It holds the only permit. The other one begins as if it had been ready, too.
    let waiting = async { service.clone().oneshot(request()).await };
    let mut waiting = Box::pin(waiting);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    assert_eq!(script.calls(StoreOp::TakeUse), 0);
    drop(holder);
    let Ok(answer) = waiting.await;
    assert_eq!(
        (answer.status(), script.calls(StoreOp::TakeUse)),
        (StatusCode::OK, 1)
    );
}

#[tokio::test]
async fn a_use_that_may_be_taken_is_not_passed_on() {
    let (tokens, script) = over_script();
    let service = RequireBearerLayer::new(tokens).layer(service_fn(|_: Request<()>| {
        pending::<Result<Response<Full<Bytes>>, Infallible>>()
    }));
    for behavior in [Behavior::Fails, Behavior::LosesTheAnswer] {
        script.set(StoreOp::TakeUse, behavior);
        let Ok(answer) = service.clone().oneshot(request()).await;
        assert_eq!(
            answer.status(),
            StatusCode::SERVICE_UNAVAILABLE,
            "{behavior:?}"
        );
    }
    script.set(StoreOp::TakeUse, Behavior::Works);
    // Returned both times, so the inner service is called now.
    let mut call = pin!(service.oneshot(request()));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..4 {
        assert!(matches!(call.as_mut().poll(&mut cx), Poll::Pending));
        tokio::task::yield_now().await;
    }
    assert_eq!(script.calls(StoreOp::TakeUse), 3);
}

#[tokio::test]
async fn a_verifier_without_a_list_is_misconfigured() {
    let service = RequireBearerLayer::new(token(None)).layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
    }));
    let Ok(answer) = service.oneshot(request()).await;
    let rejection = answer
        .extensions()
        .get::<Rejection>()
        .map(Rejection::reason);
    assert_eq!(rejection, Some(Reason::Misconfigured));
}
