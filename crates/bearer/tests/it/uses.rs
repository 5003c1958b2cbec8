//! Tests uses that axum handlers take.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{Router, body::Body, response::Response, routing::get};
use http::Request;
use serde_json::json;
use tokio::sync::mpsc;
use tower::ServiceExt;
use tower_revoke_bearer::RequireBearerLayer;
use tower_revoke_core::{
    Authenticated, BearerToken, Claims, Reason, Rejection, Revocations, TokenId, TokenStatus,
    TokenVerifier, UsePermit, UsePermitError, VerifiedToken,
};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::{Behavior, ScriptedStore, StoreOp, StoreScript};

const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// Accepts one token.
#[derive(Clone)]
struct OneToken(Authenticated);

impl TokenVerifier for OneToken {
    fn verify_cached(&self, _: &BearerToken) -> Option<Result<Authenticated, Rejection>> {
        Some(Ok(self.0.clone()))
    }

    async fn verify(&self, _: &BearerToken) -> Result<Authenticated, Rejection> {
        Ok(self.0.clone())
    }
}

struct World {
    caller: Authenticated,
    list: Arc<dyn Revocations>,
    store: StoreScript,
    /// Permits that `/hand-out` and `/hang` have taken.
    permits: mpsc::UnboundedReceiver<UsePermit>,
    router: Router,
}

impl World {
    fn new() -> Self {
        let (store, script) = ScriptedStore::over(MemoryStore::new());
        let list: Arc<dyn Revocations> = RevocationList::new(store).into();
        let claims = json!({"iss": "i", "sub": "ann", "jti": "1", "exp": 4_000_000_000_u64});
        let claims = Claims::from_value(claims).expect("claims");
        let token = VerifiedToken::new(TokenId::of_jwt("i", "1"), claims, Duration::ZERO);
        let token = token.with_revocations(list.clone()).expect("any lifetime");
        let caller = Authenticated::new(Arc::new(token));
        let (out, permits) = mpsc::unbounded_channel();
        let hang = out.clone();
        let router = Router::new()
            .route("/spend", get(spend))
            .route("/return", get(give))
            .route(
                "/two",
                get(async |caller: Authenticated| caller.take_use(TWO).await.map(drop)),
            )
            .route(
                "/hand-out",
                get(async move |caller: Authenticated| {
                    let _ = out.send(caller.take_use(NonZeroU32::MIN).await?);
                    Ok::<_, Rejection>("handed out")
                }),
            )
            .route(
                "/hang",
                get(async move |caller: Authenticated| {
                    let _ = hang.send(caller.take_use(NonZeroU32::MIN).await?);
                    std::future::pending::<Result<&str, Rejection>>().await
                }),
            )
            .layer(RequireBearerLayer::new(OneToken(caller.clone())));
        Self {
            caller,
            list,
            store: script,
            permits,
            router,
        }
    }

    fn call(&self, path: &str) -> impl Future<Output = Response> + Send + 'static {
        let request = Request::get(path).header("authorization", "Bearer ann");
        let request = request.body(Body::empty()).expect("a request");
        let router = self.router.clone();
        async move { router.oneshot(request).await.expect("never fails") }
    }

    async fn status(&self) -> TokenStatus {
        self.list
            .status(self.caller.token())
            .await
            .expect("an answer")
    }
}

async fn spend(caller: Authenticated) -> Result<&'static str, Rejection> {
    let permit = caller.take_use_of::<1>().await?;
    assert_eq!(permit.left(), 0);
    Ok("spent")
}

async fn give(caller: Authenticated) -> Result<&'static str, Rejection> {
    caller.take_use(NonZeroU32::MIN).await?.return_use().await?;
    Ok("returned")
}

#[tokio::test]
async fn a_dropped_permit_is_spent() {
    let world = World::new();
    assert_eq!(world.call("/spend").await.status(), 200);
    assert_eq!(world.status().await, TokenStatus::Spent);
    let again = world.call("/spend").await;
    assert_eq!(again.status(), 401);
    let rejection = again.extensions().get::<Rejection>().expect("a rejection");
    assert_eq!(rejection.reason(), Reason::Spent);
    assert_eq!(rejection.token_id(), Some(world.caller.token_id()));
}

