//! Tests the metrics that a recorder of the `metrics` facade gets.

use std::collections::BTreeMap;

use http::Request;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_core::Reason;
use tower_revoke_monitor::{Monitor, MonitorLayer};

use crate::support::*;

/// Returns all series, such as `requests_total{service=orders}`, with their values; for a
/// histogram, the number of samples.
fn series(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let all = snapshotter.snapshot().into_vec().into_iter();
    all.map(|(key, _, _, value)| {
        let (name, labels) = key.key().clone().into_parts();
        let mut labels = labels
            .iter()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect::<Vec<_>>();
        labels.sort();
        let name = name.as_str().strip_prefix("tower_revoke_").expect("valid");
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(level) => level.0,
            DebugValue::Histogram(samples) => samples.len() as f64,
        };
        (format!("{name}{{{}}}", labels.join(",")), value)
    })
    .collect()
}

fn with_recorder(test: impl AsyncFnOnce(&Snapshotter)) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    metrics::with_local_recorder(&recorder, || {
        runtime.expect("valid").block_on(test(&snapshotter));
    });
}

async fn reject(layer: &MonitorLayer) {
    let service = layer.layer(service_fn(|_: Request<()>| async {
        let response = rejected(Reason::Expired);
        Ok::<_, std::convert::Infallible>(response)
    }));
    service.oneshot(Request::new(())).await.unwrap();
}

#[test]
fn calls_are_recorded_with_bounded_labels() {
    with_recorder(async |snapshotter| {
        let layer = MonitorLayer::service("orders");
        for client in 0..100 {
            call(&layer, &client.to_string(), hello()).await;
        }
        let mut missing = hello();
        *missing.status_mut() = http::StatusCode::NOT_FOUND;
        call(&layer, "", missing).await;
        reject(&layer).await;
        reject(&layer).await;
        let expected = [
            ("request_duration_seconds{service=orders}", 101.0),
            ("requests_in_flight{service=orders}", 0.0),
            ("requests_total{outcome=cancelled,service=orders}", 0.0),
            ("requests_total{outcome=exception,service=orders}", 0.0),
            ("requests_total{outcome=failure,service=orders}", 1.0),
            (
                "requests_total{outcome=rejected,reason=expired,service=orders}",
                2.0,
            ),
            ("requests_total{outcome=success,service=orders}", 100.0),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(series(snapshotter), BTreeMap::from(expected));
    });
}

#[test]
fn the_gauge_counts_calls_in_flight() {
    with_recorder(async |snapshotter| {
        let layer = MonitorLayer::service("orders");
        let mut service = layer.layer(service_fn(|_: Request<()>| {
            std::future::pending::<Result<Answer, std::convert::Infallible>>()
        }));
        // The debugging recorder returns the change since the last read.
        let gauge = || series(snapshotter)["requests_in_flight{service=orders}"];
        let calls = [start(&mut service), start(&mut service)];
        assert_eq!(gauge(), 2.0);
        drop(calls);
        assert_eq!(gauge(), -2.0);
    });
}

#[test]
fn trap_15_labelled_clients_keep_to_their_own_cap() {
    with_recorder(async |snapshotter| {
        let monitor = Monitor::builder()
            .label_clients(2)
            .client_capacity(1)
            .build();
        let layer = monitor.layer("orders");
        for client in ["a", "b", "c", "d", "a", "b", ""] {
            call(&layer, client, hello()).await;
        }
        let all = series(snapshotter).into_iter();
        let told = all.filter(|(name, value)| name.contains("success") && *value > 0.0);
        let expected = [
            (
                "requests_total{client=a,outcome=success,service=orders}",
                2.0,
            ),
            (
                "requests_total{client=b,outcome=success,service=orders}",
                2.0,
            ),
            (
                "requests_total{client=other,outcome=success,service=orders}",
                2.0,
            ),
            ("requests_total{outcome=success,service=orders}", 1.0),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(told.collect::<BTreeMap<_, _>>(), BTreeMap::from(expected));
    });
}

#[test]
fn trap_15_no_gauge_leaks_if_the_rule_over_routes_panics() {
    with_recorder(async |snapshotter| {
        let layer = MonitorLayer::service("orders").route_by(|_| panic!("of the rule"));
        let call = std::panic::AssertUnwindSafe(call(&layer, "ann", hello()));
        assert!(futures_util::FutureExt::catch_unwind(call).await.is_err());
        let all = series(snapshotter);
        let in_flight = all.get("requests_in_flight{service=orders}");
        assert_eq!(in_flight.copied().unwrap_or(0.0), 0.0, "{all:?}");
    });
}
