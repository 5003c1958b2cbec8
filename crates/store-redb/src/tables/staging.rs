//! First uses of single-use tokens: appended, and moved to their places later, many together.

use redb::ReadableTable;
use tower_revoke_core::{KeyDigest, Use};

use super::{Facet, Tables};
use crate::{
    fault::Fault,
    rows::{self, Moved, StagedUse},
    schema::STAGED_MOVED,
    staged::{Changes, Token},
};

/// How many are moved for each that is added: what is old is gone before what is young is as many.
const MOVED_FOR_EACH: usize = 2;

/// Likewise, how many rows of what was moved are removed.
const REMOVED_FOR_EACH: usize = 4;

impl Tables<'_> {
    /// Keeps the first use of a token with one use.
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

    /// Whether the token's use was staged; it is not any more.
    pub(super) fn unstage(&mut self, token: &Token) -> Result<bool, Fault> {
        let Some(entry) = self.staging.remove(token) else {
            return Ok(false);
        };
        self.has_written = true;
        self.staged.remove(entry.number)?;
        Ok(true)
    }

    /// Moves some of what is staged, for what was added: neighbours, which share pages. Then their
    /// rows are removed, and then those that were gathered meanwhile are next.
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

    /// What takes effect when it is committed.
    pub(crate) fn into_staged(self) -> Changes {
        self.staging.into_changes()
    }
}
