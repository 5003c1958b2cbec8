//! Taking and returning uses.

use redb::ReadableTable;
use tower_revoke_core::{
    KeyDigest, UnixTime, Use, UseOutcome,
    internal::merge::{UseCount, check_use},
};

use super::{Done, Facet, Tables};
use crate::{
    fault::Fault,
    rows::{self, Uses},
};

impl Tables<'_> {
    /// Takes one use of a token.
    pub(crate) fn take_use(&mut self, use_: &Use, now: UnixTime) -> Done<UseOutcome> {
        if let Err(error) = check_use(use_, now, self.purged_before) {
            return Ok(Err(error));
        }
        let key = KeyDigest::of_token(use_.token);
        let old = self.uses(key)?;
        let is_held = match &old {
            Some(old) => self.holds(old, use_)?,
            None => false,
        };
        let taken = match UseCount::take(old.map(|old| old.count()), use_, is_held) {
            Ok(taken) => taken,
            Err(error) => return Ok(Err(error)),
        };
        let mut uses = Uses::new(taken.count, old.and_then(|old| old.only));
        if taken.is_new {
            if uses.limit.get() == 1 {
                uses.only = Some(*use_.id.as_bytes());
            } else {
                self.held.insert(held_row(use_), ())?;
            }
        }
        if old != Some(uses) {
            match old {
                None if uses.limit.get() == 1 => self.stage(use_)?,
                _ => self.keep_uses(key, old, &uses)?,
            }
        }
        if let Some(change) = &taken.change {
            self.tell(change)?;
        }
        Ok(Ok(taken.outcome))
    }

    /// Returns the use that this id has taken; `false` if it has none. The limit stays known.
    pub(crate) fn return_use(&mut self, use_: &Use) -> Result<bool, Fault> {
        let key = KeyDigest::of_token(use_.token);
        let Some(old) = self.uses(key)? else {
            return Ok(false);
        };
        if !self.holds(&old, use_)? {
            return Ok(false);
        }
        if old.only.is_none() {
            self.held.remove(held_row(use_))?;
        }
        let mut count = old.count();
        let change = count.give_back(key);
        self.keep_uses(key, Some(old), &Uses::new(count, None))?;
        if let Some(change) = &change {
            self.tell(change)?;
        }
        Ok(true)
    }

    fn holds(&self, uses: &Uses, use_: &Use) -> Result<bool, Fault> {
        if uses.limit.get() == 1 {
            return Ok(uses.only.as_ref() == Some(use_.id.as_bytes()));
        }
        Ok(self.held.get(held_row(use_))?.is_some())
    }

    fn keep_uses(&mut self, key: KeyDigest, old: Option<Uses>, new: &Uses) -> Result<(), Fault> {
        let row = rows::write(new)?;
        self.uses.insert(key.as_bytes(), row.as_slice())?;
        // A staged use has no row in the index of expiries.
        let was_staged = self.unstage(key.as_bytes())?;
        let from = old.filter(|_| !was_staged).map(|old| old.until);
        self.ends_move(Facet::Uses, key, from, Some(new.until))
    }
}

fn held_row(use_: &Use) -> [u8; 32] {
    let mut row = [0; 32];
    row[..16].copy_from_slice(use_.token.as_bytes());
    row[16..].copy_from_slice(use_.id.as_bytes());
    row
}
