//! Tests what becomes of a request while the revocation list can't answer.

use std::{collections::BTreeMap, time::Duration};

use tower_revoke_bearer::{OnListError, RequireBearerLayer};
use tower_revoke_core::{Clock, UnixTime};
use tower_revoke_testing::{Gate, RecordedLog};

use super::support::*;

fn admitting() -> RequireBearerLayer<Tokens> {
    layer().on_list_error(OnListError::Admit)
}

#[tokio::test]
async fn by_default_it_is_rejected() {
    for layer in [layer(), admitting().on_list_error(OnListError::Reject)] {
        assert_eq!(call(&layer, bearer("unlisted")).await.status(), 503);
        assert_eq!(layer.not_enforced(), BTreeMap::new());
    }
}

#[tokio::test]
async fn if_told_so_it_is_admitted_with_its_caller_and_counted() {
    let gate = Gate::closed();
    gate.open();
    let later = RequireBearerLayer::new(Tokens::later(&gate)).on_list_error(OnListError::Admit);
    for layer in [admitting(), later] {
        let answer = call(&layer, bearer("unlisted")).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(caller(&answer).and_then(|ann| ann.subject()), Some("ann"));
        assert_eq!(layer.not_enforced(), BTreeMap::from([("unavailable", 1)]));
    }
}

#[tokio::test]
async fn everything_else_is_checked_as_always() {
    let layer = admitting();
    for (token, status) in [
        ("bad", 401),
        ("revoked", 401),
        ("spent", 401),
        ("unavailable", 503),
    ] {
        assert_eq!(
            call(&layer, bearer(token)).await.status(),
            status,
            "{token}"
        );
    }
    let layer = layer.scope("orders:write");
    assert_eq!(call(&layer, bearer("unlisted")).await.status(), 403);
}

#[tokio::test]
async fn of_several_cookies_none_is_admitted_unchecked() {
    let layer = admitting().cookie("token");
    let one = call(&layer, with("cookie", "token=unlisted")).await;
    assert_eq!(one.status(), 200);
    let context = tower_revoke_core::BearerContext::of(&seen(&one).unwrap().extensions).unwrap();
    assert_eq!(
        context.token().map(|token| token.as_str()),
        Some("unlisted")
    );
    for cookies in ["token=unlisted; token=bad", "token=ann; token=unlisted"] {
        assert_eq!(call(&layer, with("cookie", cookies)).await.status(), 503);
    }
}

#[tokio::test]
async fn an_outage_is_a_line_a_minute() {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
    let layer = admitting().clock(clock);
    let log = RecordedLog::start();
    for _ in 0..1_000 {
        call(&layer, bearer("unlisted")).await;
        hand.advance(Duration::from_millis(180));
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[1].starts_with("WARN") && lines[1].contains("admitted without"));
    assert!(lines[1].contains("count=334"), "{lines:#?}");
    assert_eq!(layer.not_enforced()["unavailable"], 1_000);
}
