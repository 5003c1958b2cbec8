//! Tests the text formats of Prometheus and OpenMetrics.

use std::{convert::Infallible, time::Duration};

use http::Request;
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_core::{Clock, Reason, UnixTime};
use tower_revoke_monitor::Monitor;

use crate::support::*;

/// One call of 3 ms, a failure, a rejection and a call in flight.
async fn counted() -> Monitor {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
    let monitor = Monitor::builder().clock(clock).build();
    let layer = monitor.layer("orders");
    let mut service = layer.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(hello())
    }));
    let response = start(&mut service).await.expect("an answer");
    hand.advance(Duration::from_millis(3));
    drain(response.into_body()).await;
    let mut missing = hello();
    *missing.status_mut() = http::StatusCode::NOT_FOUND;
    call(&layer, "ann", missing).await;
    let rejecting = layer.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(rejected(Reason::Expired))
    }));
    rejecting
        .oneshot(Request::new(()))
        .await
        .expect("an answer");
    // A body that is never read.
    std::mem::forget(start(&mut service).await);
    call(&monitor.upstream("stock"), "", hello()).await;
    monitor
}

#[tokio::test]
async fn the_text_of_prometheus_tells_all_counts() {
    let text = counted().await.prometheus();
    for line in [
        "# TYPE tower_revoke_requests_total counter",
        r#"tower_revoke_requests_total{service="orders",outcome="success"} 1"#,
        r#"tower_revoke_requests_total{service="orders",outcome="failure"} 1"#,
        r#"tower_revoke_requests_total{service="orders",outcome="rejected",reason="expired"} 1"#,
        r#"tower_revoke_requests_total{upstream="stock",outcome="success"} 1"#,
        "# TYPE tower_revoke_requests_in_flight gauge",
        r#"tower_revoke_requests_in_flight{service="orders"} 1"#,
        "# TYPE tower_revoke_response_body_bytes_total counter",
        r#"tower_revoke_response_body_bytes_total{service="orders"} 10"#,
        "# TYPE tower_revoke_request_duration_seconds histogram",
        r#"tower_revoke_request_duration_seconds_sum{service="orders"} 0.003"#,
        r#"tower_revoke_request_duration_seconds_count{service="orders"} 2"#,
        r#"tower_revoke_request_duration_seconds_bucket{le="0.000256",service="orders"} 1"#,
        r#"tower_revoke_request_duration_seconds_bucket{le="0.002048",service="orders"} 1"#,
        r#"tower_revoke_request_duration_seconds_bucket{le="0.004096",service="orders"} 2"#,
        r#"tower_revoke_request_duration_seconds_bucket{le="+Inf",service="orders"} 2"#,
        r#"tower_revoke_method_requests_total{service="orders",method="GET",outcome="success"} 1"#,
        r#"tower_revoke_method_requests_total{service="orders",method="GET",outcome="rejected"} 1"#,
    ] {
        assert!(
            text.lines().any(|told| told == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(!text.contains("# UNIT") && !text.contains("# EOF"));
    assert!(text.contains("# HELP tower_revoke_requests_total Calls"));
    // No client is named.
    assert!(!text.contains("ann"));
}

#[tokio::test]
async fn open_metrics_has_the_same_samples() {
    let monitor = counted().await;
    let samples = |text: &str| {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.map(str::to_owned).collect::<Vec<_>>()
    };
    let open_metrics = monitor.open_metrics();
    assert_eq!(samples(&open_metrics), samples(&monitor.prometheus()));
    assert!(open_metrics.contains("# TYPE tower_revoke_requests counter\n"));
    assert!(open_metrics.contains("# UNIT tower_revoke_request_duration_seconds seconds\n"));
    assert!(open_metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_hostile_name_stays_within_its_label() {
    let monitor = Monitor::new();
    call(&monitor.layer("a\"} 1\nevil{b=\"\\"), "", hello()).await;
    for text in [monitor.prometheus(), monitor.open_metrics()] {
        assert!(!text.lines().any(|line| line.starts_with("evil")));
        assert!(text.contains(r#"{service="a\"} 1\nevil{b=\"\\"}"#));
    }
}
