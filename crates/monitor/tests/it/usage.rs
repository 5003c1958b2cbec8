//! Tests what operators are told.

use std::time::Duration;

use serde_json::json;
use tower_revoke_core::{Clock, UnixTime};
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
    let usage = counted().await.usage(&query(json!({"steps": true})));
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
    assert!(found.services[0].clients.is_empty());
    assert_eq!(&*found.services[1].clients[0].name, "Eve");
}

#[test]
fn an_unknown_setting_of_a_query_is_an_error() {
    assert!(serde_json::from_value::<UsageQuery>(json!({"sorted": "name"})).is_err());
    assert!(serde_json::from_value::<UsageQuery>(json!({"sort": "age"})).is_err());
}
