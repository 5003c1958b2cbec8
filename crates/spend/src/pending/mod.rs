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
};

use tokio::{runtime::Handle, sync::Notify};
use tower_revoke_core::KeyDigest;

pub(crate) use self::{
    call::PendingCall,
    capacity::{NoReservation, Reservation},
    key::Key,
};
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
/// use tower_revoke_spend::{PendingRevocations, RevokeAfterResponseLayer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let pending = PendingRevocations::new(1_024);
/// let layer = RevokeAfterResponseLayer::new().pending_revocations(&pending);
/// // … serve until told to stop, then:
/// pending.idle().await;
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

    /// Waits until everything that is pending is recorded.
    ///
    /// Calls that spend are rejected with 503 meanwhile, so stop the server first. Bound it with a
    /// timeout: a store that is down may never come back.
    ///
    /// # Cancel safety
    /// Dropping the future lets calls in again.
    pub async fn idle(&self) {
        let _draining = Draining::new(&self.shared);
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
    pub(crate) fn reserve(&self, holder: KeyDigest) -> Result<Reservation, NoReservation> {
        let runtime = Handle::try_current().map_err(|_| NoReservation::NoRuntime)?;
        self.shared.lock().capacity.take(holder)?;
        Ok(Reservation {
            shared: self.shared.clone(),
            runtime,
            holder,
        })
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
