//! Staging: first uses of single-use tokens are appended, and later moved to the table of uses,
//! many at a time in the order of the tokens.

use redb::ReadableTable;
use tower_revoke_core::{KeyDigest, Use};

use super::{Facet, Tables};
use crate::{
    fault::Fault,
    rows::{self, Moved, StagedUse},
    schema::STAGED_MOVED,
    staged::{Changes, Token},
};

/// How many staged uses are moved for each one that is added. With more than one, the old
/// generation is gone before the young one has reached its size.
const MOVED_FOR_EACH: usize = 2;

/// How many rows of moved uses are removed for each use that is added.
const REMOVED_FOR_EACH: usize = 4;

impl Tables<'_> {
    /// Stages the first use of a single-use token.
    pub(super) fn stage(&mut self, use_: &Use) -> Result<(), Fault> {
        let row = rows::write(&StagedUse {
            token: *use_.token.as_bytes(),
            id: *use_.id.as_bytes(),
            until: use_.until,
        })?;
        self.has_written = true;
        self.staged.insert(self.staged_end, row.as_slice())?;
        self.staging.add(self.staged_end, use_);
        self.staged_end += 1;
        Ok(())
    }

    /// Removes a token's staged use, and returns whether there was one.
    pub(super) fn unstage(&mut self, token: &Token) -> Result<bool, Fault> {
        let Some(entry) = self.staging.remove(token) else {
            return Ok(false);
        };
        self.has_written = true;
        self.staged.remove(entry.number)?;
        Ok(true)
    }

    /// Moves some staged uses, in proportion to those that this transaction added.
    ///
    /// The old generation goes through two phases, and then the young one takes its place:
    ///
    /// 1. Its uses are inserted into the table of uses in the order of the tokens, where neighbors
    ///    share pages. `Moved` records how far that has come.
    /// 2. Its rows are removed from the staging table in the order of their numbers. Removing them
    ///    along with the move would touch random pages again.
    pub(crate) fn move_staged(&mut self, gathered: usize) -> Result<(), Fault> {
        let added = self.staging.added();
        let next = self.staging.first_old(MOVED_FOR_EACH * added);
        if let Some((last, _)) = next.last() {
            for (token, entry) in &next {
                let row = rows::write(&entry.uses())?;
                self.uses.insert(token, row.as_slice())?;
                let key = KeyDigest::from_bytes(*token);
                self.ends_move(Facet::Uses, key, None, Some(entry.until))?;
                self.staging.remove(token);
            }
            return self.set_moved(Some(*last));
        }
        for _ in 0..REMOVED_FOR_EACH * added {
            let first = self.staged.first()?.map(|(number, _)| number.value());
            match first {
                Some(number) if number < self.staging.below() => self.staged.remove(number)?,
                _ if self.staging.young() < gathered => return Ok(()),
                _ => {
                    self.staging.age(self.staged_end);
                    return self.set_moved(None);
                }
            };
        }
        Ok(())
    }

    fn set_moved(&mut self, up_to: Option<Token>) -> Result<(), Fault> {
        let below = self.staging.below();
        let row = rows::write(&Moved { below, up_to })?;
        self.meta.insert(STAGED_MOVED, row.as_slice())?;
        Ok(())
    }

    /// Returns the changes to apply after the commit.
    pub(crate) fn into_staged(self) -> Changes {
        self.staging.into_changes()
    }
}
