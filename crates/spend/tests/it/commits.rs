//! Tests that the cost of a call is recorded whatever happens to the call, in paused time.

use std::{convert::Infallible, sync::Arc, time::Duration};

use crate::{
    servers::Server,
    support::{Caller, both_layers, hello},
};
use http::{Request, Response, Version};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn, util::Either};
use tower_revoke_core::{
    Clock, Outcome, Reason, Rejection, RemoteRevocation, TokenStatus, UnixTime,
};
use tower_revoke_spend::{
    CommitError, OnStoreError, PendingRevocations, RevokeAfterResponseLayer, UseLimitLayer,
};
use tower_revoke_testing::{Behavior, Gate, RecordedLog, ScriptedBody, StoreOp};

#[tokio::test(start_paused = true)]
async fn the_last_frame_waits_for_the_store() {
    let caller = Caller::new();
    caller
        .store
        .set(StoreOp::Revoke, Behavior::Slow(Duration::from_secs(1)));
    let mut service = RevokeAfterResponseLayer::new().layer(service_fn(hello));
    let mut body = service.call(caller.request()).await.unwrap().into_body();
    // Without a length, the data is sent at once, and the end waits.
    assert!(body.frame().await.is_some());
    assert_eq!(caller.store.calls(StoreOp::Revoke), 0);
    assert!(body.frame().await.is_none());
    assert_eq!(caller.known_status().await, TokenStatus::Spent);
}

