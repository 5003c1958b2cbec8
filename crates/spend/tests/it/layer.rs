//! What callers of the layer rely on: conditions, missing layers, readiness, types.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::support::{Caller, hello};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use serde_json::json;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_revoke_core::{
    Authenticated, BearerContext, Claims, Reason, Rejection, TokenId, TokenStatus, VerifiedToken,
};
use tower_revoke_spend::{Call, Head, Revoke, RevokeBody, RevokeLayer, When};
use tower_revoke_testing::readiness_conformance;

fn reason<B>(response: &Response<B>) -> Option<Reason> {
    response
        .extensions()
        .get::<Rejection>()
        .map(Rejection::reason)
}

async fn spends(caller: &Caller, layer: RevokeLayer, request: Request<()>) -> bool {
    let response = layer.layer(service_fn(hello)).oneshot(request).await;
    let body = response.expect("a response").into_body();
    body.collect().await.expect("a whole body");
    caller.known_status().await != TokenStatus::Valid
}

#[tokio::test]
async fn only_calls_for_which_every_condition_holds_spend() {
    let ott = || Caller::with(json!({"scope": "orders OTT", "plan": "per-call"}));
    let one_time = || RevokeLayer::single_use().when(When::scope("OTT"));

    let caller = Caller::new();
    assert!(!spends(&caller, one_time(), caller.request()).await);
    let caller = ott();
    assert!(spends(&caller, one_time(), caller.request()).await);
    let caller = ott();
    let both = one_time().when(When::claim("plan", "flat"));
    assert!(!spends(&caller, both, caller.request()).await);
    let either = When::claim("plan", "flat").or(When::scope("OTT"));
    let posts = either.and(|call: &Call<'_>| call.method == Method::POST);
    let layer = RevokeLayer::after_response().when(posts);
    assert!(!spends(&caller, layer.clone(), caller.request()).await);
    let mut post = caller.request();
    *post.method_mut() = Method::POST;
    assert!(spends(&caller, layer, post).await);
}

#[tokio::test]
async fn without_a_caller_it_rejects_and_without_a_bearer_layer_it_says_so() {
    let mut service = RevokeLayer::single_use().layer(service_fn(hello));
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
async fn a_verifier_without_a_list_is_an_error_that_says_so() {
    let claims = Claims::from_value(json!({"iss": "i", "jti": "1"})).unwrap();
    let token = VerifiedToken::new(TokenId::of_jwt("i", "1"), claims, Duration::ZERO);
    let mut request = Caller::new().request();
    let caller = Authenticated::new(Arc::new(token));
    request.extensions_mut().insert(caller);
    let mut service = RevokeLayer::single_use().layer(service_fn(hello));
    let response = service.call(request).await.unwrap();
    assert_eq!(response.status(), 500);
    let rejection = response.extensions().get::<Rejection>().unwrap();
    let source = std::error::Error::source(rejection).unwrap();
    assert_eq!(source.to_string(), "the verifier has no revocation list");
}

#[tokio::test]
async fn uses_with_another_limit_are_an_error_that_names_both() {
    let caller = Caller::new();
    let mut two = RevokeLayer::uses(2).layer(service_fn(hello));
    let mut three = RevokeLayer::uses(3).layer(service_fn(hello));
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
    let layer = RevokeLayer::single_use().return_if(|head: &Head<'_>| head.status == 404);
    let mut service = layer.layer(service);
    for expected in [404, 200, 401] {
        let response = service.call(caller.request()).await.expect("a response");
        assert_eq!(response.status(), expected);
    }
}

/// TRAPS 18: a retry inside of the use keeps it; one outside finds the token spent.
#[tokio::test]
async fn trap_18_a_retry_inside_of_the_layer_keeps_its_use() {
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
        .layer(RevokeLayer::single_use())
        .retry(Once(false))
        .service(flaky.clone());
    let response = inside.oneshot(caller.request()).await.expect("a response");
    assert_eq!(response.status(), 200);
    assert_eq!(attempts.swap(0, Ordering::SeqCst), 2);

    let caller = Caller::new();
    let outside = ServiceBuilder::new()
        .retry(Once(false))
        .layer(RevokeLayer::single_use())
        .service(flaky);
    let response = outside.oneshot(caller.request()).await.expect("a response");
    assert_eq!(reason(&response), Some(Reason::Spent));
}

/// TRAPS 9: the service that was made ready is the one that is called.
#[tokio::test]
async fn trap_09_readiness_of_every_cost() {
    for layer in [
        RevokeLayer::single_use(),
        RevokeLayer::uses(1_000_000),
        RevokeLayer::after_response(),
    ] {
        readiness_conformance(layer, || Caller::new().request()).await;
    }
}

#[test]
fn types_are_what_stacks_ask_for() {
    static_assertions::assert_impl_all!(RevokeLayer: Clone, Send, Sync);
    static_assertions::assert_impl_all!(Revoke<()>: Clone, Send, Sync);
    static_assertions::assert_impl_all!(RevokeBody<Full<Bytes>>: Send);
    static_assertions::assert_impl_all!(When: Clone, Send, Sync);
}

/// No layer asks an inner future to be `Send`.
#[tokio::test]
async fn an_inner_future_need_not_be_send() {
    let caller = Caller::new();
    let service = service_fn(|request: Request<()>| async move {
        let local = std::rc::Rc::new(request);
        tokio::task::yield_now().await;
        drop(local);
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
    });
    let layer = RevokeLayer::single_use();
    let response = layer.layer(service).oneshot(caller.request()).await;
    assert_eq!(response.expect("a response").status(), 200);
}
