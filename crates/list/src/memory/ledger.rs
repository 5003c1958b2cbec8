//! The state of the memory store across all keys: its feed of changes, and its number of entries.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
};

use tower_revoke_core::{Change, Changes, Clock, Cursor, StoreError, internal::LogLimit};

/// The feed and the number of entries.
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
    pub(super) entries: u64,
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
            entries: 0,
            capacity: u64::MAX,
            full: LogLimit::default(),
            clock: Clock::system(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries >= self.capacity
    }

    /// Returns the error of a full store. Logs it at most once a minute.
    pub(super) fn reject(&self) -> StoreError {
        if let Some(count) = self.full.count(self.clock.uptime(), 1) {
            tracing::error!(
                entries = self.entries,
                count,
                "the memory store is full: new revocations, uses and issued tokens are rejected"
            );
        }
        StoreError::Full(self.entries)
    }

    /// Updates the number of entries by the change of one record's weight.
    pub(super) fn weigh(&mut self, before: u64, after: u64) {
        self.entries = (self.entries + after).saturating_sub(before);
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
