//! Tests the same routes over a store that fails.

use std::time::Duration;

use axum_router::Limits;
use tower_revoke::Reason;
use tower_revoke_testing::{Behavior, StoreOp};
use tower_revoke_tests::curl::curl;

use crate::kit::{Inside, Reply, WIRES, call, show, status_of};

fn is_503(reply: &Reply) -> bool {
    reply.status == 503
        && reply.header("retry-after") == Some("1")
        && reply.header("www-authenticate").is_none()
        && reply.header("content-type") == Some("application/problem+json")
}

#[tokio::test]
async fn a_store_that_is_down_is_a_503_with_retry_after() {
    for mood in [Behavior::Fails, Behavior::Frozen] {
        let inside = Inside::open(Limits::default()).await;
        for wire in WIRES {
            let token = inside.token("api invoices download");
            inside.store.set_all(mood);
            for path in [
                "/api/orders",
                "/api/invoice",
                "/api/quote/tea",
                "/api/report",
                "/api/events",
                "/download",
                "/catalog",
            ] {
                let reply = show(inside.at, wire, path, &token).await;
                assert!(is_503(&reply), "{mood:?} {path} {reply:?}");
            }
            // Public routes are still served.
            assert_eq!(call(inside.at, "/catalog", &[wire]).await.status, 200);
            let ready = call(inside.at, "/ready", &[wire]).await;
            assert_eq!(ready.status, 503);

            inside.store.set_all(Behavior::Works);
            let ready = call(inside.at, "/ready", &[wire]).await;
            assert_eq!(ready.status, 204);
            let reply = show(inside.at, wire, "/api/invoice", &token).await;
            assert_eq!(reply.status, 200, "nothing was spent: {reply:?}");
        }
    }
}

/// A recent answer saves a store call, but taking a use always needs one.
#[tokio::test]
async fn a_use_needs_the_store_and_a_fresh_answer_does_not() {
    let inside = Inside::open(Limits::default()).await;
    for wire in WIRES {
        let token = inside.token("api invoices");
        let known = show(inside.at, wire, "/api/orders", &token).await;
        assert_eq!(known.status, 200);
        inside.store.set_all(Behavior::Fails);
        let known = show(inside.at, wire, "/api/orders", &token).await;
        assert_eq!(known.status, 200);
        let claim = show(inside.at, wire, "/api/invoice", &token).await;
        assert!(is_503(&claim), "{claim:?}");
        let header = format!("Authorization: Bearer {token}");
        let log_out = ["-X", "POST", "-H", &header, wire];
        let log_out = call(inside.at, "/api/log-out-everywhere", &log_out).await;
        assert!(is_503(&log_out), "the handler's own rejection: {log_out:?}");
        inside.store.set_all(Behavior::Works);
    }
}

#[tokio::test]
async fn a_report_whose_token_can_not_be_revoked_is_never_complete() {
    let inside = Inside::open(Limits::default()).await;
    for wire in WIRES {
        let token = inside.token("api");
        inside.store.set(StoreOp::Revoke, Behavior::Fails);
        let url = format!("http://{}/api/report?rows=3", inside.at);
        let header = format!("Authorization: Bearer {token}");
        // The body is streamed: only its end is held back, without which the message is incomplete.
        let output = curl(&[wire, "-H", &header, &url]).await;
        assert!(!output.status.success(), "{output:?}");

        // The write is retried until the store accepts it.
        inside.store.set(StoreOp::Revoke, Behavior::Works);
        let report = inside.app.pending.shutdown(Duration::MAX).await;
        assert!(report.is_complete());
        assert_eq!(status_of(&inside.app, &token).await, Some(Reason::Spent));
    }
}
