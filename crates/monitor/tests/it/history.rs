//! Tests what is known of the last hour.

use std::{convert::Infallible, time::Duration};

use http::Request;
use tower::{Layer, service_fn};
use tower_revoke_core::{Clock, ManualClock, UnixTime};
use tower_revoke_monitor::{Monitor, ServiceHistory};

use crate::support::*;

const START: u64 = 1_000;
const HOUR: Duration = Duration::from_secs(3_600);

fn monitor() -> (Monitor, ManualClock) {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(START));
    (Monitor::builder().clock(clock).build(), hand)
}

/// Makes a call that takes so long.
async fn call_for(monitor: &Monitor, hand: &ManualClock, millis: u64) {
    let mut service = monitor
        .layer("orders")
        .layer(service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(hello())
        }));
    let response = start(&mut service).await.expect("an answer");
    hand.advance(Duration::from_millis(millis));
    drain(response.into_body()).await;
}

fn orders(monitor: &Monitor, span: Duration) -> ServiceHistory {
    monitor.history(span).services["orders"].clone()
}

/// Returns when each step began, in seconds since the start, and its calls.
fn steps(history: &ServiceHistory) -> Vec<(u64, u64)> {
    let steps = history.all.steps.iter();
    steps
        .map(|step| (step.at.as_secs() - START, step.success))
        .collect()
}

#[tokio::test]
async fn calls_are_told_in_the_step_in_which_they_ended() {
    let (monitor, hand) = monitor();
    for _ in 0..3 {
        call_for(&monitor, &hand, 100).await;
    }
    // The first step goes on.
    assert_eq!(steps(&orders(&monitor, HOUR)), []);
    hand.advance(Duration::from_secs(5));
    assert_eq!(steps(&orders(&monitor, HOUR)), [(0, 3)]);
    // Begun in one step and ended in another; nothing is noticed in between.
    call_for(&monitor, &hand, 12_000).await;
    hand.advance(Duration::from_secs(60));
    call_for(&monitor, &hand, 1).await;
    hand.advance(Duration::from_secs(5));
    let history = orders(&monitor, HOUR);
    assert_eq!(steps(&history), [(0, 3), (15, 1), (75, 1)]);
    assert_eq!(history.all.total.success, 5);
    assert_eq!(history.methods["GET"].total.success, 5);
    assert_eq!(history.all.total.bytes_out, 25);
    assert_eq!(history.all.total.sum, Duration::from_millis(12_301));
    // Only the last minute.
    let minute = orders(&monitor, Duration::from_secs(60));
    assert_eq!(steps(&minute), [(75, 1)]);
    assert_eq!(
        (minute.all.total.seconds, minute.all.total.calls()),
        (60, 1)
    );
}

#[tokio::test]
async fn percentiles_are_at_most_an_eighth_too_high() {
    let (monitor, hand) = monitor();
    for millis in 1..=40 {
        call_for(&monitor, &hand, millis).await;
    }
    hand.advance(Duration::from_secs(5));
    let total = orders(&monitor, HOUR).all.total;
    for (told, millis) in [(total.p50, 20), (total.p90, 36), (total.p99, 40)] {
        let (told, exact) = (told.unwrap(), Duration::from_millis(millis));
        assert!(
            told >= exact && told <= exact * 9 / 8,
            "{told:?} for {exact:?}"
        );
    }
    assert_eq!(orders(&monitor, Duration::ZERO).all.total.p50, None);
}

#[tokio::test]
async fn steps_older_than_an_hour_are_forgotten_and_totals_stay() {
    let (monitor, hand) = monitor();
    for _ in 0..5 {
        call_for(&monitor, &hand, 1).await;
        hand.advance(Duration::from_secs(1_000));
    }
    assert_eq!(orders(&monitor, HOUR).all.total.success, 3);
    assert_eq!(orders(&monitor, HOUR * 24).all.total.success, 3);
    assert_eq!(monitor.snapshot().services["orders"].total.success, 5);
    assert_eq!(total(&monitor.layer("orders")).latency.count(), 5);
}

#[tokio::test]
async fn the_history_is_plain_data() {
    let (monitor, hand) = monitor();
    call_for(&monitor, &hand, 1_500).await;
    hand.advance(Duration::from_secs(5));
    let json = serde_json::to_value(monitor.history(HOUR)).unwrap();
    let all = &json["services"]["orders"]["all"];
    assert_eq!(all["steps"][0]["success"], 1);
    assert_eq!(all["steps"][0]["sum_seconds"], 1.5);
    assert_eq!(all["total"]["seconds"], 5);
}
