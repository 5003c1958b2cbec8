//! Shared helpers: an issuer, a verifier for it, and a scripted list.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_revoke_core::{
    Authenticated, BearerToken, BoxFuture, Clock, ManualClock, Reason, Rejection, Revocation,
    RevocationKey, Revocations, StoreError, TokenId, TokenStatus, TokenVerifier, UnixTime, Use,
    UseOutcome, VerifiedToken, WatchToken,
};
use tower_revoke_jwt::{Algorithm, JwtVerifier, JwtVerifierBuilder};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

pub const ISSUER: &str = "https://id.example.com";
pub const START: UnixTime = UnixTime::from_secs(1_800_000_000);

/// Returns an issuer with fast key generation, and a clock that only the test moves.
pub fn issuer() -> (TestIssuer, Clock, ManualClock) {
    issuer_with(TestAlgorithm::ES256)
}

pub fn issuer_with(algorithm: TestAlgorithm) -> (TestIssuer, Clock, ManualClock) {
    let (clock, hand) = Clock::manual(START);
    let issuer = TestIssuer::with(ISSUER, algorithm).clock(clock.clone());
    (issuer, clock, hand)
}

pub fn algorithm(algorithm: TestAlgorithm) -> Algorithm {
    Algorithm::ALL
        .into_iter()
        .find(|ours| ours.name() == algorithm.name())
        .unwrap()
}

/// Adds the issuer's keys, of whatever kind.
pub fn keys_of(builder: JwtVerifierBuilder, issuer: &TestIssuer) -> JwtVerifierBuilder {
    let algorithm = algorithm(issuer.algorithm());
    if issuer.algorithm().is_symmetric() {
        builder.secret(algorithm, issuer.secret())
    } else {
        builder
            .jwks(issuer.jwks().to_string())
            .algorithms([algorithm])
    }
}

/// Returns a builder that lacks only the choice about revocations.
pub fn for_issuer(issuer: &TestIssuer, clock: &Clock) -> JwtVerifierBuilder {
    let builder = JwtVerifier::issuer(issuer.issuer())
        .audience("orders")
        .clock(clock.clone());
    keys_of(builder, issuer)
}

pub fn verifier(issuer: &TestIssuer, clock: &Clock) -> JwtVerifier {
    for_issuer(issuer, clock)
        .without_revocations()
        .build()
        .unwrap()
}

pub fn bearer(token: &str) -> BearerToken {
    BearerToken::new(token).unwrap()
}

pub async fn verify(tokens: &JwtVerifier, token: &str) -> Result<Authenticated, Rejection> {
    tokens.verify(&bearer(token)).await
}

/// Returns the reason why a token is rejected.
pub async fn rejection(tokens: &JwtVerifier, token: &str) -> Reason {
    verify(tokens, token).await.unwrap_err().reason()
}

pub fn cached(tokens: &JwtVerifier, token: &str) -> Option<Result<Authenticated, Reason>> {
    let answer = tokens.verify_cached(&bearer(token))?;
    Some(answer.map_err(|rejection| rejection.reason()))
}

/// How a [`FakeList`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    AtOnce,
    WhenAsked,
    Never,
}

/// A list in memory whose store can be made unavailable.
#[derive(Clone, Debug)]
pub struct FakeList(Arc<State>);

#[derive(Debug)]
struct State {
    answers: Mutex<Answers>,
    listed: Mutex<HashMap<TokenId, TokenStatus>>,
    max_token_life: Mutex<Option<Duration>>,
    clock: Clock,
    asked: AtomicUsize,
}

impl Default for FakeList {
    fn default() -> Self {
        Self(Arc::new(State {
            answers: Mutex::new(Answers::AtOnce),
            listed: Mutex::default(),
            max_token_life: Mutex::default(),
            clock: Clock::system(),
            asked: AtomicUsize::new(0),
        }))
    }
}

impl FakeList {
    pub fn answer(&self, answers: Answers) {
        *self.0.answers.lock().unwrap() = answers;
    }

    pub fn with_max_token_life(self, life: Duration) -> Self {
        *self.0.max_token_life.lock().unwrap() = Some(life);
        self
    }

    pub fn list(&self, token: TokenId, status: TokenStatus) {
        self.0.listed.lock().unwrap().insert(token, status);
    }

    /// Returns the number of store look-ups.
    pub fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    fn standing_of(&self, token: &VerifiedToken) -> TokenStatus {
        let listed = self.0.listed.lock().unwrap();
        listed
            .get(&token.id())
            .copied()
            .unwrap_or(TokenStatus::Valid)
    }
}

impl From<FakeList> for Arc<dyn Revocations> {
    fn from(list: FakeList) -> Self {
        Arc::new(list)
    }
}

impl Revocations for FakeList {
    fn clock(&self) -> &Clock {
        &self.0.clock
    }

    fn max_token_life(&self) -> Option<Duration> {
        *self.0.max_token_life.lock().unwrap()
    }

    fn known_status(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        let at_once = *self.0.answers.lock().unwrap() == Answers::AtOnce;
        at_once.then(|| self.standing_of(token))
    }

    fn status<'a>(
        &'a self,
        token: &'a VerifiedToken,
    ) -> BoxFuture<'a, Result<TokenStatus, StoreError>> {
        Box::pin(async move {
            self.0.asked.fetch_add(1, Ordering::SeqCst);
            if *self.0.answers.lock().unwrap() == Answers::Never {
                return Err(StoreError::Unavailable("the store is gone".into()));
            }
            Ok(self.standing_of(token))
        })
    }

    fn revoke(
        self: Arc<Self>,
        revocation: Revocation,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            if let RevocationKey::Token(id) = revocation.key() {
                self.list(*id, TokenStatus::Revoked);
            }
            Ok(())
        })
    }

    fn take_use(self: Arc<Self>, _: Use) -> BoxFuture<'static, Result<UseOutcome, StoreError>> {
        Box::pin(async { Ok(UseOutcome::Taken { left: 0 }) })
    }

    fn return_use(self: Arc<Self>, _: Use) -> BoxFuture<'static, Result<bool, StoreError>> {
        Box::pin(async { Ok(false) })
    }

    fn watch(self: Arc<Self>, _: &VerifiedToken, _: Option<Duration>) -> Box<dyn WatchToken> {
        panic!("a verifier watches no token")
    }
}

/// Returns why there are no keys, from the error of `ready`.
#[cfg(feature = "remote")]
pub(crate) fn keys_unavailable(
    error: &tower_revoke_core::ReadyError,
) -> &tower_revoke_jwt::KeysUnavailable {
    let source = std::error::Error::source(error).unwrap();
    source.downcast_ref().unwrap()
}
