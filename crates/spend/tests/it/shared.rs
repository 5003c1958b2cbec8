//! Tests that calls with one token share a pending revocation, and that no caller takes all the
//! capacity.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use serde_json::json;
use tower::{Layer, Service, service_fn, util::Either};
use tower_revoke_core::{
    BearerToken, Outcome, Reason, Rejection, RejectionBody, RemoteRevocation, TokenStatus,
};
use tower_revoke_spend::{
    CommitError, PendingRevocations, RevokeAfterResponseLayer, SpendBody, UseLimitLayer,
};
use tower_revoke_testing::{Behavior, Gate, ScriptedBody, StoreOp};

use crate::{
    servers::Server,
    support::{Caller, SpendLayer, hello},
};

/// Later than anything that happens in a test.
const NEVER: Duration = Duration::from_secs(1_000_000);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Calls the service and returns the unread body.
async fn body(
    layer: &RevokeAfterResponseLayer,
    caller: &Caller,
) -> RejectionBody<SpendBody<ScriptedBody>> {
    let mut service = layer.layer(service_fn(hello));
    let response = service.call(caller.request()).await.expect("a response");
    assert_eq!(response.status(), 200);
    response.into_body()
}

async fn status(layer: &SpendLayer, caller: &Caller) -> u16 {
    let mut service = layer.layer(service_fn(hello));
    let response = service.call(caller.request()).await.expect("a response");
    if let Some(rejection) = response.extensions().get::<Rejection>() {
        assert_eq!(rejection.reason(), Reason::Busy);
    }
    response.status().as_u16()
}

fn sharing(pending: &PendingRevocations) -> RevokeAfterResponseLayer {
    RevokeAfterResponseLayer::new()
        .deadline(NEVER)
        .pending_revocations(pending)
}

/// TRAPS 42: however many calls a token makes, they take one slot, and two store calls cover all
/// their ends.
#[tokio::test(start_paused = true)]
async fn trap_42_calls_of_one_token_take_one_slot() {
    let pending = PendingRevocations::new(4);
    let layer = sharing(&pending);
    let ann = Caller::new();
    let mut bodies = Vec::new();
    for _ in 0..1_000 {
        bodies.push(body(&layer, &ann).await);
    }
    assert_eq!(pending.len(), 1);
    let bob = ann.beside(json!({"sub": "bob", "jti": "2"}));
    body(&layer, &bob)
        .await
        .collect()
        .await
        .expect("a whole body");
    assert_eq!(bob.known_status().await, TokenStatus::Spent);
    assert_eq!(ann.known_status().await, TokenStatus::Valid);

    let before = ann.store.calls(StoreOp::Revoke);
    let slow = Behavior::Slow(Duration::from_millis(10));
    ann.store.set(StoreOp::Revoke, slow);
    let ends = bodies.into_iter().map(BodyExt::collect);
    for end in futures_util::future::join_all(ends).await {
        end.expect("a whole body");
    }
    assert_eq!(ann.known_status().await, TokenStatus::Spent);
    assert!(ann.store.calls(StoreOp::Revoke) - before <= 2);
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
}

/// TRAPS 42: an end is covered only by a revocation that began after it. Otherwise a lift would
/// leave a live token behind a complete response.
#[tokio::test(start_paused = true)]
async fn trap_42_a_lift_between_two_ends_leaves_no_live_token() {
    let pending = PendingRevocations::new(4);
    let layer = sharing(&pending);
    let caller = Caller::new();
    let first = body(&layer, &caller).await;
    let second = body(&layer, &caller).await;
    let third = body(&layer, &caller).await;
    for open in [first, second] {
        open.collect().await.expect("a whole body");
        assert_eq!(caller.known_status().await, TokenStatus::Spent);
        caller.lift().await;
    }
    // The client leaves before the end, which spends too.
    drop(third);
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_eq!(caller.known_status().await, TokenStatus::Spent);
}

