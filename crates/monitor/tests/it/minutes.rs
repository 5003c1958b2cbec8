//! Tests the minutes that are kept of busy clients.

use std::{convert::Infallible, time::Duration};

use http::Request;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_core::{Clock, ManualClock, Reason, UnixTime};
use tower_revoke_monitor::{ClientMinute, ClientUsage, Monitor, UsageQuery};

use crate::support::*;

const START: u64 = 6_000;
const MINUTE: Duration = Duration::from_secs(60);

fn monitor(clients: usize) -> (Monitor, ManualClock) {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(START));
    let monitor = Monitor::builder().clock(clock).client_capacity(clients);
    (monitor.build(), hand)
}

fn usage(monitor: &Monitor, query: serde_json::Value) -> Vec<ClientUsage> {
    let query: UsageQuery = serde_json::from_value(query).expect("a query");
    let mut services = monitor.usage(&query).services;
    services.pop().expect("a service").clients
}

fn minutes_within(monitor: &Monitor, client: &str, span: u64) -> Vec<ClientMinute> {
    let query = json!({"steps": 720, "span": span, "q": client});
    usage(monitor, query).pop().expect("a client").minutes
}

/// Returns the minutes of the last hour, in minutes since the start, and their calls.
fn minutes(monitor: &Monitor, client: &str) -> Vec<(u64, u64)> {
    let minutes = minutes_within(monitor, client, 3_600).into_iter();
    minutes
        .map(|minute| ((minute.at.as_secs() - START) / 60, minute.calls()))
        .collect()
}

async fn calls(monitor: &Monitor, clients: &str) {
    let layer = monitor.layer("orders");
    for client in clients.split_terminator(' ') {
        call(&layer, client, hello()).await;
    }
}

#[tokio::test]
async fn calls_are_told_in_the_minute_in_which_they_ended() {
    let (monitor, hand) = monitor(10);
    hand.advance(MINUTE / 2);
    calls(&monitor, "ann bob ann").await;
    // The minute goes on.
    assert_eq!(minutes(&monitor, "ann"), []);
    hand.advance(MINUTE);
    assert_eq!(minutes(&monitor, "ann"), [(0, 2)]);
    calls(&monitor, "ann").await;
    // Nothing is noticed in between.
    hand.advance(MINUTE * 5);
    calls(&monitor, "ann ann ann").await;
    hand.advance(MINUTE);
    assert_eq!(minutes(&monitor, "ann"), [(0, 2), (1, 1), (6, 3)]);
    assert_eq!(minutes(&monitor, "bob"), [(0, 1)]);
    // A span is rounded up to whole minutes.
    assert_eq!(minutes_within(&monitor, "ann", 61).len(), 1);
    assert_eq!(minutes_within(&monitor, "ann", 60 * 6).len(), 2);
    // Only if they are asked for.
    let plain = usage(&monitor, json!({"span": 3_600}));
    assert!(plain.iter().all(|client| client.minutes.is_empty()));
}

#[tokio::test]
async fn a_minute_tells_each_outcome() {
    let (monitor, hand) = monitor(10);
    let layer = monitor.layer("orders");
    for status in [200, 404, 503, 200] {
        let mut answer = hello();
        *answer.status_mut() = status.try_into().expect("a status");
        call(&layer, "ann", answer).await;
    }
    for reason in [Reason::Revoked, Reason::Expired] {
        let service = layer.layer(service_fn(|request: Request<()>| {
            identify(&request, caller("ann"));
            std::future::ready(Ok::<_, Infallible>(rejected(reason)))
        }));
        let response = service.oneshot(Request::new(())).await.expect("an answer");
        drain(response.into_body()).await;
    }
    hand.advance(MINUTE);
    let minute = minutes_within(&monitor, "ann", 60).pop().expect("a minute");
    let json = serde_json::to_value(minute).expect("JSON");
    let expected = json!({
        "at": START, "success": 2, "failure": 1, "exception": 1, "cancelled": 0, "rejected": 2,
    });
    assert_eq!(json, expected);
}

#[tokio::test]
async fn a_minute_keeps_its_busiest_clients() {
    let (monitor, hand) = monitor(10_000);
    // The busy ones are neither the first nor the last ones.
    for client in 0..1_200 {
        let times = 1 + usize::from((100..1_100).contains(&client));
        calls(&monitor, &format!("client-{client:04} ").repeat(times)).await;
    }
    hand.advance(MINUTE);
    let mut kept = Vec::new();
    for half in ["client-0", "client-1"] {
        let query = json!({"steps": 720, "q": half, "limit": 1_000});
        let clients = usage(&monitor, query).into_iter();
        let clients = clients.filter(|client| !client.minutes.is_empty());
        kept.extend(clients.map(|client| client.name.to_string()));
    }
    kept.sort();
    let busiest = (100..1_100).map(|client| format!("client-{client:04}"));
    assert_eq!(kept, busiest.collect::<Vec<_>>());
    // In another minute it may be one of few.
    calls(&monitor, "client-0000 client-0100").await;
    hand.advance(MINUTE);
    assert_eq!(minutes(&monitor, "client-0000"), [(1, 1)]);
    assert_eq!(minutes(&monitor, "client-0100"), [(0, 2), (1, 1)]);
}

#[tokio::test]
async fn a_client_that_makes_room_and_returns_keeps_its_minutes() {
    let (monitor, hand) = monitor(1);
    calls(&monitor, "ann ann bob ann").await;
    hand.advance(MINUTE);
    assert_eq!(minutes(&monitor, "ann"), [(0, 3)]);
    calls(&monitor, "bob").await;
    hand.advance(MINUTE);
    assert_eq!(minutes(&monitor, "bob"), [(0, 1), (1, 1)]);
}

#[tokio::test]
async fn minutes_older_than_an_hour_are_forgotten() {
    let (monitor, hand) = monitor(10);
    for _ in 0..4 {
        calls(&monitor, "ann").await;
        hand.advance(MINUTE * 25);
    }
    // An hour ago, neither more nor less.
    assert_eq!(minutes(&monitor, "ann"), [(50, 1), (75, 1)]);
    hand.advance(MINUTE * 10);
    assert_eq!(minutes(&monitor, "ann"), [(50, 1), (75, 1)]);
    hand.advance(MINUTE);
    assert_eq!(minutes(&monitor, "ann"), [(75, 1)]);
}

#[tokio::test]
async fn anonymous_calls_are_no_clients() {
    let (monitor, hand) = monitor(0);
    let layer = monitor.layer("orders");
    call(&layer, "", hello()).await;
    call(&layer, "ann", hello()).await;
    hand.advance(MINUTE);
    call(&layer, "", hello()).await;
    assert_eq!(usage(&monitor, json!({"steps": 720})), []);
}

#[test]
fn no_call_is_lost_or_told_twice_where_many_end_at_once() {
    let (monitor, hand) = monitor(10);
    let layer = monitor.layer("orders");
    let threads = 4;
    let times = tower_revoke_testing::rounds(500, 20_000);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..times {
                    let call = call(&layer, "ann", hello());
                    futures_util::FutureExt::now_or_never(call).expect("at once");
                }
            });
        }
        (0..50).for_each(|_| {
            hand.advance(MINUTE);
            std::thread::yield_now();
        });
    });
    hand.advance(MINUTE);
    let told = minutes(&monitor, "ann").into_iter();
    let told = told.map(|(_, calls)| calls).sum::<u64>();
    assert_eq!(told as usize, threads * times);
}
