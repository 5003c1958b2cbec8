//! When composites are judged, and where their counts are found.

use std::{cell::Cell, sync::Arc};

use futures_util::FutureExt;
use http::Request;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_monitor::UsageQuery;

use super::*;

/// Calls the composite, whose part stays open until it is dropped.
async fn with_open_part(monitor: &Monitor) -> impl Sized + use<> {
    let mut open = None;
    shop(monitor, |composite| {
        open = Some(start_silent(monitor, &composite));
        async { Ok(hello()) }
    })
    .await;
    open.expect("a call")
}

#[tokio::test]
async fn latency_ends_with_the_own_body() {
    let (monitor, hand) = monitor();
    let mut open = None;
    shop(&monitor, |composite| {
        open = Some(start_silent(&monitor, &composite));
        hand.advance(Duration::from_secs(1));
        async { Ok(hello()) }
    })
    .await;
    hand.advance(Duration::from_secs(5));
    drop(open);
    let total = counted(&monitor, "shop").total;
    assert_eq!(numbers(&total), CANCELLED);
    assert_eq!(total.latency.max, Some(Duration::from_secs(1)));
}

#[tokio::test]
async fn late_parts_count_for_themselves_and_as_late() {
    let (monitor, hand) = monitor();
    let mut handles = Vec::new();
    let mut requests = Vec::new();
    shop(&monitor, |composite| {
        requests.extend([attached(&composite), attached(&composite)]);
        handles.push(composite);
        async { Ok(hello()) }
    })
    .await;
    hand.advance(PART_TIMEOUT);
    // Nobody has looked meanwhile: this part finds that it is late.
    for request in requests {
        send(&monitor, request, Ok(answer(500))).await;
    }
    assert_eq!(shops(&monitor), CANCELLED);
    assert_eq!(counted(&monitor, "shop").late, 2);
    // Begun after the end.
    for handle in handles {
        part(&monitor, &handle, 404).await;
    }
    assert_eq!(shops(&monitor), CANCELLED);
    assert_eq!(counted(&monitor, "shop").late, 3);
    assert_eq!(parts(&monitor), [0, 0, 1, 2, 0, 0]);
}

#[tokio::test]
async fn a_worse_part_decides_even_if_another_times_out() {
    let (monitor, hand) = monitor();
    let mut open = None;
    shop(&monitor, async |composite| {
        open = Some(start_silent(&monitor, &composite));
        part(&monitor, &composite, 404).await;
        Ok(hello())
    })
    .await;
    hand.advance(PART_TIMEOUT);
    assert_eq!(shops(&monitor), FAILURE);
}

/// No timer runs, so the end of another call judges those that have waited for too long.
#[tokio::test]
async fn the_next_call_judges_what_is_overdue() {
    let (monitor, hand) = monitor();
    let open = [
        with_open_part(&monitor).await,
        with_open_part(&monitor).await,
    ];
    hand.advance(PART_TIMEOUT);
    shop(&monitor, async |_| Ok(hello())).await;
    hand.advance(Duration::from_secs(5));
    let history = monitor.history(Duration::from_secs(5));
    let total = &history.composites["shop"].all.total;
    assert_eq!((total.success, total.cancelled), (1, 2));
    drop(open);
    assert_eq!(counted(&monitor, "shop").late, 2);
}

/// The deadline of the outer one is the later one, whoever looks when.
#[tokio::test]
async fn a_nested_composite_that_times_out_is_judged_before_the_outer_one() {
    let (monitor, hand) = monitor();
    let outer = monitor.composite("mall");
    let open = Cell::new(None);
    let outer = outer.layer(service_fn(async |request: Request<()>| {
        shop_within(&monitor, request, async |composite| {
            open.set(Some(start_silent(&monitor, &composite)));
            part(&monitor, &composite, 500).await;
            Ok(hello())
        })
        .await;
        Ok::<_, Infallible>(hello())
    }));
    let response = outer.oneshot(Request::new(())).await.expect("an answer");
    drain(response.into_body()).await;
    hand.advance(PART_TIMEOUT * 2);
    assert_eq!(shops(&monitor), EXCEPTION);
    assert_eq!(numbers(&counted(&monitor, "mall").total), EXCEPTION);
    assert_eq!(counted(&monitor, "mall").late, 0);
}

