//! Authenticated callers, and a stand-in for the bearer layer.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde_json::{Value, json};
use tower::{Service, ServiceExt};
use tower_revoke_core::{
    Authenticated, Claims, IdentitySlot, Reason, RejectionFormat, TokenId, VerifiedToken,
};
use tower_revoke_monitor::{Classify, Counts, MonitorLayer};
use tower_revoke_testing::ScriptedBody;

pub(crate) const ISSUER: &str = "https://id.example.com";

pub(crate) fn caller(subject: &str) -> Authenticated {
    caller_with(json!({"iss": ISSUER, "sub": subject}))
}

pub(crate) fn caller_with(claims: Value) -> Authenticated {
    let claims = Claims::from_value(claims).expect("claims");
    let token = VerifiedToken::new(TokenId::of_jwt(ISSUER, "1"), claims, Duration::ZERO);
    Authenticated::new(Arc::new(token))
}

/// Identifies the caller, as the bearer layer does.
pub(crate) fn identify<B>(request: &Request<B>, caller: Authenticated) {
    let slot = request.extensions().get::<IdentitySlot>();
    slot.expect("the monitor's identity slot").fill(caller);
}

/// The response of a layer that rejects.
pub(crate) fn rejected(reason: Reason) -> Response<Full<Bytes>> {
    let (request, ()) = Request::new(()).into_parts();
    RejectionFormat::default().respond_to(reason.into(), &request)
}

pub(crate) type Answer = Response<ScriptedBody>;

pub(crate) fn hello() -> Answer {
    Response::new(ScriptedBody::new().data("hello"))
}

/// Calls a service behind this layer as `subject`, and reads the whole response.
pub(crate) async fn call<C: Classify>(layer: &MonitorLayer<C>, subject: &str, answer: Answer) {
    let mut answer = Some(answer);
    let service = tower::service_fn(|request: Request<()>| {
        if !subject.is_empty() {
            identify(&request, caller(subject));
        }
        std::future::ready(Ok::<_, Infallible>(answer.take().expect("one call")))
    });
    let service = tower::Layer::layer(layer, service);
    let response = service.oneshot(Request::new(())).await.expect("an answer");
    drain(response.into_body()).await;
}

/// Reads frames until the end or an error.
pub(crate) async fn drain<B: Body>(body: B) {
    let mut body = std::pin::pin!(body);
    while let Some(Ok(_)) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {}
}

pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn total<C>(layer: &MonitorLayer<C>) -> Counts {
    let snapshot = layer.monitor().snapshot();
    let mut services = snapshot.services.into_values();
    services.next().expect("a service").total
}

/// Returns the five outcomes and the calls in flight, in the order of the fields.
pub(crate) fn numbers(counts: &Counts) -> [u64; 6] {
    [
        counts.in_flight,
        counts.success,
        counts.failure,
        counts.exception,
        counts.cancelled,
        counts.rejected,
    ]
}

pub(crate) const IN_FLIGHT: [u64; 6] = [1, 0, 0, 0, 0, 0];
pub(crate) const SUCCESS: [u64; 6] = [0, 1, 0, 0, 0, 0];
pub(crate) const FAILURE: [u64; 6] = [0, 0, 1, 0, 0, 0];
pub(crate) const EXCEPTION: [u64; 6] = [0, 0, 0, 1, 0, 0];
pub(crate) const CANCELLED: [u64; 6] = [0, 0, 0, 0, 1, 0];

/// Calls a service that is ready at once.
pub(crate) fn start<S: Service<Request<()>>>(service: &mut S) -> S::Future {
    service.call(Request::new(()))
}