#[tokio::test(start_paused = true)]
async fn a_store_slower_than_the_commit_timeout_counts_as_failed() {
    let caller = Caller::new();
    caller
        .store
        .set(StoreOp::Revoke, Behavior::Slow(Duration::from_secs(3)));
    let mut service = RevokeAfterResponseLayer::new()
        .commit_timeout(Duration::from_secs(2))
        .layer(service_fn(hello));
    let body = service.call(caller.request()).await.unwrap().into_body();
    let error = body.collect().await.expect_err("cut off");
    assert!(error.is::<CommitError>());

    let mut request = caller.request();
    *request.version_mut() = Version::HTTP_10;
    let response = service.call(request).await.unwrap();
    assert_eq!(response.status(), 500);
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.reason(), Reason::NotRecorded);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_recovers_in_time_fails_no_response() {
    let caller = Caller::new();
    caller.store.set(StoreOp::Revoke, Behavior::Fails);
    let mut service = RevokeAfterResponseLayer::new().layer(service_fn(hello));
    let body = service.call(caller.request()).await.unwrap().into_body();
    let recover = async {
        caller.store.called(StoreOp::Revoke, 3).await;
        caller.store.set(StoreOp::Revoke, Behavior::Works);
    };
    let (body, ()) = tokio::join!(body.collect(), recover);
    assert_eq!(body.unwrap().to_bytes(), "hello");
    assert_eq!(caller.known_status().await, TokenStatus::Spent);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_response_is_recorded_when_the_store_is_back() {
    let caller = Caller::new();
    let pending = PendingRevocations::default();
    caller.store.set_all(Behavior::Fails);
    let mut service = RevokeAfterResponseLayer::new()
        .pending_revocations(&pending)
        .layer(service_fn(hello));
    drop(service.call(caller.request()).await.unwrap());
    caller.store.called(StoreOp::Revoke, 20).await;
    assert_eq!(pending.len(), 1);
    caller.store.set_all(Behavior::Works);
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_eq!(caller.known_status().await, TokenStatus::Spent);
}

/// Not only at the deadline, 30 s later.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_before_its_head_revokes_at_once() {
    let caller = Caller::new();
    let pending = PendingRevocations::default();
    let never = service_fn(|_: Request<()>| {
        std::future::pending::<Result<Response<ScriptedBody>, Infallible>>()
    });
    let mut service = RevokeAfterResponseLayer::new()
        .pending_revocations(&pending)
        .layer(never);
    let begun = Instant::now();
    {
        let mut call = Box::pin(service.call(caller.request()));
        assert!(futures_util::poll!(&mut call).is_pending());
    }
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_eq!(caller.known_status().await, TokenStatus::Spent);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn calls_during_a_shutdown_are_rejected() {
    let caller = Caller::new();
    let pending = PendingRevocations::default();
    let mut service = RevokeAfterResponseLayer::new()
        .pending_revocations(&pending)
        .layer(service_fn(hello));
    let first = service.call(caller.request()).await.unwrap();
    let mut shutdown = Box::pin(pending.shutdown(Duration::MAX));
    assert!(futures_util::poll!(&mut shutdown).is_pending());
    let response = service.call(caller.request()).await.unwrap();
    assert_eq!(response.status(), 503);
    drop(first);
    assert!(shutdown.await.is_complete());
    let response = service.call(caller.request()).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_past_its_limit_reports_what_is_left_and_accepts_calls_again() {
    let caller = Caller::new();
    let pending = PendingRevocations::default();
    let mut service = RevokeAfterResponseLayer::new()
        .pending_revocations(&pending)
        .layer(service_fn(hello));
    let first = service.call(caller.request()).await.unwrap();
    let report = pending.shutdown(Duration::from_secs(1)).await;
    assert_eq!((report.pending, report.is_complete()), (1, false));
    let second = service.call(caller.request()).await.unwrap();
    assert_eq!(second.status(), 200);
    drop((first, second));
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
}

/// A panic of the inner service still spends.
#[tokio::test(start_paused = true)]
async fn a_panic_spends() {
    let pending = PendingRevocations::default();
    for layer in both_layers(&pending) {
        let caller = Caller::new();
        let broken = service_fn(|_: Request<()>| async {
            if true {
                panic!("as told");
            }
            Ok::<_, Infallible>(Response::new(ScriptedBody::new()))
        });
        let call = layer.layer(broken).oneshot(caller.request());
        assert!(tokio::spawn(call).await.is_err());
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
        assert_ne!(caller.known_status().await, TokenStatus::Valid);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_inner_service_spends_unless_a_rule_says_otherwise() {
    let pending = PendingRevocations::default();
    let single = UseLimitLayer::single().pending_revocations(&pending);
    let returns = single.return_on(Outcome::Exception);
    let revokes = RevokeAfterResponseLayer::new().pending_revocations(&pending);
    let keeps = revokes.keep_on(Outcome::Exception);
    let [revokes, spends] = both_layers(&pending);
    for (layer, expected) in [
        (revokes, TokenStatus::Spent),
        (spends, TokenStatus::Spent),
        (Either::Left(returns), TokenStatus::Valid),
        (Either::Right(keeps), TokenStatus::Valid),
    ] {
        let caller = Caller::new();
        let fails = service_fn(|_: Request<()>| async {
            Err::<Response<ScriptedBody>, _>(std::io::Error::other("as told"))
        });
        let result = layer.layer(fails).oneshot(caller.request()).await;
        assert!(result.is_err());
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
        assert_eq!(caller.known_status().await, expected);
    }
}

/// An outer layer may turn the error into a complete response, as axum's `HandleErrorLayer` does.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_inner_service_waits_for_the_store_as_a_head_does() {
    let fails = service_fn(|_: Request<()>| async {
        Err::<Response<ScriptedBody>, _>(std::io::Error::other("as told"))
    });
    let caller = Caller::new();
    let slow = Behavior::Slow(Duration::from_secs(1));
    caller.store.set(StoreOp::Revoke, slow);
    let call = RevokeAfterResponseLayer::new().layer(fails);
    assert!(call.oneshot(caller.request()).await.is_err());
    assert_eq!(caller.known_status().await, TokenStatus::Spent);

    let caller = Caller::new();
    caller.store.set(StoreOp::Revoke, Behavior::Fails);
    let call = RevokeAfterResponseLayer::new().layer(fails);
    let response = call.oneshot(caller.request()).await.expect("a rejection");
    assert_eq!(response.status(), 500);
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.reason(), Reason::NotRecorded);

    // A use that a rule returns is available once the client has seen the error.
    let caller = Caller::new();
    caller.store.set(StoreOp::ReturnUse, slow);
    let layer = UseLimitLayer::single().return_on(Outcome::Exception);
    let call = layer.layer(fails).oneshot(caller.request());
    assert!(call.await.is_err());
    assert_eq!(caller.known_status().await, TokenStatus::Valid);
}

/// A use that could not be returned in time is returned when the store answers again.
#[tokio::test(start_paused = true)]
async fn a_use_is_returned_late_rather_than_never() {
    let caller = Caller::new();
    let pending = PendingRevocations::default();
    let limit = Duration::from_secs(2);
    caller
        .store
        .set(StoreOp::ReturnUse, Behavior::Slow(2 * limit));
    let layer = UseLimitLayer::single()
        .return_on(Outcome::Success)
        .commit_timeout(limit)
        .pending_revocations(&pending);
    let call = layer.layer(service_fn(hello)).oneshot(caller.request());
    assert_eq!(call.await.unwrap().status(), 200);
    assert_eq!(caller.known_status().await, TokenStatus::Spent);
    caller.store.set(StoreOp::ReturnUse, Behavior::Works);
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_eq!(caller.known_status().await, TokenStatus::Valid);
}

/// TRAPS 11: a server derives Content-Length from the hint.
#[tokio::test]
async fn trap_11_the_body_keeps_its_size_hint_and_its_end() {
    for hint in [None, Some(5)] {
        let service = service_fn(async |_: Request<()>| {
            let body = ScriptedBody::new().data("hello").says_when_it_ends();
            let body = match hint {
                Some(bytes) => body.hint(bytes),
                None => body,
            };
            Ok::<_, Infallible>(Response::new(body))
        });
        let layer = RevokeAfterResponseLayer::new();
        let caller = Caller::new();
        let call = layer.layer(service).oneshot(caller.request());
        let mut body = call.await.unwrap().into_body();
        assert_eq!(body.size_hint().exact(), hint);
        assert!(!body.is_end_stream());
        while body.frame().await.is_some() {}
        assert!(body.is_end_stream());
    }
}

/// A wall clock that is set ahead spends no token, because it may be set back.
#[tokio::test(start_paused = true)]
async fn a_clock_step_spends_nothing() {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000_000_000));
    let caller = Caller::at(clock);
    let pending = PendingRevocations::default();
    caller.store.set(StoreOp::Revoke, Behavior::Fails);
    let mut service = RevokeAfterResponseLayer::new()
        .pending_revocations(&pending)
        .layer(service_fn(hello));
    hand.step_wall(4_000_000_000);
    let body = service.call(caller.request()).await.unwrap().into_body();
    let error = body.collect().await.expect_err("cut off");
    assert!(error.is::<CommitError>());
    hand.step_wall(-4_000_000_000);
    caller.store.set(StoreOp::Revoke, Behavior::Works);
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_eq!(caller.known_status().await, TokenStatus::Spent);
}

