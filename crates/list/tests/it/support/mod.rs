//! What the tests of the list share: tokens, revocations, and a store that can be told to fail.

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

/// A token of `ann`'s, issued at [`ISSUED`], for an hour.
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
    Lift {
        key: key.into(),
        at: ISSUED,
        by: "ann".into(),
        reason: "found again".into(),
    }
}

pub fn new_use(token: &VerifiedToken, id: u8, limit: u32) -> Use {
    let (id, limit) = (UseId::from_bytes([id; 16]), NonZeroU32::new(limit));
    Use::new(token.id(), id, limit.unwrap(), token.claims().expires_at())
}

/// How a [`Steered`] store takes what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    Works,
    Fails,
    /// Waits until the mood changes.
    Hangs,
    /// Does what it is asked, and loses the answer.
    LosesTheAnswer,
    /// Looks up, and answers for no key at all.
    Miscounts,
}

/// A memory store without a feed, and with a hand on it.
#[derive(Clone)]
pub struct Steered {
    pub store: MemoryStore,
    look_up: Arc<watch::Sender<Behavior>>,
    rest: Arc<watch::Sender<Behavior>>,
    asked: Arc<watch::Sender<u64>>,
    said_at: Arc<Mutex<Vec<Option<UnixTime>>>>,
}

impl Steered {
    pub fn new(store: MemoryStore) -> Self {
        Self {
            store,
            look_up: Arc::new(watch::Sender::new(Behavior::Works)),
            rest: Arc::new(watch::Sender::new(Behavior::Works)),
            asked: Arc::default(),
            said_at: Arc::default(),
        }
    }

    pub fn set(&self, mood: Behavior) {
        self.set_look_up(mood);
        self.rest.send_replace(mood);
    }

    pub fn set_look_up(&self, mood: Behavior) {
        self.look_up.send_replace(mood);
    }

    /// How many calls have come.
    pub fn asked(&self) -> u64 {
        *self.asked.borrow()
    }

    /// Waits for so many calls in all.
    pub async fn was_asked(&self, times: u64) {
        let mut asked = self.asked.subscribe();
        let enough = asked.wait_for(|asked| *asked >= times);
        // Only a broken list lets this time run out: it fails then, rather than hang.
        let in_time = tokio::time::timeout(Duration::from_secs(60), enough).await;
        in_time.expect("a call that never came").unwrap();
    }

    /// When the revocations that came were made.
    pub fn said_at(&self) -> Vec<Option<UnixTime>> {
        self.said_at.lock().unwrap().clone()
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
        let said_at = revocations.iter().map(Revocation::said_at);
        self.said_at.lock().unwrap().extend(said_at);
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
