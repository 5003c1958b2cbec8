//! Tests the layers' behavior: conditions, missing layers, readiness, types.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use crate::support::{Caller, SpendLayer, both_layers, hello};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use serde_json::json;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::Either};
use tower_revoke_core::{
    Authenticated, BearerContext, Claims, Reason, Rejection, TokenId, TokenStatus, VerifiedToken,
};
use tower_revoke_spend::{
    Condition, ConditionRequest, PendingRevocations, ResponseHead, RevokeAfterResponse,
    RevokeAfterResponseLayer, SpendBody, UseLimit, UseLimitLayer,
};
use tower_revoke_testing::{ScriptedBody, readiness_conformance};

fn reason<B>(response: &Response<B>) -> Option<Reason> {
    response
        .extensions()
        .get::<Rejection>()
        .map(Rejection::reason)
}

async fn spends(caller: &Caller, layer: SpendLayer, request: Request<()>) -> bool {
    let response = layer.layer(service_fn(hello)).oneshot(request).await;
    let body = response.expect("a response").into_body();
    body.collect().await.expect("a whole body");
    caller.known_status().await != TokenStatus::Valid
}

#[tokio::test]
async fn only_calls_for_which_every_condition_holds_spend() {
    let ott = || Caller::with(json!({"scope": "orders OTT", "plan": "per-call"}));
    let one_time = || UseLimitLayer::single().when(Condition::scope("OTT"));
    let single = |layer| Either::Left(layer);

    let caller = Caller::new();
    assert!(!spends(&caller, single(one_time()), caller.request()).await);
    let caller = ott();
    assert!(spends(&caller, single(one_time()), caller.request()).await);
    let caller = ott();
    let both = one_time().when(Condition::claim("plan", "flat"));
    assert!(!spends(&caller, single(both), caller.request()).await);
    let not_ott = UseLimitLayer::single().when(!Condition::scope("OTT"));
    assert!(!spends(&caller, single(not_ott.clone()), caller.request()).await);
    let other = Caller::new();
    assert!(spends(&other, single(not_ott), other.request()).await);
    let either = Condition::claim("plan", "flat").or(Condition::scope("OTT"));
    let posts = either.and(|call: &ConditionRequest<'_>| call.method == Method::POST);
    let layer = Either::Right(RevokeAfterResponseLayer::new().when(posts));
    assert!(!spends(&caller, layer.clone(), caller.request()).await);
    let mut post = caller.request();
    *post.method_mut() = Method::POST;
    assert!(spends(&caller, layer, post).await);
}

#[tokio::test]
async fn an_exempted_method_needs_a_bearer_layer_but_no_caller() {
    let mut service = UseLimitLayer::single()
        .except_methods([Method::HEAD])
        .layer(service_fn(hello));
    let head = || Request::head("/").body(()).expect("a request");
    let response = service.call(head()).await.expect("a response");
    assert_eq!(reason(&response), Some(Reason::Misconfigured));

    let mut nobody = head();
    nobody
        .extensions_mut()
        .insert(BearerContext::new(Default::default(), None));
    let response = service.call(nobody).await.expect("a response");
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_missing_caller_and_a_missing_bearer_layer_are_rejected() {
    let mut service = UseLimitLayer::single().layer(service_fn(hello));
    let response = service.call(Request::new(())).await.expect("a response");
    assert_eq!(response.status(), 500);
    assert_eq!(reason(&response), Some(Reason::Misconfigured));

    let mut nobody = Request::new(());
    nobody
        .extensions_mut()
        .insert(BearerContext::new(Default::default(), None));
    let response = service.call(nobody).await.expect("a response");
    assert_eq!(response.status(), 401);
    assert_eq!(reason(&response), Some(Reason::NoToken));
}

#[tokio::test]
async fn a_verifier_without_a_list_is_an_error() {
    let claims = Claims::from_value(json!({"iss": "i", "jti": "1"})).unwrap();
    let token = VerifiedToken::new(TokenId::of_jwt("i", "1"), claims, Duration::ZERO);
    let mut request = Caller::new().request();
    let caller = Authenticated::new(Arc::new(token));
    request.extensions_mut().insert(caller);
    let mut service = UseLimitLayer::single().layer(service_fn(hello));
    let response = service.call(request).await.unwrap();
    assert_eq!(response.status(), 500);
    let rejection = response.extensions().get::<Rejection>().unwrap();
    let source = std::error::Error::source(rejection).unwrap();
    assert_eq!(source.to_string(), "the verifier has no revocation list");
}

#[tokio::test]
async fn uses_with_another_limit_are_an_error_that_names_both() {
    let caller = Caller::new();
    let mut two = UseLimitLayer::uses::<2>().layer(service_fn(hello));
    let mut three = UseLimitLayer::uses::<3>().layer(service_fn(hello));
    assert_eq!(
        two.call(caller.request())
            .await
            .expect("a response")
            .status(),
        200
    );
    let response = three.call(caller.request()).await.expect("a response");
    assert_eq!(response.status(), 500);
    let rejection = response
        .extensions()
        .get::<Rejection>()
        .expect("a rejection");
    let source = std::error::Error::source(rejection).expect("a source");
    assert_eq!(
        source.to_string(),
        "the token's uses are counted up to 2, not up to 3"
    );
}

#[tokio::test]
async fn a_use_is_returned_to_the_next_caller() {
    let caller = Caller::new();
    let answers = AtomicU32::new(0);
    let service = service_fn(|_| {
        let status = if answers.fetch_add(1, Ordering::SeqCst) == 0 {
            404
        } else {
            200
        };
        let response = Response::builder()
            .status(status)
            .body(Empty::<Bytes>::new());
        async { Ok::<_, Infallible>(response.expect("a response")) }
    });
    let layer = UseLimitLayer::single().return_if(|head: &ResponseHead<'_>| head.status == 404);
    let mut service = layer.layer(service);
    for expected in [404, 200, 401] {
        let response = service.call(caller.request()).await.expect("a response");
        assert_eq!(response.status(), expected);
    }
}

#[tokio::test]
async fn a_rule_on_the_head_keeps_a_token_that_is_revoked_after_the_response() {
    let caller = Caller::new();
    let answers = AtomicU32::new(0);
    let service = service_fn(|_| {
        let status = match answers.fetch_add(1, Ordering::SeqCst) {
            0 => 404,
            _ => 200,
        };
        let response = Response::builder()
            .status(status)
            .body(Empty::<Bytes>::new());
        async { Ok::<_, Infallible>(response.expect("a response")) }
    });
    let layer = RevokeAfterResponseLayer::new();
    let layer = layer.keep_if(|head: &ResponseHead<'_>| head.status == 404);
    let mut service = layer.layer(service);
    for (status, expected) in [(404, TokenStatus::Valid), (200, TokenStatus::Spent)] {
        let response = service.call(caller.request()).await.expect("a response");
        assert_eq!(response.status(), status);
        assert_eq!(caller.known_status().await, expected);
    }
}

/// TRAPS 18: a retry inside the layer keeps its use; a retry outside finds the token spent.
#[tokio::test]
async fn trap_18_a_retry_inside_the_layer_keeps_its_use() {
    #[derive(Clone)]
    struct Once(bool);
    impl<B> tower::retry::Policy<Request<()>, Response<B>, Infallible> for Once {
        type Future = std::future::Ready<()>;

        fn retry(
            &mut self,
            _: &mut Request<()>,
            result: &mut Result<Response<B>, Infallible>,
        ) -> Option<Self::Future> {
            let failed = result
                .as_ref()
                .is_ok_and(|response| response.status() == 503);
            (failed && !std::mem::replace(&mut self.0, true)).then(|| std::future::ready(()))
        }

        fn clone_request(&mut self, request: &Request<()>) -> Option<Request<()>> {
            Some(request.clone())
        }
    }

    let attempts = Arc::new(AtomicU32::new(0));
    let count = attempts.clone();
    let flaky = service_fn(move |_: Request<()>| {
        let status = if count.fetch_add(1, Ordering::SeqCst) == 0 {
            503
        } else {
            200
        };
        let response = Response::builder()
            .status(status)
            .body(Full::<Bytes>::from("hello"));
        async { Ok::<_, Infallible>(response.expect("a response")) }
    });
    let caller = Caller::new();
    let inside = ServiceBuilder::new()
        .layer(UseLimitLayer::single())
        .retry(Once(false))
        .service(flaky.clone());
    let response = inside.oneshot(caller.request()).await.expect("a response");
    assert_eq!(response.status(), 200);
    assert_eq!(attempts.swap(0, Ordering::SeqCst), 2);

    let caller = Caller::new();
    let outside = ServiceBuilder::new()
        .retry(Once(false))
        .layer(UseLimitLayer::single())
        .service(flaky);
    let response = outside.oneshot(caller.request()).await.expect("a response");
    assert_eq!(reason(&response), Some(Reason::Spent));
}

/// TRAPS 9: the service that was polled ready is the one that is called.
#[tokio::test]
async fn trap_09_readiness_of_every_cost() {
    let request = || Caller::new().request();
    readiness_conformance(UseLimitLayer::single(), request).await;
    readiness_conformance(UseLimitLayer::uses::<1_000_000>(), request).await;
    readiness_conformance(RevokeAfterResponseLayer::new(), request).await;
}

#[test]
fn the_types_have_the_auto_traits_that_stacks_need() {
    static_assertions::assert_impl_all!(UseLimitLayer: Clone, Send, Sync);
    static_assertions::assert_impl_all!(UseLimit<()>: Clone, Send, Sync);
    static_assertions::assert_impl_all!(RevokeAfterResponseLayer: Clone, Send, Sync);
    static_assertions::assert_impl_all!(RevokeAfterResponse<()>: Clone, Send, Sync);
    static_assertions::assert_impl_all!(SpendBody<Full<Bytes>>: Send);
    static_assertions::assert_impl_all!(Condition: Clone, Send, Sync);
}

/// No layer requires a `Send` inner future.
#[tokio::test]
async fn an_inner_future_need_not_be_send() {
    let caller = Caller::new();
    let service = service_fn(|request: Request<()>| async move {
        let local = std::rc::Rc::new(request);
        tokio::task::yield_now().await;
        drop(local);
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
    });
    let layer = UseLimitLayer::single();
    let response = layer.layer(service).oneshot(caller.request()).await;
    assert_eq!(response.expect("a response").status(), 200);
}

/// A future that is polled after completion panics, like an async fn, whatever the inner future
/// would do.
#[tokio::test]
async fn a_future_polled_after_its_output_panics() {
    /// Ready once, and never again.
    struct Once(bool);

    impl Future for Once {
        type Output = Result<Response<ScriptedBody>, Infallible>;

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            match std::mem::replace(&mut self.0, true) {
                false => Poll::Ready(Ok(Response::new(ScriptedBody::new()))),
                true => Poll::Pending,
            }
        }
    }

    let pending = PendingRevocations::default();
    let [revokes, single] = both_layers(&pending);
    let passes = UseLimitLayer::single().when(Condition::scope("none"));
    for layer in [revokes, single, Either::Left(passes)] {
        for is_known in [true, false] {
            let caller = Caller::new();
            let request = match is_known {
                true => caller.request(),
                false => Request::new(()),
            };
            let mut service = layer.layer(service_fn(|_: Request<()>| Once(false)));
            let mut future = Box::pin(service.call(request));
            future.as_mut().await.expect("a response");
            let again =
                std::panic::AssertUnwindSafe(|| futures_util::FutureExt::now_or_never(future));
            assert!(std::panic::catch_unwind(again).is_err());
        }
    }
}
