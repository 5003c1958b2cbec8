//! How a request waits for a fetch.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

/// How many requests wait for one fetch. The others are rejected at once.
const MAX_WAITING: usize = 1_024;

/// What a request waits for: the end of a fetch.
pub(crate) struct Waiter(pub(super) watch::Receiver<()>);

impl Waiter {
    /// Waits for the end of the fetch, for `limit` at most, if `waiting` counts few enough others.
    pub(super) async fn wait(mut self, waiting: &AtomicUsize, limit: Duration) {
        let count = Count(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING {
            // That the sender is gone is an end too.
            let _ = timeout(limit, self.0.changed()).await;
        }
        drop(count);
    }
}

struct Count<'a>(&'a AtomicUsize);

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
