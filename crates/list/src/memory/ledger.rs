//! What the memory store keeps once for all keys: its feed of changes, and how full it is.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
};

use tower_revoke_core::{Change, Changes, Clock, Cursor, StoreError, internal::LogLimit};

/// Written under the lock of the key's shard, so that the changes of one key stand in the order
/// in which they were made.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Tells the cursors of this store from those of any other, of an earlier process too.
    store: u64,
    changes: VecDeque<Change>,
    /// The number of the oldest change that is kept.
    first: u64,
    pub(super) feed_capacity: usize,
    pub(super) entries: u64,
    pub(super) capacity: u64,
    full: LogLimit,
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
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries >= self.capacity
    }

    /// The answer to what there is no room for. Logs it once a minute.
    pub(super) fn reject(&self, clock: &Clock) -> StoreError {
        if let Some(count) = self.full.count(clock.uptime(), 1) {
            tracing::error!(
                entries = self.entries,
                count,
                "the memory store is full: new revocations and uses are rejected"
            );
        }
        StoreError::Full(self.entries)
    }

    /// Counts what has become more or less.
    pub(super) fn weigh(&mut self, before: u64, after: u64) {
        self.entries = (self.entries + after).saturating_sub(before);
    }

    /// Writes down what has happened.
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

    /// After all that was written.
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
