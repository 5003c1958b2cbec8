//! Tests what is logged about rejections in an outage.

use std::time::Duration;

use http::Request;
use tower_revoke_core::{Clock, Reason, Rejection, RejectionFormat, UnixTime};
use tower_revoke_testing::RecordedLog;

/// TRAPS 48: a thousand requests in an outage of three minutes, through two layers.
#[test]
fn trap_48_an_outage_is_a_line_a_minute_for_all_layers() {
    let log = RecordedLog::start();
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
    let one = RejectionFormat::default().clock(clock);
    let other = one.clone().realm("orders");
    let (request, ()) = Request::new(()).into_parts();
    for step in 0..1_000 {
        let format = if step % 2 == 0 { &one } else { &other };
        let down = Rejection::new(Reason::Unavailable).source(std::io::Error::other("down"));
        format.respond_to(down, &request);
        // Client errors don't fill the log either.
        format.respond_to(Reason::Expired.into(), &request);
        hand.advance(Duration::from_millis(180));
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains("WARN")), "{lines:#?}");
    assert!(lines[0].contains("count=1"), "{lines:#?}");
    assert!(lines[1].contains("count=334"), "{lines:#?}");
    assert_eq!(log.all().len(), 2_000, "the other lines are at DEBUG");
}

/// TRAPS 48: a lasting reason doesn't hide a new one.
#[test]
fn trap_48_each_reason_has_a_line_of_its_own() {
    let log = RecordedLog::start();
    let (clock, _hand) = Clock::manual(UnixTime::from_secs(1_000));
    let format = RejectionFormat::default().clock(clock);
    let (request, ()) = Request::new(()).into_parts();
    for reason in [Reason::Unavailable, Reason::Busy, Reason::NotRecorded].repeat(10) {
        format.respond_to(reason.into(), &request);
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].starts_with("WARN") && lines[0].contains("\"unavailable\""));
    assert!(lines[1].starts_with("WARN") && lines[1].contains("\"busy\""));
    assert!(lines[2].starts_with("ERROR") && lines[2].contains("\"not_recorded\""));
}