/// TRAPS 26: the deadline starts with the call, not with the head.
#[tokio::test(start_paused = true)]
async fn trap_26_the_deadline_counts_from_the_call() {
    let caller = Caller::new();
    let gate = Gate::closed();
    let slow = service_fn({
        let gate = gate.clone();
        move |_: Request<()>| {
            let gate = gate.clone();
            async move {
                gate.passed().await;
                Ok::<_, Infallible>(Response::new(ScriptedBody::new().data("late")))
            }
        }
    });
    let layer = RevokeAfterResponseLayer::new().deadline(Duration::from_secs(30));
    let call = tokio::spawn(layer.layer(slow).oneshot(caller.request()));
    caller.store.called(StoreOp::Revoke, 1).await;
    while caller.known_status().await == TokenStatus::Valid {
        tokio::task::yield_now().await;
    }
    gate.open();
    let body = call.await.unwrap().unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "late");
    // The end writes again, because the revocation may have been lifted meanwhile.
    assert_eq!(caller.store.calls(StoreOp::Revoke), 2);
}

/// TRAPS 32: an ambiguous use is returned by its id.
#[tokio::test(start_paused = true)]
async fn trap_32_an_ambiguous_use_is_a_503_and_returned_by_id() {
    let caller = Caller::new();
    let pending = PendingRevocations::default();
    let mut service = UseLimitLayer::single()
        .pending_revocations(&pending)
        .layer(service_fn(hello));
    caller.store.set(StoreOp::TakeUse, Behavior::LosesTheAnswer);
    let response = service.call(caller.request()).await.unwrap();
    assert_eq!(response.status(), 503);
    caller.store.set(StoreOp::TakeUse, Behavior::Works);
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_eq!(caller.store.calls(StoreOp::ReturnUse), 1);
    let response = service.call(caller.request()).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// A client that leaves while the use is being taken has spent it, if the use wins.
#[tokio::test(start_paused = true)]
async fn a_use_whose_caller_left_is_still_completed() {
    let caller = Caller::new();
    let pending = PendingRevocations::default();
    let server = Arc::new(Server::default());
    caller
        .store
        .set(StoreOp::TakeUse, Behavior::Slow(Duration::from_secs(1)));
    let mut service = UseLimitLayer::single()
        .pending_revocations(&pending)
        .also_at(server.clone() as Arc<dyn RemoteRevocation>)
        .layer(service_fn(hello));
    {
        let mut call = Box::pin(service.call(caller.request()));
        assert!(futures_util::poll!(&mut call).is_pending());
    }
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_eq!(caller.known_status().await, TokenStatus::Spent);
    assert_eq!(server.told(), ["e30.e30.c2ln"]);
}

/// TRAPS 32: whether the use was taken is not known, so it is taken under the same id until it is.
#[tokio::test(start_paused = true)]
async fn a_use_that_may_be_taken_is_owed_although_its_caller_left() {
    let caller = Caller::new();
    let pending = PendingRevocations::default();
    let server = Arc::new(Server::default());
    caller.store.set(StoreOp::TakeUse, Behavior::LosesTheAnswer);
    let mut service = UseLimitLayer::single()
        .pending_revocations(&pending)
        .also_at(server.clone() as Arc<dyn RemoteRevocation>)
        .layer(service_fn(hello));
    drop(service.call(caller.request()));
    caller.store.called(StoreOp::TakeUse, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    caller.store.set(StoreOp::TakeUse, Behavior::Works);
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_eq!(caller.known_status().await, TokenStatus::Spent);
    assert_eq!(server.told(), ["e30.e30.c2ln"]);
}

#[tokio::test(start_paused = true)]
async fn deliver_completes_the_response_while_the_store_is_away() {
    let caller = Caller::new();
    let pending = PendingRevocations::default();
    caller.store.set(StoreOp::Revoke, Behavior::Frozen);
    let mut service = RevokeAfterResponseLayer::new()
        .on_store_error(OnStoreError::Deliver)
        .pending_revocations(&pending)
        .layer(service_fn(hello));
    let body = service.call(caller.request()).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(pending.len(), 1);
}

/// TRAPS 48: a pending write is retried some hundred times while the store is down.
#[tokio::test(start_paused = true)]
async fn trap_48_unrecorded_writes_in_an_outage_are_a_line_a_minute() {
    const CALLS: u64 = 20;
    let log = RecordedLog::start();
    let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000_000_000));
    let pending = PendingRevocations::default();
    let layer = RevokeAfterResponseLayer::new().pending_revocations(&pending);
    let callers: Vec<_> = (0..CALLS).map(|_| Caller::at(clock.clone())).collect();
    for caller in &callers {
        caller.store.set(StoreOp::Revoke, Behavior::Fails);
        let mut service = layer.layer(service_fn(hello));
        drop(service.call(caller.request()).await.unwrap());
    }
    for _ in 0..180 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        hand.advance(Duration::from_secs(1));
    }
    // The lists log the failures of their stores separately.
    let again = "INFO message=writes to the revocation list succeed again";
    let ours = || {
        let mut lines = log.lines();
        lines.retain(|line| line.contains("not recorded yet") || line == again);
        lines
    };
    let lines = ours();
    assert!((3..=4).contains(&lines.len()), "{lines:#?}");
    assert!(lines.iter().all(|line| line.starts_with("ERROR")));
    let tries = log.all();
    let tries = tries
        .iter()
        .filter(|line| line.contains("not recorded yet"));
    assert!(tries.count() > 500);

    // The end of the outage is logged once too.
    for caller in &callers {
        caller.store.set(StoreOp::Revoke, Behavior::Works);
    }
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_eq!(ours()[lines.len()..], [again]);
}
