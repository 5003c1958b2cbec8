//! Tests what a monitor counts of live streams. Over sockets, and with the layer that ends them, they are
//! tested across the crates.

use std::{collections::BTreeMap, convert::Infallible, sync::Mutex, time::Duration};

use http::Request;
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_core::{
    TokenEnd,
    internal::{ObservedStream, stream_observer},
};
use tower_revoke_monitor::{Counted, Counts, Monitor, MonitorLayer, ServiceSnapshot, UsageQuery};

use crate::support::*;

type Stream = Box<dyn ObservedStream>;

/// Opens a stream as `subject`, as the layer that ends streams does, in a handler behind these layers.
async fn open(layers: &[&MonitorLayer], subject: &str) -> Stream {
    let opened = Mutex::new(None);
    let handler = service_fn(|request: Request<()>| {
        let caller = caller(subject);
        let observer = stream_observer(request.extensions()).expect("a monitor");
        *opened.lock().expect("no panic") = Some(observer.begin(caller.token()));
        identify(&request, caller);
        std::future::ready(Ok::<_, Infallible>(hello()))
    });
    let request = Request::new(());
    let response = match layers {
        [outer, inner] => outer
            .layer(inner.layer(handler))
            .oneshot(request)
            .await
            .map(drop),
        [layer] => layer.layer(handler).oneshot(request).await.map(drop),
        _ => panic!("one layer or two"),
    };
    response.expect("infallible");
    opened.into_inner().expect("no panic").expect("a stream")
}

fn service(monitor: &Monitor, name: &str) -> ServiceSnapshot {
    monitor.snapshot().services.remove(name).expect("a service")
}

fn ended(counts: &Counts) -> (u64, Vec<(&str, u64)>) {
    let ended = &counts.ended_streams;
    (
        counts.live_streams,
        ended.iter().map(|(why, times)| (*why, *times)).collect(),
    )
}

#[tokio::test]
async fn streams_are_counted_by_client_until_they_are_over_and_by_why_they_were_ended() {
    let monitor = Monitor::new();
    let layer = monitor.layer("orders");
    let anns = [open(&[&layer], "ann").await, open(&[&layer], "ann").await];
    let bobs = open(&[&layer], "bob").await;
    let orders = service(&monitor, "orders");
    assert_eq!(ended(&orders.total), (3, vec![]));
    assert_eq!(ended(&orders.clients["ann"]), (2, vec![]));
    assert_eq!(orders.total.in_flight, 0);

    let [first, second] = anns;
    first.cut(TokenEnd::Revoked, Duration::from_millis(3));
    second.cut(TokenEnd::Unknown, Duration::from_secs(9));
    drop((first, second));
    let orders = service(&monitor, "orders");
    assert_eq!(
        ended(&orders.clients["ann"]),
        (0, vec![("revoked", 1), ("unavailable", 1)])
    );
    assert_eq!(ended(&orders.clients["bob"]), (1, vec![]));
    assert_eq!(
        ended(&orders.total),
        (1, vec![("revoked", 1), ("unavailable", 1)])
    );
    // Nobody was slow to end the one whose status was unknown.
    assert_eq!(orders.cut_delay.count(), 1);
    assert_eq!(orders.cut_delay.max, Some(Duration::from_millis(3)));

    // Its response has ended by itself.
    drop(bobs);
    assert_eq!(
        ended(&service(&monitor, "orders").clients["bob"]),
        (0, vec![])
    );
}

#[tokio::test]
async fn both_of_two_monitors_count_a_stream() {
    let monitor = Monitor::new();
    let (all, orders) = (monitor.layer("all"), monitor.layer("orders"));
    let stream = open(&[&all, &orders], "ann").await;
    for name in ["all", "orders"] {
        assert_eq!(
            ended(&service(&monitor, name).clients["ann"]),
            (1, vec![]),
            "{name}"
        );
    }
    stream.cut(TokenEnd::Expired, Duration::ZERO);
    drop(stream);
    for name in ["all", "orders"] {
        let service = service(&monitor, name);
        assert_eq!(ended(&service.total), (0, vec![("expired", 1)]), "{name}");
        assert_eq!(service.cut_delay.count(), 0);
    }
}

