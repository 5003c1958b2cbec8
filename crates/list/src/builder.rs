//! Constructs and configures lists.

use std::{fmt, sync::Arc, time::Duration};

use tower_revoke_core::{Clock, Store};

use crate::{
    MemoryStore, MirrorSnapshot, RevocationList, RevocationListError,
    engine::{Engine, MirrorSettings},
    timer::TokioTimer,
};

/// A longer time is no bound on how late a revocation is obeyed.
const MAX_STALENESS: Duration = Duration::from_secs(24 * 3_600);

/// How many entries a mirror may hold unless set.
const MIRROR_CAPACITY: u64 = 2_000_000;

const MIN_TIMEOUT: Duration = Duration::from_millis(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(300);

/// Builds a [`RevocationList`]; see [`RevocationList::builder`].
///
/// ```
/// use std::time::Duration;
/// use tower_revoke_list::{MemoryStore, RevocationList};
///
/// let list = RevocationList::builder(MemoryStore::new())
///     .max_staleness(Duration::from_secs(1))
///     .cache_capacity(1_000_000)
///     .build()?;
/// # Ok::<(), tower_revoke_list::RevocationListError>(())
/// ```
#[must_use]
pub struct RevocationListBuilder<S> {
    store: S,
    clock: Clock,
    max_staleness: Duration,
    store_timeout: Duration,
    cache_capacity: u64,
    /// `None` for the default.
    mirror_capacity: Option<u64>,
    max_token_life: Option<Duration>,
    snapshot: Option<MirrorSnapshot>,
}

impl RevocationList {
    /// Makes a list over a new [`MemoryStore`], for one process. Its entries are lost when the
    /// process ends.
    pub fn in_memory() -> Self {
        Self::new(MemoryStore::new())
    }

    /// A list over a store, with the default settings.
    pub fn new<S: Store>(store: S) -> Self {
        Self::builder(store).build_unchecked()
    }

    /// Returns a builder for a list over a store.
    pub fn builder<S: Store>(store: S) -> RevocationListBuilder<S> {
        RevocationListBuilder::new(store)
    }
}

impl<S> RevocationListBuilder<S> {
    fn new(store: S) -> Self {
        Self {
            store,
            clock: Clock::system(),
            max_staleness: Duration::from_secs(5),
            store_timeout: Duration::from_secs(2),
            cache_capacity: 100_000,
            mirror_capacity: None,
            max_token_life: None,
            snapshot: None,
        }
    }

    /// Sets the maximum age of an answer, counted from before the look-up in the store. Defaults to
    /// 5 s.
    ///
    /// A revocation on one node takes effect on every other within this time, and known tokens keep
    /// working this long during an outage. Zero looks up the token in the store on every request.
    ///
    /// A list whose store has a feed asks it every quarter of this time while nothing changes: at
    /// the default, 50 idle nodes ask their store 40 times a second in all, with 1 s 200 times.
    /// While much changes, it asks at most 10 times a second, and as soon as the store signals a
    /// change otherwise. A store that signals the changes themselves is asked once a second.
    pub fn max_staleness(mut self, age: Duration) -> Self {
        self.max_staleness = age;
        self
    }

    /// Sets how long one call waits for the store. Defaults to 2 s.
    ///
    /// After that, the call fails with
    /// [`StoreError::TimedOut`](tower_revoke_core::StoreError::TimedOut), and the request is
    /// rejected.
    pub fn store_timeout(mut self, time: Duration) -> Self {
        self.store_timeout = time;
        self
    }

    /// Sets the number of tokens whose status is cached, in about 300 bytes each. Defaults to
    /// 100,000.
    ///
    /// With more tokens than that, some are looked up in the store again. No revocation is missed.
    pub fn cache_capacity(mut self, tokens: u64) -> Self {
        self.cache_capacity = tokens;
        self
    }

    /// Sets how many entries the mirror of a store with a feed may hold, in about 40 bytes each.
    /// Defaults to 2,000,000.
    ///
    /// Entries are revocations, rules, spent tokens, lifts, and the uses that were taken through
    /// this list. Rules, lifts, and entries that are kept for ever take somewhat more. A reload
    /// needs the memory twice.
    ///
    /// Above the limit, the list drops its mirror and logs that. It then looks up each token in the
    /// store, within [`max_staleness`](Self::max_staleness), and can't write back to a store that
    /// loses entries. It tries to load the mirror again after a minute, then less often, at least
    /// once an hour, and has it back when no more than 90 % of the limit is listed. Zero disables
    /// the mirror.
    pub fn mirror_capacity(mut self, entries: u64) -> Self {
        self.mirror_capacity = Some(entries);
        self
    }

    /// Keeps a copy of the mirror in a local file, so that a node that starts while the store is
    /// down still rejects what it knew to be revoked. None by default.
    pub fn snapshot(mut self, snapshot: MirrorSnapshot) -> Self {
        self.snapshot = Some(snapshot);
        self
    }

    /// Sets the longest life of the tokens that are checked against this list, from `iat` to `exp`.
    /// Unlimited by default.
    ///
    /// Verifiers with this list reject tokens that live longer, and those without `iat` or `exp`.
    /// In return, rules are purged once no accepted token can need them
    /// ([`retention::of_rule`](tower_revoke_core::retention::of_rule)). Without a limit, rules are
    /// kept for ever.
    ///
    /// Use the same value for every list over one store. If they differ, a list with a longer value
    /// and a mirror prolongs the rules that the others write, and logs an error. A list without a
    /// mirror can't, and accepts a token again once the rule that revokes it has been purged.
    pub fn max_token_life(mut self, life: Duration) -> Self {
        self.max_token_life = Some(life);
        self
    }

    /// Sets the source of the time. Defaults to the system's clocks.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

impl<S: Store> RevocationListBuilder<S> {
    /// Returns the list, which has asked the store nothing yet: see [`RevocationList::ready`].
    ///
    /// # Errors
    /// Fails with the first setting that can't work.
    pub fn build(self) -> Result<RevocationList, RevocationListError> {
        self.check()?;
        Ok(self.build_unchecked())
    }

    /// For the default settings, which work with every store.
    fn build_unchecked(self) -> RevocationList {
        let timer = TokioTimer(self.store_timeout);
        let engine = Engine::new(
            self.store,
            timer,
            self.clock,
            self.max_staleness,
            self.cache_capacity,
            MirrorSettings {
                capacity: self.mirror_capacity.unwrap_or(MIRROR_CAPACITY),
                snapshot: self.snapshot,
            },
            self.max_token_life,
        );
        RevocationList(Arc::new(engine))
    }

    fn check(&self) -> Result<(), RevocationListError> {
        if self.max_staleness > MAX_STALENESS {
            return Err(RevocationListError::MaxStaleness(self.max_staleness));
        }
        if !(MIN_TIMEOUT..=MAX_TIMEOUT).contains(&self.store_timeout) {
            return Err(RevocationListError::StoreTimeout(self.store_timeout));
        }
        if let Some(entries @ 1..) = self.mirror_capacity {
            if self.store.feed().is_none() {
                return Err(RevocationListError::MirrorWithoutFeed(entries));
            }
            if self.max_staleness.is_zero() {
                return Err(RevocationListError::MirrorNeverFresh(entries));
            }
        }
        if let Some(snapshot) = &self.snapshot {
            let has_mirror = !S::ANSWERS_AT_ONCE
                && self.store.feed().is_some()
                && self.mirror_capacity != Some(0)
                && !self.max_staleness.is_zero();
            if !has_mirror {
                return Err(RevocationListError::SnapshotWithoutMirror);
            }
            snapshot.check()?;
        }
        match self.max_token_life {
            Some(life) if life < Duration::from_secs(1) => {
                Err(RevocationListError::MaxTokenLife(life))
            }
            _ => Ok(()),
        }
    }
}

impl<S> fmt::Debug for RevocationListBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationListBuilder")
            .field("max_staleness", &self.max_staleness)
            .field("store_timeout", &self.store_timeout)
            .field("cache_capacity", &self.cache_capacity)
            .field("mirror_capacity", &self.mirror_capacity)
            .field("max_token_life", &self.max_token_life)
            .field("snapshot", &self.snapshot)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Builder = RevocationListBuilder<MemoryStore>;
    type Set = fn(Builder) -> Builder;

    #[test]
    fn an_invalid_setting_is_named_with_its_value() {
        let cases: [(Set, &str); 6] = [
            (
                |list| list.max_staleness(Duration::MAX),
                "but must be at most one day",
            ),
            (
                |list| list.store_timeout(Duration::ZERO),
                "store_timeout is 0ns, but must be between 1 ms and 5 minutes",
            ),
            (
                |list| list.store_timeout(Duration::from_secs(301)),
                "store_timeout is 301s, but must be between 1 ms and 5 minutes",
            ),
            (
                |list| list.mirror_capacity(7).max_staleness(Duration::ZERO),
                "mirror_capacity is 7, but max_staleness is zero",
            ),
            (
                |list| list.max_token_life(Duration::ZERO),
                "max_token_life is 0ns, but must be at least 1 s",
            ),
            (
                |list| list.max_token_life(Duration::from_millis(999)),
                "max_token_life is 999ms, but must be at least 1 s",
            ),
        ];
        for (set, text) in cases {
            let error = set(RevocationList::builder(MemoryStore::new())).build();
            let error = error.map(drop).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn valid_settings_build() {
        let list = || RevocationList::builder(MemoryStore::new());
        for list in [
            list(),
            list().max_staleness(Duration::ZERO).mirror_capacity(0),
            list().cache_capacity(0).mirror_capacity(1),
            list().max_token_life(Duration::from_secs(1)),
        ] {
            list.build().expect("it works");
        }
    }
}
