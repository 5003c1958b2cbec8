//! Tests what operators are told.

use std::time::Duration;

use serde_json::json;
use tower_revoke_core::{Clock, HealthCheck, HealthSource, HealthStatus, UnixTime};
use tower_revoke_monitor::{Monitor, ServiceUsage, UsageQuery};

use crate::support::*;

fn query(json: serde_json::Value) -> UsageQuery {
    serde_json::from_value(json).expect("a query")
}

async fn counted() -> Monitor {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
    let monitor = Monitor::builder().clock(clock).build();
    let mut broken = hello();
    *broken.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    for _ in 0..3 {
        call(&monitor.layer("orders"), "ann", hello()).await;
    }
    call(&monitor.layer("orders"), "bob", hello()).await;
    call(&monitor.layer("stock"), "Eve", broken).await;
    call(&monitor.upstream("bank"), "", hello()).await;
    hand.advance(Duration::from_secs(10));
    monitor
}

fn names(services: &[ServiceUsage]) -> Vec<&str> {
    services.iter().map(|service| &*service.name).collect()
}

#[tokio::test]
async fn usage_tells_totals_and_the_recent_past() {
    let usage = counted().await.usage(&query(json!({"steps": 720})));
    let json = serde_json::to_value(&usage).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["at"], 1_010);
    assert_eq!(json["upstreams"][0]["name"], "bank");
    let orders = &json["services"][0];
    assert_eq!(orders["name"], "orders");
    assert_eq!(orders["total"]["success"], 4);
    assert_eq!(orders["recent"]["success"], 4);
    assert_eq!(orders["recent"]["seconds"], 10);
    assert_eq!(orders["steps"][0]["success"], 4);
    assert_eq!(orders["methods"][0]["name"], "GET");
    assert_eq!(orders["methods"][0]["recent"]["success"], 4);
    assert_eq!(orders["clients"][0]["name"], "ann");
    assert_eq!(orders["clients"][0]["total"]["success"], 3);
    assert_eq!(orders["clients_found"], 2);
    let plain = counted().await.usage(&UsageQuery::default());
    assert!(
        plain
            .services
            .iter()
            .all(|service| service.steps.is_empty())
    );
}

#[tokio::test]
async fn usage_is_sorted_filtered_and_cut_as_asked() {
    let monitor = counted().await;
    let by_calls = monitor.usage(&UsageQuery::default());
    assert_eq!(names(&by_calls.services), ["orders", "stock"]);
    let by_exceptions = monitor.usage(&query(json!({"sort": "exception"})));
    assert_eq!(names(&by_exceptions.services), ["stock", "orders"]);
    let one = monitor.usage(&query(json!({"limit": 1})));
    let clients = &one.services[0].clients;
    assert_eq!(
        clients
            .iter()
            .map(|client| &*client.name)
            .collect::<Vec<_>>(),
        ["ann"]
    );
    assert_eq!(one.services[0].clients_found, 2);
    let found = monitor.usage(&query(json!({"q": "EVE"})));
    assert_eq!(names(&found.services), ["stock"]);
    assert_eq!(&*found.services[0].clients[0].name, "Eve");
    let found = monitor.usage(&query(json!({"q": "ORD"})));
    assert_eq!(names(&found.services), ["orders"]);
    assert!(found.services[0].clients.is_empty() && found.upstreams.is_empty());
    let only = monitor.usage(&query(json!({"only": "orders", "q": "bob"})));
    assert_eq!(names(&only.services), ["orders"]);
    assert_eq!(only.services[0].clients_found, 1);
    assert!(only.upstreams.is_empty());
    let only = monitor.usage(&query(json!({"only": "orders", "q": "Eve"})));
    assert_eq!(names(&only.services), ["orders"]);
}

#[tokio::test]
async fn each_sort_has_the_largest_first_and_the_recent_past_before_all() {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
    let monitor = Monitor::builder().clock(clock).build();
    let answer = |status: u16| {
        let mut answer = hello();
        *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
        answer
    };
    let times = async |service: &'static str, status: u16, times: usize| {
        for _ in 0..times {
            call(&monitor.layer(service), "ann", answer(status)).await;
        }
    };
    // Long ago.
    times("was broken", 500, 9).await;
    hand.advance(Duration::from_secs(600));
    times("was broken", 200, 1).await;
    times("busy", 200, 6).await;
    times("busy", 500, 2).await;
    times("half broken", 500, 1).await;
    times("half broken", 200, 1).await;
    times("declines", 404, 3).await;
    hand.advance(Duration::from_secs(10));
    let first_of = |sort: &str| {
        let usage = monitor.usage(&query(json!({"sort": sort})));
        names(&usage.services)[..2].join(", ")
    };
    assert_eq!(first_of("calls"), "busy, declines");
    assert_eq!(first_of("exception"), "busy, half broken");
    assert_eq!(first_of("exception_ratio"), "half broken, busy");
    assert_eq!(first_of("failure"), "declines, busy");
    assert_eq!(first_of("name"), "busy, declines");
    // Clients have no recent past.
    let usage = monitor.usage(&query(json!({"sort": "exception", "only": "was broken"})));
    assert_eq!(usage.services[0].recent.exception, 0);
    assert_eq!(usage.services[0].clients[0].total.exception, 9);
}

