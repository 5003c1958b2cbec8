//! The state of the memory store across all keys: its feed of changes, and its number of entries.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
};

use tower_revoke_core::{Change, Changes, Clock, Cursor, StoreError, internal::LogLimit};

/// How many entries there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    /// Revocations and rules.
    pub(super) revocations: u64,
    /// Taken uses.
    pub(super) uses: u64,
    pub(super) issued_tokens: u64,
}

impl Entries {
    fn kinds(self) -> [u64; 3] {
        [self.revocations, self.uses, self.issued_tokens]
    }

    pub(super) fn sum(self) -> u64 {
        self.kinds().into_iter().sum()
    }

    pub(super) fn add(&mut self, added: Self) {
        self.revocations += added.revocations;
        self.uses += added.uses;
        self.issued_tokens += added.issued_tokens;
    }

    fn remove(&mut self, removed: Self) {
        self.revocations = self.revocations.saturating_sub(removed.revocations);
        self.uses = self.uses.saturating_sub(removed.uses);
        self.issued_tokens = self.issued_tokens.saturating_sub(removed.issued_tokens);
    }
}

/// The feed and the numbers of entries.
///
/// It is written under the lock of the key's shard, so that the changes of one key are published in
/// the order in which they were made.
#[derive(Debug)]
pub(super) struct Ledger {
    /// A random id in each cursor, which distinguishes this store from any other, including one of
    /// an earlier process.
    store: u64,
    changes: VecDeque<Change>,
    /// The position of the oldest change that is kept. Positions count all changes ever made, so
    /// they remain valid when old changes are trimmed.
    first: u64,
    pub(super) feed_capacity: usize,
    pub(super) entries: Entries,
    /// The largest number of each kind.
    pub(super) capacity: u64,
    full: LogLimit,
    clock: Clock,
}

impl Ledger {
    pub(super) fn new(feed_capacity: usize) -> Self {
        Self {
            store: RandomState::new().hash_one("memory store"),
            changes: VecDeque::new(),
            first: 0,
            feed_capacity,
            entries: Entries::default(),
            capacity: u64::MAX,
            full: LogLimit::default(),
            clock: Clock::system(),
        }
    }

    /// Returns whether there is no room for another entry of some kind.
    pub(super) fn is_full(&self) -> bool {
        let mut kinds = self.entries.kinds().into_iter();
        kinds.any(|count| count >= self.capacity)
    }

    /// Checks that there is room for what a change adds.
    ///
    /// # Errors
    /// [`StoreError::Full`] with the number of entries of the kind that has no room. Logged at most once
    /// a minute.
    pub(super) fn check_room(&self, before: Entries, after: Entries) -> Result<(), StoreError> {
        let kinds = before.kinds().into_iter().zip(after.kinds());
        let mut kinds = kinds.zip(self.entries.kinds());
        let full = kinds.find(|((before, after), count)| after > before && *count >= self.capacity);
        let Some((_, entries)) = full else {
            return Ok(());
        };
        if let Some(count) = self.full.count(self.clock.uptime(), 1) {
            tracing::error!(
                target: "tower_revoke::list",
                entries,
                count,
                "the memory store is full: new revocations, uses or issued tokens are rejected"
            );
        }
        Err(StoreError::Full(entries))
    }

    /// Updates the numbers of entries by the change of one record's.
    pub(super) fn weigh(&mut self, before: Entries, after: Entries) {
        self.entries.add(after);
        self.entries.remove(before);
    }

    /// Publishes a change.
    pub(super) fn write(&mut self, change: Change) {
        self.changes.push_back(change);
        self.trim();
    }

    pub(super) fn keep_changes(&mut self, kept: usize) {
        self.feed_capacity = kept;
        self.trim();
    }

    fn trim(&mut self) {
        while self.changes.len() > self.feed_capacity {
            self.changes.pop_front();
            self.first += 1;
        }
    }

    /// Returns the cursor after the last change.
    pub(super) fn end(&self) -> Cursor {
        let mut bytes = self.store.to_be_bytes().to_vec();
        let end = self.first + self.changes.len() as u64;
        bytes.extend(end.to_be_bytes());
        Cursor::new(bytes)
    }

    pub(super) fn since(&self, cursor: &Cursor) -> Result<Changes, StoreError> {
        let (store, at) = cursor
            .as_bytes()
            .split_first_chunk()
            .ok_or(StoreError::ForeignCursor)?;
        let at = at.try_into().map_err(|_| StoreError::ForeignCursor)?;
        if u64::from_be_bytes(*store) != self.store {
            return Err(StoreError::ForeignCursor);
        }
        let Some(seen) = u64::from_be_bytes(at).checked_sub(self.first) else {
            return Err(StoreError::CursorTooOld);
        };
        let seen = usize::try_from(seen).map_err(|_| StoreError::ForeignCursor)?;
        if seen > self.changes.len() {
            return Err(StoreError::ForeignCursor);
        }
        Ok(Changes {
            changes: self.changes.range(seen..).copied().collect(),
            next: self.end(),
            more: false,
        })
    }
}
