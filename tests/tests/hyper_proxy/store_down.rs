//! Tests a failing store: every protected request fails, and no response claims success falsely.

use tower_revoke_testing::{Behavior, StoreOp};

use crate::{
    kit::{Stage, WIRES, told},
    upstream::OK,
};
use tower_revoke_tests::{
    curl::{curl, show},
    servers::wait_until,
};

#[tokio::test]
async fn a_store_that_is_down_is_a_503_with_retry_after_and_no_call() {
    let stage = Stage::with(OK).await;
    for (op, mood, scope) in [
        (StoreOp::LookUp, Behavior::Fails, "proxy"),
        (StoreOp::LookUp, Behavior::Frozen, "proxy"),
        (StoreOp::TakeUse, Behavior::Fails, "proxy OTT"),
    ] {
        for wire in WIRES {
            stage.store.set(op, mood);
            let reply = show(stage.at, wire, "/orders/1", &stage.token(scope)).await;
            assert_eq!(reply.status, 503, "{op:?} {mood:?}");
            assert_eq!(reply.header("retry-after"), Some("1"));
            assert_eq!(reply.header("www-authenticate"), None);
            stage.store.set(op, Behavior::Works);
        }
    }
    stage.end().await.none();
}

/// The upstream has done its work, so the response must not invite a retry.
#[tokio::test]
async fn a_failed_revocation_leaves_the_response_incomplete() {
    let stage = Stage::with(OK).await;
    for wire in WIRES {
        stage.store.set(StoreOp::Revoke, Behavior::Fails);
        let token = stage.token("proxy");
        let url = format!("http://{}/tickets/1", stage.at);
        let header = format!("Authorization: Bearer {token}");
        let output = curl(&[wire, "-H", &header, &url]).await;
        assert!(!output.status.success(), "{output:?}");
        assert_ne!(output.stdout, b"ok");
        let calls = stage.store.calls(StoreOp::Revoke);
        stage.store.set(StoreOp::Revoke, Behavior::Works);
        // The pending revocation is written as soon as the store is back, which ends the token.
        wait_until("the revocation is written", || {
            stage.store.calls(StoreOp::Revoke) > calls
        })
        .await;
        told(stage.issuer.url(), &token).await;
        let again = show(stage.at, wire, "/orders/1", &token).await;
        assert_eq!(again.verdict(), "401 invalid_token");
    }
    assert_eq!(stage.end().await.orders.len(), 2);
}
