//! Tests which clients are evicted, and that no count is lost.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt;
use http::{Request, Response};
use proptest::prelude::*;
use tokio::sync::oneshot;
use tower::{Layer, Service, service_fn};
use tower_revoke_core::{Clock, IdentitySlot, ManualClock, UnixTime};
use tower_revoke_monitor::{Counts, Monitor, MonitorBody, MonitorLayer, ServiceSnapshot};
use tower_revoke_testing::ScriptedBody;

use crate::support::*;

fn small(max_clients: usize) -> (MonitorLayer, ManualClock) {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
    let monitor = Monitor::builder().client_capacity(max_clients).clock(clock);
    (monitor.build().layer("orders"), hand)
}

fn orders(layer: &MonitorLayer) -> ServiceSnapshot {
    layer.monitor().snapshot().services["orders"].clone()
}

async fn calls(layer: &MonitorLayer, hand: &ManualClock, clients: &str) {
    for client in clients.split(' ') {
        hand.advance(Duration::from_millis(1));
        call(layer, client, hello()).await;
    }
}

fn kept(layer: &MonitorLayer) -> String {
    let names = orders(layer).clients.into_keys();
    names.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_least_recently_seen_client_is_evicted() {
    let (layer, hand) = small(3);
    calls(&layer, &hand, "a b c").await;
    assert_eq!(kept(&layer), "a b c");
    calls(&layer, &hand, "d").await;
    assert_eq!(kept(&layer), "b c d");
    // Seen again, `b` stays.
    calls(&layer, &hand, "b e").await;
    assert_eq!(kept(&layer), "b d e");
    calls(&layer, &hand, "d b f").await;
    assert_eq!(kept(&layer), "b d f");
    let service = orders(&layer);
    assert_eq!(service.other.success, 3);
    assert_eq!(service.total.success, 9);
}

#[tokio::test]
async fn a_token_of_an_evicted_client_is_counted_by_name_again() {
    let (layer, hand) = small(1);
    let ann = caller("ann");
    let call = async || {
        let service = layer.layer(service_fn(|request: Request<()>| {
            identify(&request, ann.clone());
            async { Ok::<_, Infallible>(hello()) }
        }));
        let response = tower::ServiceExt::oneshot(service, Request::new(())).await;
        drain(response.unwrap().into_body()).await;
    };
    call().await;
    call().await;
    assert_eq!(orders(&layer).clients["ann"].success, 2);
    calls(&layer, &hand, "bob").await;
    hand.advance(Duration::from_millis(1));
    call().await;
    call().await;
    let service = orders(&layer);
    assert_eq!(service.clients["ann"].success, 2);
    assert_eq!(service.other.success, 3);
    assert_eq!(service.total.success, 5);
}

#[tokio::test]
async fn with_a_capacity_of_zero_all_clients_count_as_other() {
    let (layer, hand) = small(0);
    calls(&layer, &hand, "a b a").await;
    let service = orders(&layer);
    assert!(service.clients.is_empty());
    assert_eq!(numbers(&service.other), [0, 3, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_call_of_an_evicted_client_is_counted_as_other() {
    let (layer, hand) = small(1);
    let mut service = layer.layer(service_fn(|request: Request<()>| {
        identify(&request, caller("ann"));
        async { Ok::<_, Infallible>(hello()) }
    }));
    let response = start(&mut service).await.unwrap();
    calls(&layer, &hand, "bob").await;
    let service = orders(&layer);
    assert_eq!(service.other.in_flight, 1);
    assert_eq!(service.total.in_flight, 1);
    // More than are merged in one step.
    for client in 0..200 {
        calls(&layer, &hand, &format!("client-{client}")).await;
    }
    drain(response.into_body()).await;
    let service = orders(&layer);
    assert_eq!(numbers(&service.total), [0, 202, 0, 0, 0, 0]);
    assert_eq!(service.other.success, 201);
}

/// One call of the model, at any point of its life.
struct Open {
    future: Option<CallFuture>,
    body: Option<MonitorBody<ScriptedBody>>,
    slot: IdentitySlot,
    client: u8,
    answer: Option<oneshot::Sender<Response<ScriptedBody>>>,
}

type CallFuture = Pin<Box<dyn Future<Output = Option<Response<MonitorBody<ScriptedBody>>>>>>;

#[derive(Clone, Copy, Debug)]
enum Step {
    Start { client: u8, known_at_once: bool },
    Identify(usize),
    Answer(usize, u16),
    Read(usize),
    Drop(usize),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![Just(200), Just(204), Just(404), Just(500)];
    prop_oneof![
        3 => (0..7_u8, any::<bool>())
            .prop_map(|(client, known_at_once)| Step::Start { client, known_at_once }),
        2 => (0..6_usize).prop_map(Step::Identify),
        3 => (0..6_usize, status).prop_map(|(call, status)| Step::Answer(call, status)),
        4 => (0..6_usize).prop_map(Step::Read),
        1 => (0..6_usize).prop_map(Step::Drop),
        2 => Just(Step::Wait),
    ]
}

fn poll(open: &mut Open) {
    let Some(future) = open.future.as_mut() else {
        return;
    };
    if let Poll::Ready(response) = poll_once(future.as_mut()) {
        open.future = None;
        open.body = response.map(Response::into_body);
    }
}

fn sum<'a>(parts: impl Iterator<Item = &'a Counts>) -> [u64; 6] {
    parts.fold([0; 6], |mut sum, part| {
        for (to, from) in sum.iter_mut().zip(numbers(part)) {
            *to += from;
        }
        sum
    })
}

fn check(layer: &MonitorLayer, started: u64, max: usize) -> ServiceSnapshot {
    let service = orders(layer);
    let parts = service.clients.values();
    let parts = parts.chain([&service.anonymous, &service.other]);
    assert_eq!(sum(parts), numbers(&service.total));
    assert_eq!(service.total.calls() + service.total.in_flight, started);
    assert_eq!(service.total.latency.count(), service.total.calls());
    assert!(service.clients.len() <= max);
    service
}

proptest! {
    /// In any interleaving, each call is counted exactly once at any time: as in flight, or by its
    /// outcome.
    #[test]
    fn sums_are_exact_in_any_interleaving(
        max in 0..4_usize,
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let (layer, hand) = small(max);
        // One token each, which caches its client.
        let callers: Vec<_> = (0..7).map(|client| caller(&client.to_string())).collect();
        let mut started = 0;
        let mut open: VecDeque<Open> = VecDeque::new();
        let mut service = layer.layer(service_fn(
            |request: Request<(Option<u8>, oneshot::Receiver<Response<ScriptedBody>>)>| {
                let slot = request.extensions().get::<IdentitySlot>().unwrap().clone();
                let (client, answer) = request.into_body();
                if let Some(client) = client {
                    slot.fill(callers[usize::from(client)].clone());
                }
                answer
            },
        ));
        for step in steps {
            match step {
                Step::Start { client, known_at_once } => {
                    started += 1;
                    let (sender, answer) = oneshot::channel();
                    let mut request = Request::new((known_at_once.then_some(client), answer));
                    let slot = IdentitySlot::default();
                    request.extensions_mut().insert(slot.clone());
                    let future = service.call(request).map(Result::ok);
                    open.push_back(Open {
                        future: Some(Box::pin(future)),
                        body: None,
                        slot,
                        client,
                        answer: Some(sender),
                    });
                }
                Step::Identify(call) => {
                    if let Some(open) = open.get_mut(call) {
                        open.slot.fill(callers[usize::from(open.client)].clone());
                        poll(open);
                    }
                }
                Step::Answer(call, status) => {
                    if let Some(open) = open.get_mut(call)
                        && let Some(answer) = open.answer.take()
                    {
                        let mut response = hello();
                        *response.status_mut() = status.try_into().unwrap();
                        answer.send(response).map_err(drop).ok();
                        poll(open);
                    }
                }
                Step::Read(call) => {
                    if let Some(open) = open.get_mut(call)
                        && let Some(body) = open.body.as_mut()
                    {
                        let frame = poll_once(std::pin::pin!(http_body_util::BodyExt::frame(body)));
                        prop_assert!(frame.is_ready());
                    }
                }
                Step::Drop(call) => drop(open.remove(call)),
                Step::Wait => hand.advance(Duration::from_millis(1)),
            }
            check(&layer, started, max);
        }
        open.clear();
        let service = check(&layer, started, max);
        prop_assert_eq!(service.total.in_flight, 0);
        prop_assert_eq!(service.total.calls(), started);
    }
}

#[test]
fn threads_that_hammer_one_client_lose_no_call() {
    hammer(10_000, |_| "ann".to_owned());
}

#[test]
fn threads_that_evict_each_others_clients_lose_no_call() {
    hammer(5, |call| (call % 23).to_string());
}

fn hammer(max_clients: usize, client: impl Fn(usize) -> String + Sync) {
    const THREADS: usize = 4;
    const CALLS: usize = 20_000;
    let monitor = Monitor::builder().client_capacity(max_clients).build();
    let layer = monitor.layer("orders");
    let done = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let callers = (0..THREADS).map(|thread| {
            let (layer, client) = (&layer, &client);
            scope.spawn(move || {
                for number in 0..CALLS {
                    let client = client(number + thread * 7);
                    call(layer, &client, hello()).now_or_never().expect("valid");
                }
            })
        });
        let callers = callers.collect::<Vec<_>>();
        let reader = scope.spawn(|| {
            let mut calls = 0;
            while !done.load(Ordering::Relaxed) {
                let now = monitor.snapshot().services["orders"].clone();
                assert!(now.total.calls() >= calls, "a call was lost");
                assert!(now.total.calls() <= (THREADS * CALLS) as u64);
                calls = now.total.calls();
                let live = now.clients.len();
                assert!(live <= max_clients, "{live} clients");
            }
        });
        for caller in callers {
            caller.join().expect("valid");
        }
        done.store(true, Ordering::Relaxed);
        reader.join().expect("valid");
    });
    let service = orders(&layer);
    let expected = (THREADS * CALLS) as u64;
    assert_eq!(numbers(&service.total), [0, expected, 0, 0, 0, 0]);
    assert_eq!(service.total.latency.count(), expected);
    let parts = service.clients.values().chain([&service.other]);
    assert_eq!(sum(parts), numbers(&service.total));
}
