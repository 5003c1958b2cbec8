//! Tests that a layer that observes rejects nobody, spends nothing, and counts what it would reject.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use crate::support::{Caller, SpendLayer, both_layers, hello};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt, service_fn, util::Either};
use tower_revoke_core::{
    Authenticated, BearerContext, BearerToken, Outcome, QueueFull, RejectionFormat,
    RemoteRevocation, RemoteSlot, TokenStatus, VerifiedToken,
};
use tower_revoke_spend::{
    Condition, PendingRevocations, RevokeAfterResponseLayer, SpendBody, UseLimitLayer,
};
use tower_revoke_testing::{RecordedLog, ScriptedBody, StoreOp};

/// A caller whose requests all came through one bearer layer.
struct Observed {
    caller: Caller,
    format: Arc<RejectionFormat>,
}

impl Observed {
    fn new() -> Self {
        Self {
            caller: Caller::new(),
            format: Arc::default(),
        }
    }

    fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        let token = BearerToken::new("e30.e30.c2ln").expect("a token");
        let context = BearerContext::new(self.format.clone(), Some(token));
        let caller = Authenticated::new(self.caller.token.clone()).with_context(context);
        request.extensions_mut().insert(caller);
        request
    }

    fn not_enforced(&self) -> BTreeMap<&'static str, u64> {
        self.format.not_enforced()
    }

    /// Asserts that the store was neither asked nor told.
    async fn assert_nothing_is_spent(&self) {
        for op in [StoreOp::TakeUse, StoreOp::ReturnUse, StoreOp::Revoke] {
            assert_eq!(self.caller.store.calls(op), 0, "{op:?}");
        }
        assert_eq!(self.caller.known_status().await, TokenStatus::Valid);
    }
}

fn observing(layer: SpendLayer) -> SpendLayer {
    match layer {
        Either::Left(layer) => Either::Left(layer.observe()),
        Either::Right(layer) => Either::Right(layer.observe()),
    }
}

async fn read<B>(response: Response<B>) -> StatusCode
where
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let (head, body) = response.into_parts();
    body.collect().await.expect("a whole body");
    head.status
}

#[tokio::test]
async fn a_second_call_is_counted_and_passes() {
    let pending = PendingRevocations::default();
    for layer in both_layers(&pending) {
        let log = RecordedLog::start();
        let observed = Observed::new();
        let service = observing(layer).layer(service_fn(hello));
        for counts in [vec![], vec![("spent", 1)], vec![("spent", 2)]] {
            let response = service.clone().oneshot(observed.request()).await;
            assert_eq!(read(response.expect("a response")).await, 200);
            assert_eq!(observed.not_enforced(), BTreeMap::from_iter(counts));
        }
        observed.assert_nothing_is_spent().await;
        let lines = log.lines();
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].starts_with("INFO") && lines[0].contains("would be rejected"));
        assert!(lines[0].contains(&observed.caller.token.id().to_string()));
    }
    assert!(pending.shutdown(Duration::from_secs(5)).await.is_complete());
}

#[tokio::test]
async fn clones_share_what_they_have_seen_and_other_layers_do_not() {
    let observed = Observed::new();
    let layer = UseLimitLayer::uses::<2>().observe();
    let call = async |layer: &UseLimitLayer| {
        let service = layer.clone().layer(service_fn(hello));
        read(
            service
                .oneshot(observed.request())
                .await
                .expect("a response"),
        )
        .await;
        observed.not_enforced().values().sum::<u64>()
    };
    assert_eq!(call(&layer).await, 0);
    assert_eq!(call(&layer.clone()).await, 0);
    assert_eq!(call(&UseLimitLayer::uses::<2>().observe()).await, 0);
    assert_eq!(call(&layer).await, 1);
}

