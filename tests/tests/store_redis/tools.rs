//! What the tests of the Redis store share: names, and a load that counts its winners.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tower_revoke_core::{
    Claim, ClaimId, ClaimOutcome, Clock, KeyDigest, Revocation, Store, StoreError, TokenId,
    UnixTime,
};
use tower_revoke_store_redis::RedisStore;

pub(crate) fn token(number: u64) -> TokenId {
    TokenId::of_jwt("https://id.example.com", &number.to_string())
}

pub(crate) fn key(number: u64) -> KeyDigest {
    KeyDigest::of_token(token(number))
}

/// An hour from now.
pub(crate) fn end() -> UnixTime {
    Clock::system()
        .now()
        .saturating_add(Duration::from_secs(3600))
}

pub(crate) fn claim(number: u64, id: u64, limit: u32) -> Claim {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Claim {
        token: token(number),
        id: ClaimId::from_bytes(bytes),
        limit: NonZeroU32::new(limit).expect("a limit of at least one"),
        until: Some(end()),
    }
}

pub(crate) fn revocation(number: u64) -> Revocation {
    Revocation::of_token(token(number), Some(end())).because("a test")
}

/// Callers who claim and revoke without end, and remember what was acknowledged.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<Done>,
    callers: JoinSet<()>,
}

/// What a load saw.
#[derive(Default)]
pub(crate) struct Done {
    /// Tokens that were claimed, by the ids of those who were told that they won.
    pub(crate) winners: Mutex<HashMap<u64, Vec<u64>>>,
    /// Tokens whose revocation was acknowledged.
    pub(crate) revoked: Mutex<Vec<u64>>,
    pub(crate) errors: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
}

impl Load {
    /// Pairs of callers, each with a store of its own, who want the same tokens.
    pub(crate) fn start(stores: &[RedisStore; 2]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(Done::default());
        let mut callers = JoinSet::new();
        for pair in 0..8 {
            for (id, store) in stores.iter().enumerate() {
                let (store, stop, done) = (store.clone(), stop.clone(), done.clone());
                callers.spawn(async move {
                    let mut number = pair << 32;
                    while !stop.load(Ordering::SeqCst) {
                        number += 1;
                        done.one(&store, number, id as u64).await;
                        tokio::task::yield_now().await;
                    }
                });
            }
        }
        Self {
            stop,
            done,
            callers,
        }
    }

    /// Returns when so many more writes were acknowledged.
    pub(crate) async fn goes_on(&self, writes: u64) {
        let from = self.done.acknowledged.load(Ordering::SeqCst);
        let wanted = || self.done.acknowledged.load(Ordering::SeqCst) >= from + writes;
        tower_revoke_tests::servers::wait_until("writes are acknowledged", wanted).await;
    }

    pub(crate) async fn stop(mut self) -> Arc<Done> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.callers.join_next().await {
            ended.expect("no caller panics");
        }
        self.done
    }
}

impl Done {
    /// One of four tokens is revoked, the others are claimed.
    async fn one(&self, store: &RedisStore, number: u64, id: u64) {
        if number.is_multiple_of(4) {
            match store.revoke(&[revocation(number)]).await {
                Ok(()) => {
                    self.revoked.lock().unwrap().push(number);
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                Err(error) => self.failed(&error).await,
            }
            return;
        }
        let claim = claim(number, id, 1);
        // As callers do it: what nobody knows is asked again under the same id.
        for _ in 0..3 {
            match store.claim(&claim).await {
                Ok(outcome) => {
                    if matches!(outcome, ClaimOutcome::Won { .. }) {
                        let mut winners = self.winners.lock().unwrap();
                        winners.entry(number).or_default().push(id);
                    }
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                Err(error) => self.failed(&error).await,
            }
        }
    }

    async fn failed(&self, error: &StoreError) {
        assert!(
            matches!(error, StoreError::Unavailable(_) | StoreError::TimedOut(_)),
            "{error:?}"
        );
        self.errors.fetch_add(1, Ordering::SeqCst);
        // A server that is down is not asked as fast as the machine can.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    /// Tokens that two callers were told to have won.
    pub(crate) fn won_twice(&self) -> usize {
        let winners = self.winners.lock().unwrap();
        winners.values().filter(|ids| ids.len() > 1).count()
    }

    /// How many acknowledged claims and revocations the store knows nothing of any more.
    pub(crate) async fn lost(&self, store: &RedisStore) -> usize {
        let mut numbers: Vec<u64> = self.winners.lock().unwrap().keys().copied().collect();
        numbers.extend(self.revoked.lock().unwrap().iter());
        let mut lost = 0;
        for numbers in numbers.chunks(1000) {
            let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
            let found = store.look_up(&keys).await.expect("a store that is up");
            lost += found.iter().filter(|found| found.is_none()).count();
        }
        lost
    }
}
