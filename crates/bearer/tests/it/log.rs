//! Tests what the bearer layer logs.

use std::time::Duration;

use tower_revoke_core::{Clock, UnixTime};
use tower_revoke_testing::RecordedLog;

use super::support::*;

#[tokio::test]
async fn observe_logs_what_would_have_been_rejected_and_never_the_token() {
    let log = RecordedLog::start();
    call(&layer().observe(), bearer("bad-but-secret")).await;
    call(&layer(), bearer("bad-but-secret")).await;
    let [observed] = &log.lines()[..] else {
        panic!("one line: {:#?}", log.lines());
    };
    assert!(observed.starts_with("INFO"), "{observed}");
    assert!(observed.contains("would be rejected"), "{observed}");
    assert!(observed.contains("bad_signature"), "{observed}");
    let all = log.all();
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|line| !line.contains("secret")));
}

/// TRAPS 48, in every mode.
#[tokio::test]
async fn trap_48_an_outage_is_a_line_a_minute() {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
    let layer = layer().clock(clock);
    let observing = layer.clone().observe();
    for layer in [layer, observing] {
        let log = RecordedLog::start();
        for _ in 0..1_000 {
            call(&layer, bearer("unavailable")).await;
            hand.advance(Duration::from_millis(180));
        }
        let lines = log.lines();
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(lines[1].contains("count=334"), "{lines:#?}");
        assert_eq!(log.all().len(), 1_000);
    }
}
