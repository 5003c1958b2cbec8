//! A store that fails, and the capacity for pending revocations.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower::service_fn;
use tower_revoke::{OnStoreError, PendingRevocations, RevokeAfterResponseLayer, UseLimitLayer};
use tower_revoke_testing::{Behavior, Gate, ScriptedBody, StoreOp};
use tower_revoke_tests::{Client, Server, Wire, World, get};

use crate::kit::{WAYS, WITH_HEAD, answer, ask, assert_spent, serve};

#[tokio::test]
async fn a_store_that_fails_before_the_call_is_a_503() {
    let world = World::new();
    let token = world.token();
    for mood in [Behavior::Fails, Behavior::Frozen, Behavior::LosesTheAnswer] {
        let pending = PendingRevocations::default();
        let layer = UseLimitLayer::single()
            .commit_timeout(Duration::from_millis(50))
            .pending_revocations(&pending);
        let server = serve(&world, &layer).await;
        for wire in Wire::ALL {
            world.store.set(StoreOp::TakeUse, mood);
            let answer = ask(&server, wire, get("/length", &token)).await;
            assert_eq!(answer.status, 503, "{mood:?}");
            assert!(answer.headers.contains_key("retry-after"));
            assert!(!answer.headers.contains_key("www-authenticate"));
            // A use whose outcome is unknown is returned by its id, so the token stays valid.
            assert!(pending.shutdown(Duration::MAX).await.is_complete());
        }
    }
    world.store.set(StoreOp::TakeUse, Behavior::Works);
    let server = serve(&world, &UseLimitLayer::single()).await;
    assert_eq!(
        ask(&server, Wire::Http1, get("/length", &token))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_store_that_fails_at_the_end_leaves_the_response_incomplete() {
    let world = World::new();
    for mood in [Behavior::Fails, Behavior::Frozen] {
        let pending = PendingRevocations::default();
        let layer = RevokeAfterResponseLayer::new()
            .commit_timeout(Duration::from_millis(30))
            .pending_revocations(&pending);
        let server = serve(&world, &layer).await;
        for wire in Wire::ALL {
            for way in WAYS {
                world.store.set(StoreOp::Revoke, mood);
                let token = world.token();
                let answer = ask(&server, wire, get(way, &token)).await;
                if WITH_HEAD.contains(&way) {
                    assert_eq!(answer.status, 500, "{mood:?} {wire:?} {way}");
                    assert!(answer.whole);
                    assert!(!answer.headers.contains_key("retry-after"));
                } else {
                    assert!(!answer.whole, "{mood:?} {wire:?} {way}");
                }
                // The pending revocation is written once the store is back.
                world.store.set(StoreOp::Revoke, Behavior::Works);
                assert!(pending.shutdown(Duration::MAX).await.is_complete());
                assert_spent(&server, wire, &token, way).await;
            }
        }
    }
}

#[tokio::test]
async fn on_store_error_deliver_completes_and_keeps_trying() {
    let world = World::new();
    let pending = PendingRevocations::default();
    let layer = RevokeAfterResponseLayer::new()
        .on_store_error(OnStoreError::Deliver)
        .commit_timeout(Duration::from_millis(30))
        .pending_revocations(&pending);
    let server = serve(&world, &layer).await;
    for wire in Wire::ALL {
        for way in ["/204", "/length", "/chunked"] {
            world.store.set(StoreOp::Revoke, Behavior::Fails);
            let token = world.token();
            let answer = ask(&server, wire, get(way, &token)).await;
            assert!(answer.status.is_success() && answer.whole);
            world.store.set(StoreOp::Revoke, Behavior::Works);
            assert!(pending.shutdown(Duration::MAX).await.is_complete());
            assert_spent(&server, wire, &token, way).await;
        }
    }
}

/// Answers `/held` with a body that waits for the gate, and any other path as [`answer`] does.
async fn answer_or_hold(
    request: Request<Incoming>,
    hold: Gate,
) -> Result<Response<ScriptedBody>, Infallible> {
    Ok(match request.uri().path() {
        "/held" => Response::new(ScriptedBody::new().data("first").wait_for(&hold)),
        path => answer(path),
    })
}

/// A call is rejected up front if there is no capacity for its revocation.
#[tokio::test]
async fn trap_28_no_slot_is_a_503_before_the_call() {
    let world = World::new();
    let pending = PendingRevocations::new(1);
    let layer = RevokeAfterResponseLayer::new().pending_revocations(&pending);
    let hold = Gate::closed();
    let held = hold.clone();
    let service = service_fn(move |request| answer_or_hold(request, held.clone()));
    let server = Server::start(world.protect(&layer, service)).await;
    for wire in Wire::ALL {
        let mut client = Client::connect(server.addr, wire).await;
        let first = client.head(get("/held", &world.token())).await.unwrap();
        let busy = ask(&server, wire, get("/length", &world.token())).await;
        assert_eq!(busy.status, 503);
        assert_eq!(busy.headers["retry-after"], "1");
        drop(first);
        drop(client);
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
        assert_eq!(
            ask(&server, wire, get("/length", &world.token()))
                .await
                .status,
            200
        );
    }
    hold.open();
}

/// TRAPS 42: 1,024 calls with one token share one pending revocation, whatever the capacity.
#[tokio::test]
async fn trap_42_a_thousand_calls_with_one_token_leave_slots_for_others() {
    const CALLS: usize = 1_024;
    let world = World::new();
    let pending = PendingRevocations::new(16);
    let layer = RevokeAfterResponseLayer::new()
        .deadline(Duration::from_secs(3_600))
        .pending_revocations(&pending);
    let hold = Gate::closed();
    let held = hold.clone();
    let service = service_fn(move |request| answer_or_hold(request, held.clone()));
    let server = Server::start(world.protect(&layer, service)).await;
    let client = Client::connect(server.addr, Wire::Http2).await;
    let greedy = world.token();
    let mut responses = Vec::new();
    for _ in 0..CALLS {
        let response = client.another().head(get("/held", &greedy)).await;
        responses.push(response.expect("a head"));
    }
    assert!(responses.iter().all(|response| response.status() == 200));
    assert_eq!(pending.len(), 1);
    for wire in Wire::ALL {
        let other = world.token();
        assert_eq!(ask(&server, wire, get("/length", &other)).await.status, 200);
        assert_spent(&server, wire, &other, "/length").await;
    }
    hold.open();
    for response in responses {
        response.into_body().collect().await.expect("a whole body");
    }
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_spent(&server, Wire::Http1, &greedy, "/held").await;
}
