//! How a request waits for a fetch.

use std::time::Duration;

use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

/// How many requests wait for one fetch. The others are rejected at once.
pub(crate) const MAX_WAITING: usize = 1_024;

/// What a request waits for: the end of a fetch.
pub(crate) struct Waiter(pub(crate) watch::Receiver<()>);

impl Waiter {
    /// Waits for the end of the fetch, for `limit` at most, if there is a permit.
    pub(crate) async fn wait(mut self, permits: &Semaphore, limit: Duration) {
        if let Ok(_permit) = permits.try_acquire() {
            // That the sender is gone is an end too.
            let _ = timeout(limit, self.0.changed()).await;
        }
    }
}
