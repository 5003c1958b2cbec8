//! What the tests share: names, and a load that counts its winners.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tower_revoke_core::{
    Claim, ClaimId, ClaimOutcome, Clock, KeyDigest, Revocation, Store, StoreError, TokenId,
};
use tower_revoke_store_sql::PostgresStore;
use tower_revoke_tests::servers::{Postgres, wait_until};

pub(crate) async fn open(server: &Postgres) -> PostgresStore {
    let store = PostgresStore::connect(server.url()).await;
    store.expect("a server that is up")
}

fn token(number: u64) -> TokenId {
    TokenId::of_jwt("https://id.example.com", &number.to_string())
}

pub(crate) fn key(number: u64) -> KeyDigest {
    KeyDigest::of_token(token(number))
}

pub(crate) fn claim(number: u64, id: u64) -> Claim {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    let end = Clock::system().now();
    Claim {
        token: token(number),
        id: ClaimId::from_bytes(bytes),
        limit: NonZeroU32::MIN,
        until: Some(end.saturating_add(Duration::from_secs(3_600))),
    }
}

pub(crate) fn revocation(number: u64) -> Revocation {
    Revocation::of_token(token(number), None).because("a test")
}

pub(crate) fn is_outage(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::TimedOut(_))
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
    winners: Mutex<HashMap<u64, Vec<u64>>>,
    /// Tokens whose revocation was acknowledged.
    revoked: Mutex<Vec<u64>>,
    errors: AtomicU64,
    acknowledged: AtomicU64,
}

impl Load {
    /// Pairs of callers, each with a store of its own, who want the same tokens.
    pub(crate) fn start(stores: &[PostgresStore; 2]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(Done::default());
        let mut callers = JoinSet::new();
        for pair in 0..8_u64 {
            for (id, store) in (0..).zip(stores) {
                let (store, stop, done) = (store.clone(), stop.clone(), done.clone());
                callers.spawn(async move {
                    let mut number = pair << 32;
                    while !stop.load(Ordering::SeqCst) {
                        number += 1;
                        done.one(&store, number, id).await;
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
        wait_until("writes are acknowledged", wanted).await;
    }

    /// Returns when so many more calls have failed.
    pub(crate) async fn fails(&self, times: u64) {
        let from = self.done.errors.load(Ordering::SeqCst);
        let wanted = || self.done.errors.load(Ordering::SeqCst) >= from + times;
        wait_until("calls fail", wanted).await;
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
    async fn one(&self, store: &PostgresStore, number: u64, id: u64) {
        if number.is_multiple_of(4) {
            match store.revoke(&[revocation(number)]).await {
                Ok(()) => {
                    locked(&self.revoked).push(number);
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                Err(error) => self.failed(&error).await,
            }
            return;
        }
        let claim = claim(number, id);
        // As callers do it: what nobody knows is asked again under the same id.
        for _ in 0..3 {
            match store.claim(&claim).await {
                Ok(outcome) => {
                    if matches!(outcome, ClaimOutcome::Won { .. }) {
                        locked(&self.winners).entry(number).or_default().push(id);
                    }
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                Err(error) => self.failed(&error).await,
            }
        }
    }

    async fn failed(&self, error: &StoreError) {
        assert!(is_outage(error), "{error:?}");
        self.errors.fetch_add(1, Ordering::SeqCst);
        // A server that is down is not asked as fast as the machine can.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    /// Tokens that two callers were told to have won.
    pub(crate) fn won_twice(&self) -> usize {
        let winners = locked(&self.winners);
        winners.values().filter(|ids| ids.len() > 1).count()
    }

    /// How many acknowledged claims and revocations the store knows nothing of any more.
    pub(crate) async fn lost(&self, store: &PostgresStore) -> usize {
        let mut numbers: Vec<u64> = locked(&self.winners).keys().copied().collect();
        numbers.extend(locked(&self.revoked).iter());
        assert!(numbers.len() > 100, "the load did too little");
        let mut lost = 0;
        for numbers in numbers.chunks(1_000) {
            let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
            let found = store.look_up(&keys).await.expect("a store that is up");
            lost += found.iter().filter(|found| found.is_none()).count();
        }
        lost
    }
}

fn locked<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