/// The same for a revocation at the deadline.
#[tokio::test(start_paused = true)]
async fn trap_42_a_lift_between_the_deadline_and_an_end_leaves_no_live_token() {
    let pending = PendingRevocations::new(1);
    let layer = sharing(&pending).deadline(secs(30));
    let caller = Caller::new();
    let late = body(&layer, &caller).await;
    caller.store.called(StoreOp::Revoke, 1).await;
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    caller.lift().await;
    // The slot now belongs to another token, which makes no difference.
    let bob = caller.beside(json!({"sub": "bob", "jti": "2"}));
    let held = body(&layer, &bob).await;
    late.collect().await.expect("a whole body");
    assert_eq!(caller.known_status().await, TokenStatus::Spent);

    // If the store is down by then, the response stays incomplete.
    let late = held;
    caller.store.called(StoreOp::Revoke, 3).await;
    caller.store.set(StoreOp::Revoke, Behavior::Fails);
    let error = late.collect().await.expect_err("cut off");
    assert!(error.is::<CommitError>());
}

/// TRAPS 42: a rule withdraws only its own call.
#[tokio::test(start_paused = true)]
async fn trap_42_a_rule_withdraws_only_its_own_call() {
    let pending = PendingRevocations::new(4);
    let layer = sharing(&pending);
    let keeps = layer.clone().keep_on(Outcome::Success);
    let caller = Caller::new();

    let open = body(&layer, &caller).await;
    body(&keeps, &caller)
        .await
        .collect()
        .await
        .expect("a whole body");
    assert_eq!((pending.len(), caller.store.calls(StoreOp::Revoke)), (1, 0));
    open.collect().await.expect("a whole body");
    assert_eq!(caller.known_status().await, TokenStatus::Spent);
    assert!(pending.shutdown(Duration::MAX).await.is_complete());

    let caller = Caller::new();
    let both = [body(&keeps, &caller).await, body(&keeps, &caller).await];
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    drop(both);
    assert_eq!(caller.store.calls(StoreOp::Revoke), 0);
    assert_eq!(caller.known_status().await, TokenStatus::Valid);
}

/// TRAPS 42: of the calls that share a revocation, the earliest deadline counts.
#[tokio::test(start_paused = true)]
async fn trap_42_the_earliest_deadline_revokes() {
    let pending = PendingRevocations::new(4);
    let caller = Caller::new();
    let start = tokio::time::Instant::now();
    let long = body(&sharing(&pending), &caller).await;
    let short = body(&sharing(&pending).deadline(secs(3)), &caller).await;
    assert_eq!(pending.len(), 1);
    caller.store.called(StoreOp::Revoke, 1).await;
    assert_eq!(start.elapsed().as_secs(), 3);
    drop((short, long));
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
}

/// TRAPS 42: with a failing store, each response waits for its own limit, and a later one doesn't
/// wait for the retry pause of the others.
#[tokio::test(start_paused = true)]
async fn trap_42_each_end_waits_for_its_own_limit() {
    let pending = PendingRevocations::new(4);
    let layer = sharing(&pending);
    let caller = Caller::new();
    caller.store.set(StoreOp::Revoke, Behavior::Fails);
    let patient = layer.clone().commit_timeout(secs(4));
    let (brief, patient) = (body(&layer, &caller).await, body(&patient, &caller).await);
    let later = body(&layer, &caller).await;
    let start = tokio::time::Instant::now();
    let (brief, patient) = tokio::join!(
        async { (brief.collect().await.is_err(), start.elapsed().as_secs()) },
        async { (patient.collect().await.is_err(), start.elapsed().as_secs()) },
    );
    assert_eq!((brief, patient), ((true, 2), (true, 4)));
    // By now the store is retried every five seconds.
    tokio::time::sleep(secs(60)).await;
    caller.store.set(StoreOp::Revoke, Behavior::Works);
    let start = tokio::time::Instant::now();
    later.collect().await.expect("a whole body");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_eq!(caller.known_status().await, TokenStatus::Spent);
}

