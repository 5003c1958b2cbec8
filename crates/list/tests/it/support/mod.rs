//! Shared helpers: tokens, revocations, and a store that can be made to fail.

pub mod server;

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tokio::sync::watch;
use tower_revoke_core::{
    Claims, KeyDigest, Lift, Listed, Revocation, RevocationKey, Store, StoreError, TokenId,
    UnixTime, Use, UseId, UseOutcome, VerifiedToken,
};
use tower_revoke_list::MemoryStore;

pub const ISSUER: &str = "https://id.example.com";
pub const ISSUED: UnixTime = UnixTime::from_secs(1_000_000);
pub const LEEWAY: Duration = Duration::from_secs(30);

/// A token of `ann`, issued at [`ISSUED`], valid for an hour.
pub fn token(jti: &str) -> VerifiedToken {
    token_of(json!({
        "iss": ISSUER, "sub": "ann", "jti": jti,
        "iat": ISSUED, "exp": ISSUED.as_secs() + 3_600,
    }))
}

pub fn token_of(claims: serde_json::Value) -> VerifiedToken {
    let claims = Claims::from_value(claims).unwrap();
    let id = TokenId::of_jwt(ISSUER, claims.jwt_id().unwrap());
    VerifiedToken::new(id, claims, LEEWAY)
}

pub fn end_of(token: &VerifiedToken) -> Revocation {
    Revocation::of_token(token.id(), token.claims().expires_at())
}

pub fn ann_logs_out(at: UnixTime) -> Revocation {
    Revocation::rule(RevocationKey::subject(ISSUER, "ann"), at).unwrap()
}

pub fn lift(key: impl Into<RevocationKey>) -> Lift {
    Lift::new(key).at(ISSUED).by("ann").because("found again")
}

pub fn new_use(token: &VerifiedToken, id: u8, limit: u32) -> Use {
    let (id, limit) = (UseId::from_bytes([id; 16]), NonZeroU32::new(limit));
    Use::new(token.id(), id, limit.unwrap(), token.claims().expires_at())
}

/// How a [`Steered`] store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    Works,
    Fails,
    /// Waits until the behavior changes.
    Hangs,
    /// Does the operation, but loses the answer.
    LosesTheAnswer,
    /// Looks up, but returns an answer for no key.
    Miscounts,
}

/// A memory store without a feed, whose behavior the test sets.
#[derive(Clone)]
pub struct Steered {
    pub store: MemoryStore,
    look_up: Arc<watch::Sender<Behavior>>,
    rest: Arc<watch::Sender<Behavior>>,
    asked: Arc<watch::Sender<u64>>,
    times: Arc<Mutex<Vec<Option<UnixTime>>>>,
}

impl Steered {
    pub fn new(store: MemoryStore) -> Self {
        Self {
            store,
            look_up: Arc::new(watch::Sender::new(Behavior::Works)),
            rest: Arc::new(watch::Sender::new(Behavior::Works)),
            asked: Arc::default(),
            times: Arc::default(),
        }
    }

    pub fn set(&self, mood: Behavior) {
        self.set_look_up(mood);
        self.rest.send_replace(mood);
    }

    pub fn set_look_up(&self, mood: Behavior) {
        self.look_up.send_replace(mood);
    }

    /// Returns the number of calls.
    pub fn asked(&self) -> u64 {
        *self.asked.borrow()
    }

    /// Waits until there were this many calls in total.
    pub async fn was_asked(&self, times: u64) {
        let mut asked = self.asked.subscribe();
        let enough = asked.wait_for(|asked| *asked >= times);
        // A broken list fails here instead of hanging.
        let in_time = tokio::time::timeout(Duration::from_secs(60), enough).await;
        in_time.expect("too few calls").unwrap();
    }

    /// Returns the times of the revocations received.
    pub fn times(&self) -> Vec<Option<UnixTime>> {
        self.times.lock().unwrap().clone()
    }

    async fn run<T>(
        &self,
        moods: &watch::Sender<Behavior>,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.asked.send_modify(|asked| *asked += 1);
        let mut mood = moods.subscribe();
        let mood = *mood
            .wait_for(|mood| *mood != Behavior::Hangs)
            .await
            .unwrap();
        match mood {
            Behavior::Fails => Err(StoreError::Unavailable("told to fail".into())),
            Behavior::LosesTheAnswer => {
                call.await?;
                Err(StoreError::Unavailable("told to lose the answer".into()))
            }
            Behavior::Works | Behavior::Hangs | Behavior::Miscounts => call.await,
        }
    }
}

impl Store for Steered {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        let times = revocations.iter().map(Revocation::time);
        self.times.lock().unwrap().extend(times);
        self.run(&self.rest, self.store.revoke(revocations)).await
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        self.run(&self.rest, self.store.lift(lift)).await
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        let look_up = self.run(&self.look_up, self.store.look_up(keys)).await;
        let miscounts = *self.look_up.borrow() == Behavior::Miscounts;
        if miscounts { Ok(vec![]) } else { look_up }
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        self.run(&self.rest, self.store.take_use(use_, now)).await
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        self.run(&self.rest, self.store.return_use(use_)).await
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        self.run(&self.rest, self.store.purge(before)).await
    }
}
