//! A load on a store that counts winners, and the tokens that it uses.

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
use tower_revoke::core::{
    Clock, KeyDigest, Revocation, Store, StoreError, TokenId, UnixTime, Use, UseId, UseOutcome,
};

use crate::servers::{is_outage, wait_until};

/// Returns the token with this number.
pub fn token(number: u64) -> TokenId {
    TokenId::of_jwt("https://id.example.com", &number.to_string())
}

/// Returns the key of that token.
pub fn key(number: u64) -> KeyDigest {
    KeyDigest::of_token(token(number))
}

/// Returns the time of the system's clock.
pub fn now() -> UnixTime {
    Clock::system().now()
}

/// An hour from now.
fn end() -> UnixTime {
    now().saturating_add(Duration::from_secs(3_600))
}

/// Returns a use of that token.
///
/// # Panics
/// If the limit is 0.
pub fn new_use(number: u64, id: u64, limit: u32) -> Use {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    let limit = NonZeroU32::new(limit).expect("a limit of at least one");
    Use::new(token(number), UseId::from_bytes(bytes), limit, Some(end()))
}

/// Returns a revocation of that token.
pub fn revocation(number: u64) -> Revocation {
    Revocation::of_token(token(number), None)
        .retained(Some(end()))
        .because("a test")
}

/// Callers that take uses and revoke in a loop, and record what was acknowledged.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<Done>,
    callers: JoinSet<()>,
}

/// The observations of a load.
#[derive(Debug, Default)]
pub struct Done {
    /// Tokens that were taken, with the ids of the uses that won.
    winners: Mutex<HashMap<u64, Vec<u64>>>,
    /// Tokens whose revocation was acknowledged.
    revoked: Mutex<Vec<u64>>,
    errors: AtomicU64,
    acknowledged: AtomicU64,
}

impl Load {
    /// Starts pairs of callers, each with its own store, that compete for the same tokens.
    pub fn start<S: Store + Clone>(stores: &[S; 2]) -> Self {
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

    /// Waits until this many more writes were acknowledged.
    pub async fn goes_on(&self, writes: u64) {
        let from = self.done.acknowledged.load(Ordering::SeqCst);
        let wanted = || self.done.acknowledged.load(Ordering::SeqCst) >= from + writes;
        wait_until("writes are acknowledged", wanted).await;
    }

    /// Waits until this many more calls have failed.
    pub async fn fails(&self, times: u64) {
        let from = self.done.errors.load(Ordering::SeqCst);
        let wanted = || self.done.errors.load(Ordering::SeqCst) >= from + times;
        wait_until("calls fail", wanted).await;
    }

    /// Returns the tokens whose uses and revocations were acknowledged.
    pub fn so_far(&self) -> Vec<u64> {
        self.done.tokens()
    }

    /// Stops the load and returns what it observed.
    pub async fn stop(mut self) -> Arc<Done> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.callers.join_next().await {
            ended.expect("no caller panics");
        }
        self.done
    }
}

impl Done {
    /// Revokes one of four tokens and takes the others.
    async fn one(&self, store: &impl Store, number: u64, id: u64) {
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
        let use_ = new_use(number, id, 1);
        // As real callers do, retries an unknown outcome under the same id.
        for _ in 0..3 {
            match store.take_use(&use_, now()).await {
                Ok(outcome) => {
                    if matches!(outcome, UseOutcome::Taken { .. }) {
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
        // Avoids a busy loop against a server that is down.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    /// Returns the number of acknowledged writes.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Returns the number of tokens with two winners.
    pub fn won_twice(&self) -> usize {
        let winners = locked(&self.winners);
        winners.values().filter(|ids| ids.len() > 1).count()
    }

    fn tokens(&self) -> Vec<u64> {
        let mut tokens: Vec<u64> = locked(&self.winners).keys().copied().collect();
        tokens.extend(locked(&self.revoked).iter());
        tokens
    }

    /// Returns how many acknowledged uses and revocations the store has lost.
    pub async fn lost(&self, store: &impl Store) -> usize {
        forgotten(store, &self.tokens()).await
    }
}

/// Returns how many of these tokens, all taken or revoked, the store no longer lists.
///
/// # Panics
/// If there are no tokens, or if the store is not reachable.
pub async fn forgotten(store: &impl Store, tokens: &[u64]) -> usize {
    assert!(!tokens.is_empty(), "nothing was acknowledged");
    let mut forgotten = 0;
    for tokens in tokens.chunks(1_000) {
        let keys: Vec<_> = tokens.iter().map(|number| key(*number)).collect();
        let found = store.look_up(&keys).await.expect("a running store");
        forgotten += found.iter().filter(|found| found.is_none()).count();
    }
    forgotten
}

fn locked<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
