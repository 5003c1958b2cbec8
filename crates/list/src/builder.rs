//! How a list is put together.

use std::{fmt, sync::Arc, time::Duration};

use tower_revoke_core::{Clock, Store};

use crate::{
    RevocationList,
    engine::Engine,
    shared::{Shared, TokioTimer},
};

/// Puts a [`RevocationList`] together; made by [`RevocationList::builder`].
///
/// ```
/// use std::time::Duration;
/// use tower_revoke_list::{MemoryStore, RevocationList};
///
/// let list = RevocationList::builder(MemoryStore::new())
///     .max_staleness(Duration::from_secs(1))
///     .cache_capacity(1_000_000)
///     .build();
/// ```
#[must_use]
pub struct RevocationListBuilder<S> {
    store: S,
    clock: Clock,
    max_staleness: Duration,
    store_timeout: Duration,
    answers: u64,
    mirror_capacity: u64,
    max_token_life: Option<Duration>,
}

impl<S> RevocationListBuilder<S> {
    pub(crate) fn new(store: S) -> Self {
        Self {
            store,
            clock: Clock::system(),
            max_staleness: Duration::from_secs(5),
            store_timeout: Duration::from_secs(2),
            answers: 100_000,
            mirror_capacity: 2_000_000,
            max_token_life: None,
        }
    }

    /// How old an answer may get, counted from before the store was asked: 5 s unless this is
    /// called. A revocation on one node is obeyed by every other within this time, and a store
    /// that is down is not missed for this long by tokens that were seen before. Zero: every
    /// request asks the store.
    pub fn max_staleness(mut self, age: Duration) -> Self {
        self.max_staleness = age;
        self
    }

    /// How long one call waits for the store: 2 s unless this is called. Then it fails with
    /// [`StoreError::TimedOut`](tower_revoke_core::StoreError::TimedOut), and the request is
    /// rejected.
    pub fn store_timeout(mut self, time: Duration) -> Self {
        self.store_timeout = time;
        self
    }

    /// For how many tokens answers are kept, in about 300 bytes each: 100,000 unless this is
    /// called. More tokens than that cost questions to the store, never a revocation.
    pub fn cache_capacity(mut self, tokens: u64) -> Self {
        self.answers = tokens;
        self
    }

    /// Sets how many entries the mirror of a store with a feed may hold, in about 40 bytes each.
    /// Defaults to 2,000,000. Entries are revocations,
    /// rules, spent tokens, lifts, and the uses that were won through this list; those without an
    /// end, and those that are not of one token, take some more. While it is loaded again, it is
    /// there twice.
    ///
    /// Above the limit there is no mirror any more, which is logged: the store is asked about each
    /// token, within [`max_staleness`](Self::max_staleness), and this list writes nothing back to
    /// a store that forgets. Zero: never a mirror.
    pub fn mirror_capacity(mut self, entries: u64) -> Self {
        self.mirror_capacity = entries;
        self
    }

    /// Sets the longest life of the tokens that are checked against this list, from `iat` to `exp`.
    /// Unlimited by default. Verifiers that are given the list reject tokens that live longer, and
    /// those without `iat` or `exp`; in return, rules are kept for no longer than the other tokens
    /// need ([`retention::of_rule`](tower_revoke_core::retention::of_rule)). Without it they are kept
    /// for ever.
    ///
    /// Give every list over one store the same. Where they differ, the mirror of a list with a longer
    /// one prolongs the rules that the others write, and logs an error; a list without a mirror can't,
    /// and finds a token good once the rule that revokes it was purged.
    pub fn max_token_life(mut self, life: Duration) -> Self {
        self.max_token_life = Some(life);
        self
    }

    /// Where the time comes from: the machine unless this is called.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

impl<S: Store> RevocationListBuilder<S> {
    /// The list. It has asked nothing yet: see [`RevocationList::ready`].
    pub fn build(self) -> RevocationList {
        let timer = TokioTimer(self.store_timeout);
        let engine = Engine::new(
            self.store,
            timer,
            self.clock,
            self.max_staleness,
            self.answers,
            self.mirror_capacity,
            self.max_token_life,
        );
        RevocationList(Arc::new(Shared::new(engine)))
    }
}

impl<S> fmt::Debug for RevocationListBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationListBuilder")
            .field("max_staleness", &self.max_staleness)
            .field("store_timeout", &self.store_timeout)
            .field("answers", &self.answers)
            .field("mirror_capacity", &self.mirror_capacity)
            .field("max_token_life", &self.max_token_life)
            .finish_non_exhaustive()
    }
}
