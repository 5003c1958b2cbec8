//! The task that fetches. It keeps nothing alive but the client.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use super::{
    FetchStart, FetchedKeys,
    error::KeyFetchError,
    fetch::Fetcher,
    schedule::{Schedule, Timing},
};

/// Fetches at once, then after each pause, until the key set is dropped.
pub(super) async fn run<K: FetchedKeys>(
    mut fetcher: Fetcher,
    keys: Weak<K>,
    wake: Arc<Notify>,
    timing: Timing,
) {
    let mut schedule = Schedule::new(timing, RandomState::new().hash_one(0));
    loop {
        let Some((guard, start)) = FetchGuard::new(&keys) else {
            return;
        };
        // A request that arrived at the end of the pause is served by this fetch.
        let _ = timeout(Duration::ZERO, wake.notified()).await;
        let fetched = timeout(timing.fetch_timeout, fetcher.fetch()).await;
        let fetched = fetched.unwrap_or(Err(KeyFetchError::TimedOut(timing.fetch_timeout)));
        let Some(set) = keys.upgrade() else { return };
        let pause = match fetched {
            Ok(fetched) => {
                set.replace(&fetched.keys, start);
                schedule.after_success(fetched.freshness)
            }
            Err(error) => {
                if let Some(remote) = set.remote() {
                    remote.failed(error);
                }
                schedule.after_failure()
            }
        };
        drop(guard);
        drop(set);
        let _ = timeout(pause, wake.notified()).await;
    }
}

/// A fetch in progress, which ends when this is dropped.
struct FetchGuard<'a, K: FetchedKeys>(&'a Weak<K>);

impl<'a, K: FetchedKeys> FetchGuard<'a, K> {
    /// `None`: the key set is dropped.
    fn new(keys: &'a Weak<K>) -> Option<(Self, FetchStart)> {
        let start = keys.upgrade()?.remote()?.begin();
        Some((Self(keys), start))
    }
}

impl<K: FetchedKeys> Drop for FetchGuard<'_, K> {
    fn drop(&mut self) {
        if let Some(set) = self.0.upgrade()
            && let Some(remote) = set.remote()
        {
            remote.end();
        }
    }
}
