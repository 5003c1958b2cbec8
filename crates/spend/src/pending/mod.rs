//! Revocations and uses that are pending: how many there may be, and which calls share one.

mod call;
mod capacity;
mod key;
mod revocation;
mod task;

use std::{
    collections::HashMap,
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, sync::Notify, time::timeout};
use tower_revoke_core::{KeyDigest, Reason, Rejection};

pub(crate) use self::{call::PendingCall, capacity::Reservation, key::Key};
use self::{
    capacity::{Capacity, Draining},
    task::Entry,
};

/// The revocations and uses that are pending, and their capacity.
///
/// A call that spends reserves capacity before the inner service is called, and returns it when its
/// writes to the store are recorded, whether or not the client is still there. Calls of one token
/// that revoke it after the response share one pending revocation. No single caller takes more than
/// half of the capacity: the subject of an issuer, or the client where a token names no subject, or
/// else the token. A call for which there is no capacity is rejected with 503.
///
/// Clones share one capacity, and so do all layers that are given them.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use tower_revoke_spend::{PendingRevocations, RevokeAfterResponseLayer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let pending = PendingRevocations::new(1_024);
/// let layer = RevokeAfterResponseLayer::new().pending_revocations(&pending);
/// // … serve until told to stop, then:
/// let report = pending.shutdown(Duration::from_secs(10)).await;
/// assert!(report.is_complete());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PendingRevocations {
    shared: Arc<Shared>,
}

impl PendingRevocations {
    /// Creates it with a capacity, of which 0 counts as 1.
    pub fn new(capacity: u32) -> Self {
        let state = State {
            capacity: Capacity::new(capacity),
            entries: HashMap::new(),
            calls: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                all_free: Notify::new(),
            }),
        }
    }

    /// Returns how many are pending.
    pub fn len(&self) -> u32 {
        self.shared.lock().capacity.used()
    }

    /// Returns whether none is pending.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until everything that is pending is recorded, or until `limit` has passed. Stop serving
    /// first: calls that spend are rejected with 503 meanwhile. What is left is lost with the process;
    /// it can be shut down again.
    ///
    /// It must be called in a tokio runtime with its timer enabled.
    ///
    /// # Cancel safety
    /// Dropping the future lets calls in again.
    #[doc(alias("drain", "idle"))]
    pub async fn shutdown(&self, limit: Duration) -> PendingReport {
        let _draining = Draining::new(&self.shared);
        // Past the limit, what is left is counted below.
        let _ = timeout(limit, self.recorded()).await;
        PendingReport {
            pending: self.len(),
        }
    }

    async fn recorded(&self) {
        loop {
            let mut all_free = pin!(self.shared.all_free.notified());
            // Registered before the count is read, or the last return could go unnoticed.
            all_free.as_mut().enable();
            if self.is_empty() {
                return;
            }
            all_free.await;
        }
    }

    /// Reserves capacity for a pending revocation or use of `holder`.
    pub(crate) fn reserve(&self, holder: KeyDigest) -> Result<Reservation, Rejection> {
        let runtime = Handle::try_current()
            .map_err(|_| Rejection::misconfigured("the call is made outside of a tokio runtime"))?;
        if !self.shared.lock().capacity.take(holder) {
            return Err(Reason::Busy.into());
        }
        Ok(Reservation {
            shared: self.shared.clone(),
            runtime,
            holder,
        })
    }
}

/// What is left after a [`shutdown`](PendingRevocations::shutdown).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "revocations may be left that are not recorded"]
pub struct PendingReport {
    /// Revocations and uses that are still pending. They are lost with the process.
    pub pending: u32,
}

impl PendingReport {
    /// Returns whether nothing is left.
    pub fn is_complete(&self) -> bool {
        self.pending == 0
    }
}

/// The default capacity is 1,024.
impl Default for PendingRevocations {
    fn default() -> Self {
        Self::new(1_024)
    }
}

struct Shared {
    state: Mutex<State>,
    all_free: Notify,
}

/// One lock for the capacity and the revocations that use it: a call can't join a revocation whose
/// task has just ended.
#[derive(Debug)]
struct State {
    capacity: Capacity,
    entries: HashMap<Key, Entry>,
    /// How many calls have joined a revocation, which numbers them.
    calls: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().capacity.fmt(f)
    }
}
