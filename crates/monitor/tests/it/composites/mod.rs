//! Tests what composites are counted as.

mod life;
mod parts;
mod table;

use std::{convert::Infallible, time::Duration};

use http::Request;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_revoke_core::{Clock, ManualClock, UnixTime};
use tower_revoke_monitor::{Composite, Monitor, ServiceSnapshot};

use crate::support::*;

const PART_TIMEOUT: Duration = Duration::from_secs(10);

fn monitor() -> (Monitor, ManualClock) {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
    let monitor = Monitor::builder().clock(clock).part_timeout(PART_TIMEOUT);
    (monitor.build(), hand)
}

fn answer(status: u16) -> Answer {
    let mut answer = hello();
    *answer.status_mut() = status.try_into().expect("a status");
    answer
}

/// What a handler of a composite returns.
type Answered = Result<Answer, &'static str>;

/// Returns the handle that a layer has put into a request.
fn handle(request: &Request<()>) -> Composite {
    let handle = request.extensions().get::<Composite>();
    handle.expect("a handle").clone()
}

/// Calls the composite `shop`, whose handler gets the handle, and reads the response.
async fn shop(monitor: &Monitor, handler: impl AsyncFnOnce(Composite) -> Answered) {
    shop_within(monitor, Request::new(()), handler).await;
}

async fn shop_within(
    monitor: &Monitor,
    request: Request<()>,
    handler: impl AsyncFnOnce(Composite) -> Answered,
) {
    let mut handler = Some(handler);
    let service = monitor.composite("shop").layer(service_fn(|request| {
        let handler = handler.take().expect("one call");
        handler(handle(&request))
    }));
    if let Ok(response) = service.oneshot(request).await {
        drain(response.into_body()).await;
    }
}

fn attached(composite: &Composite) -> Request<()> {
    let mut request = Request::new(());
    composite.attach(&mut request);
    request
}

/// Sends a request to the upstream `stock`, which gives this answer, and reads it.
async fn send(monitor: &Monitor, request: Request<()>, answer: Answered) {
    let mut answer = Some(answer);
    let stock = monitor.upstream("stock").layer(service_fn(|_| {
        std::future::ready(answer.take().expect("one call"))
    }));
    if let Ok(response) = stock.oneshot(request).await {
        drain(response.into_body()).await;
    }
}

/// The same with an attached request of this status.
async fn part(monitor: &Monitor, composite: &Composite, status: u16) {
    send(monitor, attached(composite), Ok(answer(status))).await;
}

fn counted(monitor: &Monitor, name: &str) -> ServiceSnapshot {
    monitor.snapshot().composites[name].clone()
}

/// Returns the numbers of the composite `shop`.
fn shops(monitor: &Monitor) -> [u64; 6] {
    numbers(&counted(monitor, "shop").total)
}

/// Returns those of the upstream `stock`.
fn parts(monitor: &Monitor) -> [u64; 6] {
    numbers(&monitor.snapshot().upstreams["stock"].total)
}

/// A service that never answers.
fn silent(
    monitor: &Monitor,
) -> impl Service<Request<()>, Error = Infallible, Future: Send + 'static> + use<> {
    let silent = service_fn(|_: Request<()>| std::future::pending::<Result<Answer, Infallible>>());
    monitor.upstream("stock").layer(silent)
}

/// Calls it. The call ends when the result is dropped.
fn start_silent(monitor: &Monitor, composite: &Composite) -> impl Future + use<> {
    silent(monitor).call(attached(composite))
}

/// Calls the composite `shop` within `mall`. Its part stays open until it is dropped.
async fn nested_with_open_part(monitor: &Monitor) -> impl Sized + use<> {
    let both = (monitor.composite("mall"), monitor.composite("shop"));
    let mut open = None;
    let service = both.layer(service_fn(|request: Request<()>| {
        open = Some(start_silent(monitor, &handle(&request)));
        std::future::ready(Ok::<_, Infallible>(hello()))
    }));
    let response = service.oneshot(Request::new(())).await.expect("an answer");
    drain(response.into_body()).await;
    open.expect("a call")
}