#[tokio::test]
async fn a_use_returned_by_the_handler_is_available_to_the_next_call() {
    let world = World::new();
    for path in ["/return", "/return", "/spend"] {
        assert_eq!(world.status().await, TokenStatus::Valid);
        assert_eq!(world.call(path).await.status(), 200);
    }
    assert_eq!(world.status().await, TokenStatus::Spent);
}

/// A client that has the head could call again with the returned use.
#[tokio::test]
async fn g2_a_use_is_not_returned_once_the_head_has_passed_the_bearer_layer() {
    let mut world = World::new();
    let response = world.call("/hand-out").await;
    assert_eq!(response.status(), 200);
    let permit = world.permits.recv().await.expect("a permit");
    let error = permit.return_use().await.expect_err("too late");
    assert!(matches!(error, UsePermitError::HeadPassed));
    assert_eq!(world.store.calls(StoreOp::ReturnUse), 0);
    assert_eq!(world.status().await, TokenStatus::Spent);
    assert_eq!(Rejection::from(error).reason(), Reason::Misconfigured);
}

/// The request's own extensions keep the context alive, so the layer must mark the head as passed.
#[tokio::test]
async fn g2_keeping_the_request_does_not_allow_a_return_after_the_head() {
    let world = World::new();
    let (out, mut kept) = mpsc::unbounded_channel();
    let layer = RequireBearerLayer::new(OneToken(world.caller.clone()));
    let service = tower::Layer::layer(
        &layer,
        tower::service_fn(async |request: Request<()>| {
            let caller = Authenticated::of(request.extensions()).expect("a caller");
            let permit = caller.take_use(NonZeroU32::MIN).await.expect("a use");
            let _ = out.send((permit, request));
            Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
        }),
    );
    let request = Request::get("/").header("authorization", "Bearer ann");
    let request = request.body(()).expect("a request");
    service.oneshot(request).await.expect("never fails");
    let (permit, _request) = kept.recv().await.expect("a permit");
    let error = permit.return_use().await.expect_err("too late");
    assert!(matches!(error, UsePermitError::HeadPassed));
}

#[tokio::test]
async fn a_client_that_leaves_spends_the_use() {
    let mut world = World::new();
    let mut call = Box::pin(world.call("/hang"));
    let permit = tokio::select! {
        _ = &mut call => panic!("the call hangs"),
        permit = world.permits.recv() => permit.expect("a permit"),
    };
    drop(call);
    let error = permit.return_use().await.expect_err("nobody is there");
    assert!(matches!(error, UsePermitError::HeadPassed));
    assert_eq!(world.status().await, TokenStatus::Spent);
}

#[tokio::test]
async fn without_a_bearer_layer_a_use_is_taken_and_can_t_be_returned() {
    let world = World::new();
    let permit = world.caller.take_use(NonZeroU32::MIN).await.expect("a use");
    let error = permit.return_use().await.expect_err("no head to wait for");
    assert!(matches!(error, UsePermitError::HeadPassed));
}

#[tokio::test]
async fn a_store_that_is_down_makes_the_handler_respond_503() {
    let world = World::new();
    for behavior in [Behavior::Fails, Behavior::LosesTheAnswer] {
        world.store.set(StoreOp::TakeUse, behavior);
        let response = world.call("/spend").await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
    }
    // The ambiguous use was returned by its id.
    world.store.set(StoreOp::TakeUse, Behavior::Works);
    assert_eq!(world.call("/return").await.status(), 200);

    world.store.set(StoreOp::ReturnUse, Behavior::Fails);
    assert_eq!(world.call("/return").await.status(), 503);
}

#[tokio::test]
async fn handlers_that_disagree_on_the_limit_are_an_error() {
    let world = World::new();
    assert_eq!(world.call("/two").await.status(), 200);
    assert_eq!(world.call("/spend").await.status(), 500);
}

/// TRAPS 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_01_g2_one_winner_of_many_handlers() {
    let world = World::new();
    let calls: Vec<_> = (0..1_000)
        .map(|_| tokio::spawn(world.call("/spend")))
        .collect();
    let mut counts = [0, 0];
    for call in calls {
        let status = call.await.expect("no panic").status();
        counts[usize::from(status == 200)] += 1;
    }
    assert_eq!(counts, [999, 1]);
}