#[tokio::test]
async fn a_stream_is_its_clients_however_the_client_was_found() {
    let monitor = Monitor::new();
    let by_request = monitor
        .layer("requests")
        .client_of_request(|_| Some("cert".into()));
    let nameless = monitor.layer("nameless").client_claim("tenant");
    let streams = [
        open(&[&by_request], "ann").await,
        open(&[&nameless], "ann").await,
    ];
    monitor.count(Counted::Clients, false);
    let uncounted = open(&[&monitor.layer("uncounted")], "ann").await;
    assert_eq!(
        service(&monitor, "requests").clients["cert"].live_streams,
        1
    );
    assert_eq!(service(&monitor, "nameless").anonymous.live_streams, 1);
    assert_eq!(service(&monitor, "uncounted").other.live_streams, 1);
    drop((streams, uncounted));
    for service in monitor.snapshot().services.into_values() {
        assert_eq!(service.total.live_streams, 0);
    }
}

#[tokio::test]
async fn the_streams_of_clients_that_make_room_are_still_counted() {
    let monitor = Monitor::builder().client_capacity(1).build();
    let layer = monitor.layer("orders");
    let mut streams = Vec::new();
    for number in 0..200 {
        let stream = open(&[&layer], &number.to_string()).await;
        match number % 2 {
            0 => stream.cut(TokenEnd::Revoked, Duration::ZERO),
            _ => streams.push(stream),
        }
    }
    let orders = service(&monitor, "orders");
    assert_eq!(ended(&orders.total), (100, vec![("revoked", 100)]));
    assert_eq!(ended(&orders.other), (99, vec![("revoked", 100)]));
}

#[tokio::test]
async fn operators_are_told_of_streams() {
    let monitor = Monitor::new();
    let stream = open(&[&monitor.layer("orders")], "ann").await;
    open(&[&monitor.layer("orders")], "ann")
        .await
        .cut(TokenEnd::Revoked, Duration::from_millis(1));
    let usage = serde_json::to_value(monitor.usage(&UsageQuery::default())).expect("JSON");
    let orders = &usage["services"][0];
    assert_eq!(orders["total"]["live_streams"], 1);
    assert_eq!(orders["clients"][0]["total"]["ended_streams"]["revoked"], 1);
    assert_eq!(orders["cut_delay"]["max_seconds"], 0.001);
    #[cfg(feature = "prometheus")]
    for line in [
        "# TYPE tower_revoke_streams gauge",
        r#"tower_revoke_streams{service="orders"} 1"#,
        "# TYPE tower_revoke_streams_ended_total counter",
        r#"tower_revoke_streams_ended_total{service="orders",reason="revoked"} 1"#,
        r#"tower_revoke_streams_ended_total{service="orders",reason="expired"} 0"#,
        "# TYPE tower_revoke_stream_cut_delay_seconds histogram",
        r#"tower_revoke_stream_cut_delay_seconds_bucket{le="0.000512",service="orders"} 0"#,
        r#"tower_revoke_stream_cut_delay_seconds_bucket{le="0.001024",service="orders"} 1"#,
    ] {
        let text = monitor.prometheus();
        assert!(text.lines().any(|told| told == line), "{line}: {text}");
    }
    drop(stream);
}

#[cfg(feature = "metrics")]
#[test]
fn streams_are_recorded_by_the_facade() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    metrics::with_local_recorder(&recorder, || {
        runtime.expect("valid").block_on(async {
            let layer = MonitorLayer::service("orders");
            std::mem::forget(open(&[&layer], "ann").await);
            open(&[&layer], "ann")
                .await
                .cut(TokenEnd::Revoked, Duration::from_secs(1));
            open(&[&layer], "ann")
                .await
                .cut(TokenEnd::Expired, Duration::from_secs(1));
        });
    });
    let all = snapshotter.snapshot().into_vec().into_iter();
    let streams: BTreeMap<_, _> = all
        .filter(|(key, ..)| key.key().name().contains("stream"))
        .map(|(key, _, _, value)| {
            let reason = key.key().labels().find(|label| label.key() == "reason");
            let reason = reason.map_or("", |label| label.value()).to_owned();
            let value = match value {
                DebugValue::Counter(count) => count,
                DebugValue::Gauge(level) => level.0 as u64,
                DebugValue::Histogram(samples) => samples.len() as u64,
            };
            ((key.key().name().to_owned(), reason), value)
        })
        .collect();
    let expected = [
        ("tower_revoke_stream_cut_delay_seconds", "", 1),
        ("tower_revoke_streams", "", 1),
        ("tower_revoke_streams_ended_total", "expired", 1),
        ("tower_revoke_streams_ended_total", "revoked", 1),
        ("tower_revoke_streams_ended_total", "unavailable", 0),
    ];
    let expected = expected.map(|(name, reason, value)| ((name.into(), reason.into()), value));
    assert_eq!(streams, BTreeMap::from(expected));
}