#[tokio::test]
async fn slow_ones_are_found_by_each_latency_and_by_calls_in_flight() {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
    let monitor = Monitor::builder().clock(clock).build();
    for (service, millis) in [("quick", 1), ("slow", 100)] {
        let advance = || hand.advance(Duration::from_millis(millis));
        let layer = monitor.layer(service);
        let service = tower::service_fn(|_: http::Request<()>| {
            advance();
            std::future::ready(Ok::<_, std::convert::Infallible>(hello()))
        });
        let mut service = tower::Layer::layer(&layer, service);
        let response = start(&mut service).await.unwrap();
        drain(response.into_body()).await;
    }
    hand.advance(Duration::from_secs(10));
    let first_of = |sort: &str| {
        let usage = monitor.usage(&query(json!({"sort": sort})));
        usage.services[0].name.to_string()
    };
    for sort in ["p50", "p99", "avg", "max"] {
        assert_eq!(first_of(sort), "slow", "{sort}");
    }
    let mut pending = tower::Layer::layer(
        &monitor.layer("stuck"),
        tower::service_fn(|_: http::Request<()>| {
            std::future::pending::<Result<Answer, std::convert::Infallible>>()
        }),
    );
    let _pending = start(&mut pending);
    assert_eq!(first_of("in_flight"), "stuck");
}

#[tokio::test]
async fn steps_are_merged_into_as_many_as_are_asked_for() {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
    let monitor = Monitor::builder().clock(clock).build();
    for _ in 0..120 {
        call(&monitor.layer("orders"), "ann", hello()).await;
        hand.advance(Duration::from_secs(5));
    }
    let steps = |steps: usize, span: u64| {
        let mut usage = monitor.usage(&query(json!({"steps": steps, "span": span})));
        usage.services.remove(0).steps
    };
    let minutes = steps(60, 3_600);
    assert_eq!(minutes.len(), 60);
    let minutes = steps(10, 600);
    assert_eq!(minutes.len(), 10);
    for pair in minutes.windows(2) {
        assert_eq!(pair[0].calls(), 12);
        assert_eq!(pair[0].seconds, 60);
        assert_eq!(pair[1].at.as_secs() - pair[0].at.as_secs(), 60);
    }
    // Groups keep their limits, so that the first and the last may be shorter.
    hand.advance(Duration::from_secs(15));
    let shifted = steps(10, 600);
    assert_eq!(shifted[1].at, minutes[1].at);
    let counted: u64 = shifted.iter().map(|step| step.calls()).sum();
    assert_eq!((shifted[0].calls(), counted), (9, 117));
    assert!(steps(0, 600).is_empty());
    assert_eq!(steps(720, 600).len(), 117);
}

#[test]
fn the_health_of_what_was_added_is_told_in_order() {
    struct Part(&'static str, HealthStatus);
    impl HealthSource for Part {
        fn health(&self) -> Vec<HealthCheck> {
            let check = HealthCheck::new(self.0, self.1, "as ever");
            vec![check.of("one").since(Some(UnixTime::from_secs(7)))]
        }
    }
    let monitor = Monitor::new();
    monitor.add_health(Part("store", HealthStatus::Fail));
    monitor.clone().add_health(Part("keys", HealthStatus::Pass));
    let usage = serde_json::to_value(monitor.usage(&UsageQuery::default())).unwrap();
    assert_eq!(
        usage["health"],
        json!([
            {"name": "store", "of": "one", "status": "fail", "output": "as ever", "since": 7},
            {"name": "keys", "of": "one", "status": "pass", "output": "as ever", "since": 7},
        ])
    );
}

#[test]
fn an_unknown_setting_of_a_query_is_an_error() {
    assert!(serde_json::from_value::<UsageQuery>(json!({"sorted": "name"})).is_err());
    assert!(serde_json::from_value::<UsageQuery>(json!({"sort": "age"})).is_err());
}
