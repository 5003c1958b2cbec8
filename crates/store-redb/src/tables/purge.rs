//! Purging expired entries, by the index of expiries.

use redb::ReadableTable;
use tower_revoke_core::{KeyDigest, UnixTime};

use super::{Facet, Tables};
use crate::{
    fault::Fault,
    rows::{self, Uses},
    schema::{PURGED_BEFORE, fixed},
};

/// The maximum number of rows that one step removes. Other calls run between two steps.
const PURGED_AT_ONCE: usize = 2_048;

impl Tables<'_> {
    /// Removes some entries that expired before a time. Returns how many, and whether there may be
    /// more.
    pub(crate) fn purge(&mut self, before: UnixTime) -> Result<(u64, bool), Fault> {
        let mut first = [0; 25];
        first[..8].copy_from_slice(&before.as_secs().to_be_bytes());
        let due: Vec<_> = self
            .ends
            .range(..first)?
            .take(PURGED_AT_ONCE)
            .map(|row| row.map(|(end, _)| end.value()))
            .collect::<Result<_, _>>()?;
        // Stored even if this step removes nothing: an earlier purge may have been cut off.
        if self.purged_before < Some(before) {
            self.purged_before = Some(before);
            self.set(PURGED_BEFORE, before.as_secs())?;
        }
        let mut dropped = 0;
        for end in &due {
            dropped += self.drop_ended(end)?;
        }
        let staged = self
            .staging
            .ended_before(before, PURGED_AT_ONCE - due.len());
        for token in &staged {
            dropped += u64::from(self.unstage(token)?);
        }
        Ok((dropped, due.len() + staged.len() == PURGED_AT_ONCE))
    }

    /// Removes a row of the index and the entry that it points at.
    fn drop_ended(&mut self, end: &[u8; 25]) -> Result<u64, Fault> {
        let key: [u8; 16] = fixed(&end[9..])?;
        let dropped = match end[8] {
            facet if facet == Facet::Revoked as u8 => {
                u64::from(self.revoked.remove(&key)?.is_some())
            }
            // A lift doesn't count as an entry.
            facet if facet == Facet::Lifted as u8 => {
                self.lifted.remove(&key)?;
                0
            }
            _ => {
                let row = self.uses.remove(&key)?;
                let uses = row.map(|row| rows::read::<Uses>(row.value())).transpose()?;
                if uses.is_some_and(|uses| uses.held > 0 && uses.only.is_none()) {
                    let of_token = held_by(&key, 0)..=held_by(&key, 0xff);
                    self.held.retain_in(of_token, |_, ()| false)?;
                }
                uses.map_or(0, |uses| uses.weight())
            }
        };
        self.ends.remove(end)?;
        self.has_written = true;
        Ok(dropped)
    }

    /// Moves an entry in the index from one expiry to another. The outer `None` stands for no
    /// entry, the inner one for an entry that never expires.
    pub(super) fn ends_move(
        &mut self,
        facet: Facet,
        key: KeyDigest,
        from: Option<Option<UnixTime>>,
        to: Option<Option<UnixTime>>,
    ) -> Result<(), Fault> {
        self.has_written = true;
        if from == to {
            return Ok(());
        }
        if let Some(Some(from)) = from {
            self.ends.remove(end_row(from, facet, key))?;
        }
        if let Some(Some(to)) = to {
            self.ends.insert(end_row(to, facet, key), ())?;
        }
        Ok(())
    }
}

fn end_row(until: UnixTime, facet: Facet, key: KeyDigest) -> [u8; 25] {
    let mut row = [0; 25];
    row[..8].copy_from_slice(&until.as_secs().to_be_bytes());
    row[8] = facet as u8;
    row[9..].copy_from_slice(key.as_bytes());
    row
}

fn held_by(token: &[u8; 16], rest: u8) -> [u8; 32] {
    let mut row = [rest; 32];
    row[..16].copy_from_slice(token);
    row
}