#[tokio::test]
async fn a_use_that_would_be_returned_is_not_counted() {
    async fn failing(_: Request<()>) -> Result<Response<ScriptedBody>, Infallible> {
        let mut response = Response::new(ScriptedBody::new());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        Ok(response)
    }
    let observed = Observed::new();
    let once = UseLimitLayer::single().return_on(Outcome::Exception);
    let keeps = RevokeAfterResponseLayer::new().keep_on(Outcome::Exception);
    for layer in [Either::Left(once), Either::Right(keeps)] {
        let service = observing(layer).layer(service_fn(failing));
        for _ in 0..3 {
            let response = service.clone().oneshot(observed.request()).await;
            assert_eq!(read(response.expect("a response")).await, 502);
        }
    }
    assert_eq!(observed.not_enforced(), BTreeMap::new());
    observed.assert_nothing_is_spent().await;
}

#[tokio::test]
async fn calls_before_the_end_of_the_first_response_are_not_counted() {
    let observed = Observed::new();
    let layer = RevokeAfterResponseLayer::new().observe();
    let mut service = layer.layer(service_fn(hello));
    let first: Response<_> = service.call(observed.request()).await.expect("a response");
    let second = service.call(observed.request()).await.expect("a response");
    assert_eq!(observed.not_enforced(), BTreeMap::new());
    read(first).await;
    service.call(observed.request()).await.expect("a response");
    assert_eq!(observed.not_enforced(), BTreeMap::from([("spent", 1)]));
    read(second).await;
    observed.assert_nothing_is_spent().await;
}

#[tokio::test]
async fn whatever_the_reason_the_request_passes() {
    let observed = Observed::new();
    let anonymous = || {
        let mut request = Request::new(());
        let context = BearerContext::new(observed.format.clone(), None);
        request.extensions_mut().insert(context);
        request
    };
    let ambiguous = || {
        let mut request = observed.request();
        *request.uri_mut() = "/%69nvoices".parse().expect("a URI");
        request
    };
    let full = PendingRevocations::new(1);
    let held = RevokeAfterResponseLayer::new().pending_revocations(&full);
    let other = Caller::new();
    let mut held = held.layer(service_fn(hello));
    let _holding = held.call(other.request()).await.expect("a response");
    let ott = || !Condition::scope("OTT");
    for layer in both_layers(&full) {
        let layer = match observing(layer) {
            Either::Left(layer) => Either::Left(layer.when(ott())),
            Either::Right(layer) => Either::Right(layer.when(ott())),
        };
        let mut service = layer.layer(service_fn(hello));
        for request in [
            anonymous(),
            ambiguous(),
            observed.request(),
            Request::new(()),
        ] {
            let response = service.call(request).await.expect("a response");
            assert_eq!(read(response).await, 200);
        }
    }
    let counts = [("ambiguous_path", 2), ("busy", 2), ("no_token", 2)];
    assert_eq!(observed.not_enforced(), BTreeMap::from(counts));
}

/// An authorization server that must not be told.
#[derive(Debug)]
struct Untold;

impl RemoteRevocation for Untold {
    fn reserve(self: Arc<Self>, _: &VerifiedToken) -> Result<RemoteSlot, QueueFull> {
        panic!("a layer that observes tells nobody");
    }
}

#[tokio::test]
async fn no_authorization_server_is_told() {
    let untold: Arc<dyn RemoteRevocation> = Arc::new(Untold);
    let observed = Observed::new();
    let revokes = RevokeAfterResponseLayer::new()
        .observe()
        .also_at(untold.clone());
    let single = UseLimitLayer::single().also_at(untold).observe();
    let mut revokes = revokes.layer(service_fn(hello));
    let mut single = single.layer(service_fn(hello));
    for _ in 0..2 {
        read(revokes.call(observed.request()).await.expect("a response")).await;
        read(single.call(observed.request()).await.expect("a response")).await;
    }
    assert_eq!(observed.not_enforced(), BTreeMap::from([("spent", 2)]));
}

#[tokio::test]
async fn exempted_calls_are_not_counted() {
    let observed = Observed::new();
    let layer = UseLimitLayer::single()
        .except_methods([Method::GET])
        .observe();
    let mut service = layer.layer(service_fn(hello));
    for _ in 0..2 {
        let response: Response<tower_revoke_core::RejectionBody<SpendBody<_>>> =
            service.call(observed.request()).await.expect("a response");
        read(response).await;
    }
    assert_eq!(observed.not_enforced(), BTreeMap::new());
}
