//! The task that fetches: it keeps nothing alive but the client.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use super::{
    KeyFetchError, Moment,
    fetch::Fetcher,
    pace::{Pace, Timing},
};
use crate::keys::KeySet;

/// Fetches at once, then after each pause, until the set is gone.
pub(super) async fn run(
    mut fetcher: Fetcher,
    keys: Weak<KeySet>,
    wake: Arc<Notify>,
    timing: Timing,
) {
    let mut pace = Pace::new(timing, RandomState::new().hash_one(0));
    loop {
        let Some((flight, began)) = Flight::begin(&keys) else {
            return;
        };
        // Who asked while the pause ended meant this fetch.
        let _ = timeout(Duration::ZERO, wake.notified()).await;
        let answer = timeout(timing.fetch_within, fetcher.fetch()).await;
        let answer = answer.unwrap_or(Err(KeyFetchError::TimedOut(timing.fetch_within)));
        let Some(set) = keys.upgrade() else { return };
        let pause = match answer {
            Ok(fetched) => {
                set.fetched(&fetched.keys, began);
                pace.after_success(fetched.life)
            }
            Err(error) => {
                set.fetch_failed(error);
                pace.after_failure()
            }
        };
        drop(flight);
        drop(set);
        let _ = timeout(pause, wake.notified()).await;
    }
}

/// A fetch that is on its way. It ends when this is dropped, however that comes.
struct Flight<'a>(&'a Weak<KeySet>);

impl<'a> Flight<'a> {
    /// `None`: the set is gone.
    fn begin(keys: &'a Weak<KeySet>) -> Option<(Self, Moment)> {
        let began = keys.upgrade()?.fetch_begins()?;
        Some((Self(keys), began))
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if let Some(set) = self.0.upgrade() {
            set.fetch_ends();
        }
    }
}
