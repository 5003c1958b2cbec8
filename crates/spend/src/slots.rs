//! Places for work that outlives its request, taken before the inner service is called.

use std::sync::Arc;

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// How many calls may be owed a revocation at a time, and the way to wait until none is.
///
/// A call that spends takes a place before the inner service sees it, and gives it back when the
/// token's end is written down, whether or not the client is still there. No place left: 503.
///
/// ```
/// use tower_revoke_spend::{RevokeLayer, Slots};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let slots = Slots::new(1_024);
/// let layer = RevokeLayer::after_response().slots(&slots);
/// // … serve until told to stop, then:
/// slots.idle().await;
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    all: u32,
}

impl Slots {
    /// So many places, at least one.
    pub fn new(places: u32) -> Self {
        let all = places.max(1);
        Self {
            // A semaphore holds at least 2^29 permits on every platform.
            free: Arc::new(Semaphore::new(all.min(1 << 28) as usize)),
            all: all.min(1 << 28),
        }
    }

    /// How many are taken.
    pub fn taken(&self) -> u32 {
        let free = u32::try_from(self.free.available_permits()).unwrap_or(u32::MAX);
        self.all.saturating_sub(free)
    }

    /// Waits until everything that is owed is written down. Calls that spend are refused with 503
    /// while it waits, so stop taking them first; bound it with a timeout, for a store that is
    /// gone may never come back.
    pub async fn idle(&self) {
        // The semaphore is never closed.
        let _ = self.free.acquire_many(self.all).await;
    }

    pub(crate) fn reserve(&self) -> Result<Slot, NoSlot> {
        let runtime = Handle::try_current().map_err(|_| NoSlot::NoRuntime)?;
        let permit = self
            .free
            .clone()
            .try_acquire_owned()
            .map_err(|_| NoSlot::Full)?;
        Ok(Slot { runtime, permit })
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self::new(1_024)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSlot {
    Full,
    NoRuntime,
}

/// One place.
#[derive(Debug)]
pub(crate) struct Slot {
    runtime: Handle,
    permit: OwnedSemaphorePermit,
}

impl Slot {
    /// Runs `work` to its end, whatever becomes of the request, and gives the place back then.
    pub(crate) fn run(self, work: impl Future<Output = ()> + Send + 'static) {
        let permit = self.permit;
        self.runtime.spawn(async move {
            work.await;
            drop(permit);
        });
    }
}
