//! PendingRevocations for work that outlives its request, taken before the inner service is called.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::Notify};
use tower_revoke_core::KeyDigest;

use crate::pending::Pending;

/// How many tokens and uses may be under way at a time, and the way to wait until none is.
///
/// A call that spends takes a slot before the inner service sees it, and returns it when what it
/// owes is recorded, whether or not the client is still there. Calls of one token that revoke it
/// after the response share one slot. No single caller holds more than half of the slots: a subject
/// of an issuer, or a client where a token names no subject, or else a token. Without a free slot,
/// a call is rejected with 503.
///
/// Clones, and all layers that are given them, share the slots.
///
/// ```
/// use tower_revoke_spend::{RevokeLayer, PendingRevocations};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let slots = PendingRevocations::new(1_024);
/// let layer = RevokeLayer::after_response().pending_revocations(&slots);
/// // … serve until told to stop, then:
/// slots.idle().await;
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PendingRevocations {
    shared: Arc<Shared>,
}

/// One lock for the slots and for the pending revocations that hold some: a call that joins a
/// revocation can't meet one that has just ended.
pub(crate) struct Shared {
    state: Mutex<State>,
    all_free: Notify,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { all, taken, .. } = self.lock().slots;
        write!(f, "{taken} of {all} taken")
    }
}

pub(crate) type StateGuard<'a> = MutexGuard<'a, State>;

#[derive(Debug)]
pub(crate) struct State {
    slots: Counts,
    pub(crate) pending: Pending,
}

/// How many slots are taken, and by whom.
#[derive(Debug)]
struct Counts {
    all: u32,
    taken: u32,
    by_holder: HashMap<KeyDigest, u32>,
    /// How many wait until all are free. Meanwhile none is given.
    draining: usize,
}

impl PendingRevocations {
    /// Creates `capacity` slots, at least one.
    pub fn new(capacity: u32) -> Self {
        let slots = Counts {
            all: capacity.max(1),
            taken: 0,
            by_holder: HashMap::new(),
            draining: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    slots,
                    pending: Pending::default(),
                }),
                all_free: Notify::new(),
            }),
        }
    }

    /// Returns how many are taken.
    pub fn taken(&self) -> u32 {
        self.shared.lock().slots.taken
    }

    /// Waits until everything that is owed is recorded. Calls that spend are rejected with 503
    /// while it waits, so stop taking them first; bound it with a timeout, for a store that is
    /// gone may never come back.
    pub async fn idle(&self) {
        let _draining = Draining::new(&self.shared);
        loop {
            let mut all_free = pin!(self.shared.all_free.notified());
            all_free.as_mut().enable();
            if self.taken() == 0 {
                return;
            }
            all_free.await;
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes a slot for work of `holder`.
    pub(crate) fn reserve(&self, holder: KeyDigest) -> Result<Slot, NoSlot> {
        let runtime = Handle::try_current().map_err(|_| NoSlot::NoRuntime)?;
        self.shared.lock().take(holder)?;
        Ok(Slot {
            shared: self.shared.clone(),
            runtime,
            holder,
            is_held: true,
        })
    }
}

impl Default for PendingRevocations {
    fn default() -> Self {
        Self::new(1_024)
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> StateGuard<'_> {
        // Each change is whole before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait until all slots are free, after one was returned.
    pub(crate) fn returned(&self) {
        if self.lock().slots.taken == 0 {
            self.all_free.notify_waiters();
        }
    }
}

impl State {
    pub(crate) fn is_draining(&self) -> bool {
        self.slots.draining > 0
    }

    fn take(&mut self, holder: KeyDigest) -> Result<(), NoSlot> {
        let slots = &mut self.slots;
        if slots.draining > 0 || slots.taken == slots.all {
            return Err(NoSlot::Full);
        }
        let held = slots.by_holder.get(&holder).copied().unwrap_or(0);
        if held >= (slots.all / 2).max(1) {
            return Err(NoSlot::Full);
        }
        slots.by_holder.insert(holder, held + 1);
        slots.taken += 1;
        Ok(())
    }

    pub(crate) fn return_rule(&mut self, holder: KeyDigest) {
        let slots = &mut self.slots;
        slots.taken = slots.taken.saturating_sub(1);
        if let Entry::Occupied(mut held) = slots.by_holder.entry(holder) {
            match *held.get() {
                0 | 1 => drop(held.remove()),
                more => *held.get_mut() = more - 1,
            }
        }
    }
}

/// Lasts as long as somebody waits until all slots are free.
struct Draining<'a>(&'a Shared);

impl<'a> Draining<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.lock().slots.draining += 1;
        Self(shared)
    }
}

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.0.lock().slots.draining -= 1;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSlot {
    Full,
    NoRuntime,
}

/// One slot, returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    shared: Arc<Shared>,
    runtime: Handle,
    holder: KeyDigest,
    is_held: bool,
}

impl Slot {
    /// Runs `work` to its end, whatever becomes of the request, and gives the slot back then.
    pub(crate) fn run(self, work: impl Future<Output = ()> + Send + 'static) {
        let runtime = self.runtime.clone();
        runtime.spawn(async move {
            work.await;
            drop(self);
        });
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Keeps it taken; it is returned by [`State::return_rule`].
    pub(crate) fn into_holder(mut self) -> KeyDigest {
        self.is_held = false;
        self.holder
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_held {
            self.shared.lock().return_rule(self.holder);
            self.shared.returned();
        }
    }
}

#[cfg(test)]
mod tests {
    use tower_revoke_core::TokenId;

    use super::*;

    fn holder(name: &str) -> KeyDigest {
        KeyDigest::of_token(TokenId::of_jwt("https://id.example.com", name))
    }

    /// TRAPS 42: nobody holds more than half, and what is returned leaves nothing behind.
    #[tokio::test]
    async fn trap_42_no_holder_has_more_than_half_of_the_slots() {
        for (all, half) in [(1, 1), (2, 1), (3, 1), (4, 2), (9, 4)] {
            let slots = PendingRevocations::new(all);
            let mut held: Vec<_> = (0..half)
                .map(|_| slots.reserve(holder("ann")).expect("a slot"))
                .collect();
            assert_eq!(slots.reserve(holder("ann")).err(), Some(NoSlot::Full));
            for n in half..all {
                held.push(slots.reserve(holder(&n.to_string())).expect("a slot"));
            }
            assert_eq!(slots.taken(), all);
            assert_eq!(slots.reserve(holder("bob")).err(), Some(NoSlot::Full));
            drop(held.remove(0));
            slots.reserve(holder("ann")).expect("a slot");
            drop(held);
            slots.idle().await;
            assert!(slots.shared.lock().slots.by_holder.is_empty());
        }
    }

    #[test]
    fn a_slot_needs_a_runtime() {
        let slots = PendingRevocations::default();
        assert_eq!(slots.reserve(holder("ann")).err(), Some(NoSlot::NoRuntime));
        assert_eq!(slots.taken(), 0);
    }
}
