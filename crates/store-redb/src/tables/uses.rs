//! Uses: taken and returned.

use redb::ReadableTable;
use tower_revoke_core::{Change, KeyDigest, Listed, StoreError, Use, UseOutcome, retention};

use super::{Done, Facet, Tables, longer};
use crate::{
    fault::Fault,
    rows::{self, Uses},
};

impl Tables<'_> {
    /// Takes one use.
    pub(crate) fn take_use(&mut self, use_: &Use) -> Done<UseOutcome> {
        // The wall clock may have been set back since uses were forgotten: they must not be won
        // a second time.
        let is_forgotten = (use_.until).is_some_and(|until| Some(until) < self.purged_before);
        if is_forgotten || retention::has_ended(use_.until, self.now) {
            return Ok(Err(StoreError::Expired));
        }
        let key = KeyDigest::of_token(use_.token);
        let old = self.uses(key)?;
        let mut uses = old.unwrap_or(Uses {
            limit: use_.limit,
            until: use_.until,
            held: 0,
            only: None,
        });
        if uses.limit != use_.limit {
            return Ok(Err(StoreError::LimitMismatch {
                stored: uses.limit.get(),
                asked: use_.limit.get(),
            }));
        }
        let is_held = self.holds(&uses, use_)?;
        if !is_held && uses.left() == 0 {
            return Ok(Ok(UseOutcome::Spent));
        }
        uses.until = longer(uses.until, use_.until);
        if !is_held {
            uses.held += 1;
            if uses.limit.get() == 1 {
                uses.only = Some(*use_.id.as_bytes());
            } else {
                self.held.insert(held_row(use_), ())?;
            }
        }
        if !is_held || old.is_some_and(|old| old.until != uses.until) {
            let was_spent = old.and_then(|old| old.spent());
            match old {
                None if uses.limit.get() == 1 => self.stage(use_)?,
                _ => self.keep_uses(key, old, &uses)?,
            }
            if let Some(Listed::Spent { until }) =
                uses.spent().filter(|_| uses.spent() != was_spent)
            {
                self.tell(&rows::spent(key, until))?;
            }
        }
        Ok(Ok(UseOutcome::Taken { left: uses.left() }))
    }

    /// Returns the use that this id has taken. The limit stays known.
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
        let uses = Uses {
            held: old.held.saturating_sub(1),
            only: None,
            ..old
        };
        self.keep_uses(key, Some(old), &uses)?;
        if old.left() == 0 {
            self.tell(&Change::Returned { key })?;
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
        // What is staged is not in the index.
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