/// TRAPS 42: no subject holds more than half of the capacity, with however many tokens, and neither
/// does a client or the tokens that name neither.
#[tokio::test(start_paused = true)]
async fn trap_42_no_caller_holds_more_than_half_of_the_capacity() {
    let none = serde_json::Value::Null;
    for (greedy, other) in [
        (json!({"sub": "ann"}), json!({"sub": "bob"})),
        (
            json!({"sub": none, "client_id": "shop"}),
            json!({"sub": none, "client_id": "bank"}),
        ),
    ] {
        let pending = PendingRevocations::new(8);
        let layer = sharing(&pending);
        let first = Caller::new();
        let nth = |uses: &serde_json::Value, n: usize| {
            let mut uses = uses.clone();
            uses["jti"] = n.to_string().into();
            first.beside(uses)
        };
        let mut held = Vec::new();
        for n in 0..4 {
            held.push(body(&layer, &nth(&greedy, n)).await);
        }
        assert_eq!(
            status(&Either::Right(layer.clone()), &nth(&greedy, 4)).await,
            503
        );
        // A token with a pending revocation joins it.
        held.push(body(&layer, &nth(&greedy, 3)).await);
        for n in 5..9 {
            held.push(body(&layer, &nth(&other, n)).await);
        }
        assert_eq!(pending.len(), 8);
        drop(held);
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
        assert_eq!(
            status(&Either::Right(layer.clone()), &nth(&greedy, 9)).await,
            200
        );
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
    }
}

/// The same for uses, whose calls don't share a slot.
#[tokio::test(start_paused = true)]
async fn trap_42_no_caller_holds_more_than_half_of_the_capacity_by_uses() {
    let pending = PendingRevocations::new(8);
    let gate = Gate::closed();
    let reached = Arc::new(AtomicUsize::new(0));
    let held = service_fn({
        let (gate, reached) = (gate.clone(), reached.clone());
        move |_: Request<()>| {
            reached.fetch_add(1, Ordering::SeqCst);
            let gate = gate.clone();
            async move {
                gate.passed().await;
                Ok::<_, Infallible>(Response::new(ScriptedBody::new()))
            }
        }
    });
    let layer = UseLimitLayer::uses::<1_000>().pending_revocations(&pending);
    let ann = Caller::new();
    let calls: Vec<_> = (0..100)
        .map(|_| tokio::spawn(layer.layer(held.clone()).call(ann.request())))
        .collect();
    while reached.load(Ordering::SeqCst) < 4 {
        tokio::task::yield_now().await;
    }
    let bob = ann.beside(json!({"sub": "bob", "jti": "2"}));
    assert_eq!(status(&Either::Left(layer), &bob).await, 200);
    gate.open();
    let mut counts = [0, 0];
    for call in calls {
        let status = call.await.expect("no panic").expect("a response").status();
        counts[usize::from(status == 200)] += 1;
    }
    assert_eq!(counts, [96, 4]);
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
}

/// TRAPS 42: a call doesn't join a revocation for another list or for other servers.
#[tokio::test(start_paused = true)]
async fn trap_42_two_lists_or_two_sets_of_servers_never_join() {
    let pending = PendingRevocations::new(8);
    let server = Arc::new(Server::default());
    let told = |server: &Arc<Server>| server.clone() as Arc<dyn RemoteRevocation>;
    let plain = sharing(&pending);
    let one = sharing(&pending).also_at(told(&server));
    let two = one.clone().also_at(told(&Arc::new(Server::default())));
    let (here, there) = (Caller::new(), Caller::new());
    let mut held = Vec::new();
    for (n, (layer, caller)) in [
        (&plain, &here),
        (&one, &here),
        (&two, &here),
        (&plain, &there),
    ]
    .into_iter()
    .enumerate()
    {
        for _ in 0..3 {
            held.push(body(layer, caller).await);
        }
        assert_eq!(pending.len() as usize, n + 1);
    }
    drop(held);
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_eq!(here.known_status().await, TokenStatus::Spent);
    assert_eq!(there.known_status().await, TokenStatus::Spent);
}

