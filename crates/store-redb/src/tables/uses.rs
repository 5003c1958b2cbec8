//! Uses: claimed and given back.

use redb::ReadableTable;
use tower_revoke_core::{Change, Claim, ClaimOutcome, KeyDigest, Listed, StoreError, retention};

use super::{Done, Facet, Tables, longer};
use crate::{
    fault::Fault,
    rows::{self, Uses},
};

impl Tables<'_> {
    /// Takes one use.
    pub(crate) fn claim(&mut self, claim: &Claim) -> Done<ClaimOutcome> {
        // The wall clock may have been set back since uses were forgotten: they must not be won
        // a second time.
        let is_forgotten = (claim.until).is_some_and(|until| Some(until) < self.purged_before);
        if is_forgotten || retention::has_ended(claim.until, self.now) {
            return Ok(Err(StoreError::LifeIsPast));
        }
        let key = KeyDigest::of_token(claim.token);
        let old = self.uses(key)?;
        let mut uses = old.unwrap_or(Uses {
            limit: claim.limit,
            until: claim.until,
            held: 0,
            only: None,
        });
        if uses.limit != claim.limit {
            return Ok(Err(StoreError::OtherLimit {
                stored: uses.limit.get(),
                asked: claim.limit.get(),
            }));
        }
        let is_held = self.holds(&uses, claim)?;
        if !is_held && uses.left() == 0 {
            return Ok(Ok(ClaimOutcome::Spent));
        }
        uses.until = longer(uses.until, claim.until);
        if !is_held {
            uses.held += 1;
            if uses.limit.get() == 1 {
                uses.only = Some(*claim.id.as_bytes());
            } else {
                self.held.insert(held_row(claim), ())?;
            }
        }
        if !is_held || old.is_some_and(|old| old.until != uses.until) {
            let was_spent = old.and_then(|old| old.spent());
            match old {
                None if uses.limit.get() == 1 => self.stage(claim)?,
                _ => self.keep_uses(key, old, &uses)?,
            }
            if let Some(Listed::Spent { until }) =
                uses.spent().filter(|_| uses.spent() != was_spent)
            {
                self.tell(&rows::spent(key, until))?;
            }
        }
        Ok(Ok(ClaimOutcome::Won { left: uses.left() }))
    }

    /// Gives back the use that the claim holds. The limit stays known.
    pub(crate) fn release(&mut self, claim: &Claim) -> Result<bool, Fault> {
        let key = KeyDigest::of_token(claim.token);
        let Some(old) = self.uses(key)? else {
            return Ok(false);
        };
        if !self.holds(&old, claim)? {
            return Ok(false);
        }
        if old.only.is_none() {
            self.held.remove(held_row(claim))?;
        }
        let uses = Uses {
            held: old.held.saturating_sub(1),
            only: None,
            ..old
        };
        self.keep_uses(key, Some(old), &uses)?;
        if old.left() == 0 {
            self.tell(&Change::Freed { key })?;
        }
        Ok(true)
    }

    fn holds(&self, uses: &Uses, claim: &Claim) -> Result<bool, Fault> {
        if uses.limit.get() == 1 {
            return Ok(uses.only.as_ref() == Some(claim.id.as_bytes()));
        }
        Ok(self.held.get(held_row(claim))?.is_some())
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

fn held_row(claim: &Claim) -> [u8; 32] {
    let mut row = [0; 32];
    row[..16].copy_from_slice(claim.token.as_bytes());
    row[16..].copy_from_slice(claim.id.as_bytes());
    row
}
