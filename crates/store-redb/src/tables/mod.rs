//! The tables, open for writing in a transaction that several calls share.

mod listing;
mod purge;
mod staging;
mod uses;

use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use tower_revoke_core::{Change, KeyDigest, StoreError, UnixTime};

use crate::{
    fault::Fault,
    rows::{self, Event, Uses},
    schema::{
        self, ENDS, FEED, FEED_END, HELD, LIFTED, META, PURGED_BEFORE, REVOKED, STAGED, USES,
        feed_end,
    },
    staged::{Staged, Staging},
};

/// The result of one call, or the fault that fails the whole transaction.
pub(crate) type Done<T> = Result<Result<T, StoreError>, Fault>;

/// The tables, open for writing.
///
/// A key has three independent facets in three tables: its revocation, its last lift, and the uses
/// that were taken.
pub(crate) struct Tables<'txn> {
    meta: Table<'txn, &'static str, &'static [u8]>,
    revoked: Table<'txn, [u8; 16], &'static [u8]>,
    lifted: Table<'txn, [u8; 16], &'static [u8]>,
    uses: Table<'txn, [u8; 16], &'static [u8]>,
    held: Table<'txn, [u8; 32], ()>,
    staged: Table<'txn, u64, &'static [u8]>,
    ends: Table<'txn, [u8; 25], ()>,
    feed: Table<'txn, u64, &'static [u8]>,
    staging: Staging<'txn>,
    staged_end: u64,
    purged_before: Option<UnixTime>,
    now: UnixTime,
    feed_began_at: u64,
    feed_end: u64,
    has_written: bool,
}

/// The table of an entry in the index of expiries. The numbers are part of the file format.
#[derive(Clone, Copy)]
enum Facet {
    Revoked = 0,
    Lifted = 1,
    Uses = 2,
}

impl<'txn> Tables<'txn> {
    pub(crate) fn open(
        txn: &'txn WriteTransaction,
        now: UnixTime,
        committed: &'txn Staged,
    ) -> Result<Self, Fault> {
        let meta = txn.open_table(META)?;
        let feed = txn.open_table(FEED)?;
        let feed_end = feed_end(&meta, &feed)?;
        let purged_before = schema::number(&meta, PURGED_BEFORE)?.map(UnixTime::from_secs);
        let staged = txn.open_table(STAGED)?;
        let staged_end = staged.last()?.map_or(0, |(last, _)| last.value() + 1);
        let staging = Staging::new(committed);
        // Rows with lower numbers count as moved.
        let staged_end = staged_end.max(staging.below());
        Ok(Self {
            meta,
            revoked: txn.open_table(REVOKED)?,
            lifted: txn.open_table(LIFTED)?,
            uses: txn.open_table(USES)?,
            held: txn.open_table(HELD)?,
            staged,
            ends: txn.open_table(ENDS)?,
            feed,
            staging,
            staged_end,
            purged_before,
            now,
            feed_began_at: feed_end,
            feed_end,
            has_written: false,
        })
    }

    /// Returns whether there is anything to commit.
    pub(crate) fn has_written(&self) -> bool {
        self.has_written
    }

    pub(crate) fn feed_end(&self) -> u64 {
        self.feed_end
    }

    /// Returns the number of revocations, rules, and tokens with uses.
    pub(crate) fn entries(&self) -> Result<u64, Fault> {
        Ok(self.revoked.len()? + self.uses.len()? + self.staging.len() as u64)
    }

    fn uses(&self, key: KeyDigest) -> Result<Option<Uses>, Fault> {
        if let Some(entry) = self.staging.get(key.as_bytes()) {
            return Ok(Some(entry.uses()));
        }
        let row = self.uses.get(key.as_bytes())?;
        row.map(|row| rows::read(row.value())).transpose()
    }

    fn set(&mut self, name: &'static str, number: u64) -> Result<(), Fault> {
        self.has_written = true;
        (self.meta).insert(name, number.to_be_bytes().as_slice())?;
        Ok(())
    }

    /// Appends a change to the feed.
    fn tell(&mut self, change: &Change) -> Result<(), Fault> {
        let Some(event) = Event::new(change, self.now) else {
            return Ok(());
        };
        let row = rows::write(&event)?;
        self.feed.insert(self.feed_end, row.as_slice())?;
        self.feed_end += 1;
        self.has_written = true;
        Ok(())
    }

    /// Trims the feed to its capacity and retention.
    ///
    /// A call removes at most twice as many changes as the transaction added, plus 64, so that none
    /// takes long after the settings were reduced or the store was idle.
    pub(crate) fn trim(&mut self, kept: u64, since: UnixTime) -> Result<(), Fault> {
        let added = self.feed_end - self.feed_began_at;
        for _ in 0..2 * added + 64 {
            let Some((first, written)) = self.oldest()? else {
                break;
            };
            let is_old = written.is_none_or(|written| written < since);
            if !is_old && self.feed.len()? <= kept {
                break;
            }
            self.forget(first)?;
        }
        Ok(())
    }

    /// Returns the position of the oldest change, and when it was written if that can be read.
    fn oldest(&self) -> Result<Option<(u64, Option<UnixTime>)>, Fault> {
        let first = self.feed.first()?;
        let oldest = first.map(|(position, row)| {
            let event = rows::read::<Event>(row.value());
            (position.value(), event.ok().map(|event| event.written))
        });
        Ok(oldest)
    }

    fn forget(&mut self, position: u64) -> Result<(), Fault> {
        if position + 1 == self.feed_end {
            self.set(FEED_END, self.feed_end)?;
        }
        self.feed.remove(position)?;
        self.has_written = true;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn trim_all(&mut self) -> Result<(), Fault> {
        while let Some((first, _)) = self.oldest()? {
            self.forget(first)?;
        }
        Ok(())
    }
}