/// Several layers and their clones share pending revocations if they share the capacity.
#[tokio::test(start_paused = true)]
async fn trap_42_layers_that_share_capacity_share_what_is_pending() {
    let pending = PendingRevocations::new(8);
    let server: Arc<dyn RemoteRevocation> = Arc::new(Server::default());
    let caller = Caller::new();
    let mut held = Vec::new();
    for _ in 0..3 {
        let layer = sharing(&pending).also_at(server.clone());
        held.push(body(&layer, &caller).await);
    }
    assert_eq!(pending.len(), 1);
    drop(held);
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
}

/// A head buffer like hyper's, which reports the drop of its last handle.
struct Head(Arc<AtomicUsize>);

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        b"Bearer e30.e30.c2lnand-much-more"
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// TRAPS 42: the pending revocation keeps a copy of the token, not the whole head, and tells the
/// server once.
#[tokio::test(start_paused = true)]
async fn trap_42_a_pending_revocation_does_not_keep_the_head_of_the_request() {
    let pending = PendingRevocations::new(8);
    let server = Arc::new(Server::default());
    let layer = sharing(&pending).also_at(server.clone() as Arc<dyn RemoteRevocation>);
    let caller = Caller::new();
    let returned = Arc::new(AtomicUsize::new(0));
    caller.store.set(StoreOp::Revoke, Behavior::Fails);
    for _ in 0..10 {
        let head = Bytes::from_owner(Head(returned.clone()));
        let value = HeaderValue::from_maybe_shared(head.slice(..19)).expect("a value");
        let token = BearerToken::from_authorization(&value)
            .expect("a token")
            .expect("a token");
        drop((head, value));
        let mut service = layer.layer(service_fn(hello));
        let request = caller.request_with(token);
        drop(service.call(request).await.expect("a response"));
    }
    caller.store.called(StoreOp::Revoke, 3).await;
    assert_eq!((returned.load(Ordering::SeqCst), pending.len()), (10, 1));
    caller.store.set(StoreOp::Revoke, Behavior::Works);
    assert!(pending.shutdown(Duration::MAX).await.is_complete());
    assert_eq!(server.told(), ["e30.e30.c2ln"]);
}

/// TRAPS 42: calls join and end concurrently on two cores. Each complete response leaves a spent
/// token, and nothing stays pending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_42_calls_that_race_on_two_cores_lose_no_end() {
    let pending = PendingRevocations::new(8);
    let layer = sharing(&pending);
    let keeps = layer.clone().keep_on(Outcome::Success);
    let first = Caller::new();
    for round in 0..500 {
        let caller = Arc::new(first.beside(json!({"jti": round.to_string()})));
        let calls = (0..4).map(|n| {
            let (caller, layer) = (caller.clone(), layer.clone());
            let keeps = keeps.clone();
            tokio::spawn(async move {
                drop(body(&keeps, &caller).await);
                let open = body(&layer, &caller).await;
                if (round + n) % 3 == 0 {
                    drop(open);
                } else {
                    open.collect().await.expect("a whole body");
                    assert_eq!(caller.known_status().await, TokenStatus::Spent);
                }
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("no panic");
        }
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
        assert_eq!(caller.known_status().await, TokenStatus::Spent);
    }
}

/// A runtime that ends drops what is pending and frees its capacity. An end in another runtime revokes
/// there.
#[test]
fn a_runtime_that_ends_leaves_no_slot_taken() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let pending = PendingRevocations::new(1);
    let layer = sharing(&pending);
    let caller = Caller::new();
    let first = runtime();
    let open = first.block_on(body(&layer, &caller));
    assert_eq!(pending.len(), 1);
    drop(first);
    assert_eq!(pending.len(), 0);
    runtime().block_on(async {
        open.collect().await.expect("a whole body");
        assert_eq!(caller.known_status().await, TokenStatus::Spent);
        body(&layer, &caller)
            .await
            .collect()
            .await
            .expect("a whole body");
        assert!(pending.shutdown(Duration::MAX).await.is_complete());
    });
}
