//! A caller with a token, a list over a scripted store, and a service.

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response};
use serde_json::{Value, json};
use tower::util::Either;
use tower_revoke_core::{
    Authenticated, BearerContext, BearerToken, Claims, Clock, Lift, RejectionFormat, Revocations,
    TokenId, TokenStatus, VerifiedToken,
};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_spend::{PendingRevocations, RevokeAfterResponseLayer, UseLimitLayer};
use tower_revoke_testing::{ScriptedBody, ScriptedStore, StoreScript};

pub(crate) struct Caller {
    pub(crate) revocations: RevocationList,
    pub(crate) list: Arc<dyn Revocations>,
    pub(crate) store: StoreScript,
    pub(crate) token: Arc<VerifiedToken>,
}

const ISSUER: &str = "https://id.example.com";

impl Caller {
    pub(crate) fn new() -> Self {
        Self::with(json!({}))
    }

    /// Creates a caller whose list uses this clock.
    pub(crate) fn at(clock: Clock) -> Self {
        let (store, script) = ScriptedStore::over(MemoryStore::new());
        let list = RevocationList::builder(store).clock(clock).build();
        let list = list.expect("valid settings");
        Self::of(list, script, json!({}))
    }

    /// Creates a caller whose token has these additional claims.
    pub(crate) fn with(more: Value) -> Self {
        let (store, script) = ScriptedStore::over(MemoryStore::new());
        Self::of(RevocationList::new(store), script, more)
    }

    /// Creates a caller with another token of the same list. These claims replace the default ones;
    /// those that are null are removed.
    pub(crate) fn beside(&self, other: Value) -> Self {
        Self::of(self.revocations.clone(), self.store.clone(), other)
    }

    fn of(revocations: RevocationList, store: StoreScript, more: Value) -> Self {
        let mut claims = json!({
            "iss": ISSUER, "sub": "ann", "jti": "1", "exp": 4_000_000_000_u64,
        });
        let Value::Object(more) = more else {
            panic!("claims are an object");
        };
        let all = claims.as_object_mut().expect("an object");
        all.extend(more);
        all.retain(|_, claim| !claim.is_null());
        let list: Arc<dyn Revocations> = revocations.clone().into();
        let jwt_id = claims["jti"].as_str().expect("a string");
        let token = VerifiedToken::new(
            TokenId::of_jwt(ISSUER, jwt_id),
            Claims::from_value(claims.clone()).expect("claims"),
            std::time::Duration::from_secs(30),
        )
        .with_revocations(list.clone())
        .expect("a list for any lifetime");
        Self {
            revocations,
            list,
            store,
            token: Arc::new(token),
        }
    }

    /// Lifts the token's revocation.
    pub(crate) async fn lift(&self) {
        let lift = Lift::new(self.token.id())
            .at(Clock::system().now())
            .by("ann")
            .because("a mistake");
        self.revocations.lift(lift).await.expect("a lift");
        assert_eq!(self.known_status().await, TokenStatus::Valid);
    }

    pub(crate) fn request(&self) -> Request<()> {
        self.request_with(BearerToken::new("e30.e30.c2ln").expect("a token"))
    }

    /// Returns a request with `token`.
    pub(crate) fn request_with(&self, token: BearerToken) -> Request<()> {
        let mut request = Request::new(());
        let extensions = request.extensions_mut();
        extensions.insert(BearerContext::new(
            Arc::new(RejectionFormat::default()),
            Some(token),
        ));
        extensions.insert(Authenticated::new(self.token.clone()));
        request
    }

    pub(crate) async fn known_status(&self) -> TokenStatus {
        self.list.status(&self.token).await.expect("an answer")
    }
}

pub(crate) async fn hello(_: Request<()>) -> Result<Response<ScriptedBody>, Infallible> {
    Ok(Response::new(ScriptedBody::new().data("hello")))
}

/// Either of the two layers.
pub(crate) type SpendLayer = Either<UseLimitLayer, RevokeAfterResponseLayer>;

/// Returns both layers, set up so that one call spends the token.
pub(crate) fn both_layers(pending: &PendingRevocations) -> [SpendLayer; 2] {
    let revokes = RevokeAfterResponseLayer::new().pending_revocations(pending);
    let single = UseLimitLayer::single().pending_revocations(pending);
    [Either::Right(revokes), Either::Left(single)]
}
