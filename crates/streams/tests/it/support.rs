//! A caller, its list, and a service that answers with a scripted body.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty};
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_core::{
    Authenticated, BoxError, Claims, Clock, Lift, ManualClock, RejectionBody, Revocation,
    Revocations, TokenId, UnixTime, VerifiedToken,
};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_streams::{TokenLifetimeBody, TokenLifetimeLayer};
use tower_revoke_testing::ScriptedBody;

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_000_000);
pub(crate) const LIFE: Duration = Duration::from_secs(3_600);

pub(crate) type Answer = Response<RejectionBody<TokenLifetimeBody<ScriptedBody>>>;

pub(crate) struct World {
    pub(crate) list: RevocationList,
    pub(crate) hand: ManualClock,
}

impl World {
    pub(crate) fn new() -> Self {
        let (clock, hand) = Clock::manual(NOW);
        let list = RevocationList::builder(MemoryStore::new()).clock(clock);
        Self {
            list: list.build().unwrap(),
            hand,
        }
    }

    pub(crate) fn token(&self, jti: &str) -> Arc<VerifiedToken> {
        let exp = NOW.saturating_add(LIFE);
        let claims = json!({"iss": "i", "sub": "ann", "jti": jti, "iat": NOW, "exp": exp});
        let claims = Claims::from_value(claims).unwrap();
        let token = VerifiedToken::new(TokenId::of_jwt("i", jti), claims, Duration::ZERO);
        let list: Arc<dyn Revocations> = self.list.clone().into();
        Arc::new(token.with_revocations(list).unwrap())
    }

    /// A request with the token `1`.
    pub(crate) fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        let caller = Authenticated::new(self.token("1"));
        request.extensions_mut().insert(caller);
        request
    }

    pub(crate) async fn revoke(&self) {
        let revocation = Revocation::of_token(self.token("1").id(), None);
        self.list.revoke(revocation).await.unwrap();
    }

    pub(crate) async fn lift(&self) {
        let lift = Lift::new(self.token("1").id()).by("ann").because("found");
        assert!(self.list.lift(lift).await.unwrap());
    }

    pub(crate) fn watches(&self) -> u64 {
        self.list.stats().watches
    }

    /// Lets time pass for the clock and for tokio.
    pub(crate) async fn pass(&self, time: Duration) {
        self.hand.advance(time);
        tokio::time::sleep(time.max(Duration::from_secs(1))).await;
    }
}

pub(crate) async fn call(
    layer: &TokenLifetimeLayer,
    request: Request<Empty<Bytes>>,
    response: Response<ScriptedBody>,
) -> Answer {
    let mut response = Some(response);
    let inner = service_fn(move |_: Request<Empty<Bytes>>| {
        let response = response.take().unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    layer.layer(inner).oneshot(request).await.unwrap()
}

/// A response of this type, whose body waits for nobody after these frames.
pub(crate) fn endless(content_type: &str, frames: &[&'static [u8]]) -> Response<ScriptedBody> {
    let never = tower_revoke_testing::Gate::closed();
    let body = frames
        .iter()
        .fold(ScriptedBody::new(), |body, frame| body.data(*frame));
    // The gate is dropped, so it never opens.
    let body = body.wait_for(&never).data("never");
    let response = Response::builder().header("content-type", content_type);
    response.body(body).unwrap()
}

pub(crate) async fn next(answer: &mut Answer) -> Option<Result<Frame<Bytes>, BoxError>> {
    answer.body_mut().frame().await
}

/// Returns the data of the next frame.
pub(crate) async fn data(answer: &mut Answer) -> Bytes {
    let frame = next(answer).await.expect("a frame").expect("no error");
    frame.into_data().expect("data")
}