#[tokio::test]
async fn nothing_is_kept_once_the_last_part_has_ended() {
    let (monitor, _) = monitor();
    // Its monitor holds the name.
    let name: Arc<str> = Arc::from("mall");
    let layer = monitor.composite(name.clone());
    let mut open = None;
    let service = layer.layer(service_fn(|request: Request<()>| {
        open = Some(start_silent(&monitor, &handle(&request)));
        std::future::ready(Ok::<_, Infallible>(hello()))
    }));
    let response = service.oneshot(Request::new(())).await.expect("an answer");
    drain(response.into_body()).await;
    drop((monitor, layer));
    assert!(Arc::strong_count(&name) > 1);
    drop(open);
    assert_eq!(Arc::strong_count(&name), 1);
}

/// A call that unwinds judges what is overdue. The panic is none of the others.
#[tokio::test]
async fn a_panic_in_another_call_makes_no_exception_of_what_is_overdue() {
    let (monitor, hand) = monitor();
    let _open = nested_with_open_part(&monitor).await;
    hand.advance(PART_TIMEOUT);
    let panicking = shop(&monitor, async |_| panic!("of the handler"));
    let result = std::panic::AssertUnwindSafe(panicking).catch_unwind().await;
    assert!(result.is_err());
    assert_eq!(shops(&monitor), [0, 0, 0, 1, 1, 0]);
    assert_eq!(numbers(&counted(&monitor, "mall").total), CANCELLED);
}

#[tokio::test]
async fn composites_are_counted_as_services_are() {
    let (monitor, hand) = monitor();
    let layer = monitor.composite("shop");
    let service = layer.layer(service_fn(async |request: Request<()>| {
        identify(&request, caller("ann"));
        part(&monitor, &handle(&request), 503).await;
        Ok::<_, Infallible>(hello())
    }));
    let response = service.oneshot(Request::new(())).await.expect("an answer");
    drain(response.into_body()).await;
    let shop = counted(&monitor, "shop");
    assert_eq!(numbers(&shop.total), EXCEPTION);
    assert_eq!(numbers(&shop.clients["ann"]), EXCEPTION);
    assert_eq!(numbers(&shop.methods["GET"]), EXCEPTION);
    assert_eq!(shop.total.bytes_out, 5);
    assert_eq!(shop.total.latency.count(), 1);
    hand.advance(Duration::from_secs(5));

    let history = monitor.history(Duration::from_secs(60));
    assert_eq!(history.composites["shop"].all.steps[0].exception, 1);
    let query: UsageQuery = serde_json::from_value(json!({"steps": 720})).expect("a query");
    let json = serde_json::to_value(monitor.usage(&query)).expect("JSON");
    let shop = &json["composites"][0];
    assert_eq!(shop["name"], "shop");
    assert_eq!(shop["total"]["exception"], 1);
    assert_eq!(shop["recent"]["exception"], 1);
    assert_eq!(shop["steps"][0]["exception"], 1);
    assert_eq!(shop["clients"][0]["name"], "ann");
    assert_eq!(shop["late"], 0);
}

#[cfg(feature = "prometheus")]
#[tokio::test]
async fn composites_are_told_to_prometheus() {
    let (monitor, hand) = monitor();
    let open = with_open_part(&monitor).await;
    assert!(
        monitor
            .prometheus()
            .contains("tower_revoke_requests_in_flight{composite=\"shop\"} 1\n")
    );
    hand.advance(PART_TIMEOUT);
    monitor.snapshot();
    drop(open);
    let text = monitor.prometheus();
    for line in [
        r#"tower_revoke_requests_total{composite="shop",outcome="cancelled"} 1"#,
        r#"tower_revoke_requests_in_flight{composite="shop"} 0"#,
        r#"tower_revoke_request_duration_seconds_count{composite="shop"} 1"#,
        r#"tower_revoke_method_requests_total{composite="shop",method="GET",outcome="cancelled"} 1"#,
        "# TYPE tower_revoke_late_parts_total counter",
        r#"tower_revoke_late_parts_total{composite="shop"} 1"#,
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
}
