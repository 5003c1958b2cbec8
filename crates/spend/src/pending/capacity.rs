//! The capacity for pending revocations and uses, with a fair share for each caller.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use tokio::runtime::Handle;
use tower_revoke_core::KeyDigest;

use super::Shared;

/// How much of the capacity is used, and by whom.
#[derive(Debug)]
pub(super) struct Capacity {
    total: u32,
    used: u32,
    by_holder: HashMap<KeyDigest, u32>,
    /// How many wait until nothing is pending. Meanwhile nothing is reserved.
    draining: usize,
}

impl Capacity {
    pub(super) fn new(total: u32) -> Self {
        Self {
            total: total.max(1),
            used: 0,
            by_holder: HashMap::new(),
            draining: 0,
        }
    }

    pub(super) fn used(&self) -> u32 {
        self.used
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining > 0
    }

    /// Returns whether there was capacity for one more, in all and for this holder.
    pub(super) fn take(&mut self, holder: KeyDigest) -> bool {
        let held = self.by_holder.get(&holder).copied().unwrap_or(0);
        let is_full = self.used == self.total || held >= (self.total / 2).max(1);
        if self.is_draining() || is_full {
            return false;
        }
        self.by_holder.insert(holder, held + 1);
        self.used += 1;
        true
    }

    fn release(&mut self, holder: KeyDigest) {
        self.used = self.used.saturating_sub(1);
        if let Entry::Occupied(mut held) = self.by_holder.entry(holder) {
            match *held.get() {
                0 | 1 => drop(held.remove()),
                more => *held.get_mut() = more - 1,
            }
        }
    }
}

/// Lasts as long as somebody waits until nothing is pending.
pub(super) struct Draining<'a>(&'a Shared);

impl<'a> Draining<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        shared.lock().capacity.draining += 1;
        Self(shared)
    }
}

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.0.lock().capacity.draining -= 1;
    }
}

/// Capacity for one pending revocation or use, returned when this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(super) shared: Arc<Shared>,
    pub(super) runtime: Handle,
    pub(super) holder: KeyDigest,
}

impl Reservation {
    /// Runs `work` to its end, whatever becomes of the request, and returns the capacity then.
    pub(crate) fn run(self, work: impl Future<Output = ()> + Send + 'static) {
        let runtime = self.runtime.clone();
        runtime.spawn(async move {
            work.await;
            drop(self);
        });
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.capacity.release(self.holder);
        let all_free = state.capacity.used() == 0;
        drop(state);
        if all_free {
            self.shared.all_free.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tower_revoke_core::{Reason, Rejection, TokenId};

    use super::*;
    use crate::PendingRevocations;

    fn holder(name: &str) -> KeyDigest {
        KeyDigest::of_token(TokenId::of_jwt("https://id.example.com", name))
    }

    fn reason(reserved: Result<Reservation, Rejection>) -> Option<Reason> {
        reserved.err().map(|rejection| rejection.reason())
    }

    /// TRAPS 42: no holder takes more than half, and everything that is returned is free again.
    #[tokio::test]
    async fn trap_42_no_holder_takes_more_than_half_of_the_capacity() {
        for (total, half) in [(1, 1), (2, 1), (3, 1), (4, 2), (9, 4)] {
            let pending = PendingRevocations::new(total);
            let full = |name: &str| reason(pending.reserve(holder(name))) == Some(Reason::Busy);
            let mut held: Vec<_> = (0..half)
                .map(|_| pending.reserve(holder("ann")).expect("capacity"))
                .collect();
            assert!(full("ann"));
            for n in half..total {
                held.push(pending.reserve(holder(&n.to_string())).expect("capacity"));
            }
            assert_eq!(pending.len(), total);
            assert!(full("bob"));
            drop(held.remove(0));
            pending.reserve(holder("ann")).expect("capacity");
            drop(held);
            let report = pending.shutdown(Duration::ZERO).await;
            assert!(report.is_complete());
            assert!(pending.shared.lock().capacity.by_holder.is_empty());
        }
    }

    #[test]
    fn a_reservation_needs_a_runtime() {
        let pending = PendingRevocations::default();
        let error = reason(pending.reserve(holder("ann")));
        assert_eq!(error, Some(Reason::Misconfigured));
        assert!(pending.is_empty());
    }
}
