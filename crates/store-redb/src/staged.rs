//! The staged uses in memory: first uses of single-use tokens, which are durable in a table of
//! their own and wait to be moved to the table of uses.
//!
//! Token ids are hashes, so inserting each use into the sorted table of uses would write another
//! page for each. Staging appends them instead, and moves thousands at a time in the order of the
//! tokens, when many share a page. They are moved a few per transaction, so that none takes long.
//! Uses form two generations: while the old one is moved, the young one gathers new uses.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    ops::Bound,
};

use redb::{ReadTransaction, ReadableTable};
use tower_revoke_core::{UnixTime, Use, retention};

use crate::{
    fault::Fault,
    rows::{self, Moved, StagedUse, Uses},
    schema::{META, STAGED, STAGED_MOVED},
};

/// How many uses are gathered before they are moved.
///
/// More uses share more pages when they are moved, and take more memory: about 100 bytes each. A
/// single transaction may exceed the number.
pub(crate) const GATHERED: usize = 65_536;

pub(crate) type Token = [u8; 16];

type ByToken = BTreeMap<Token, Entry>;

/// The taken use of a single-use token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The number of its row.
    pub(crate) number: u64,
    pub(crate) id: [u8; 16],
    pub(crate) until: Option<UnixTime>,
}

/// The committed uses that are not yet moved, in two generations.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    /// The generation that gathers new uses.
    young: ByToken,
    /// The generation that is being moved, in the order of the tokens.
    old: ByToken,
    /// Rows with lower numbers are those of the old generation, or were moved.
    below: u64,
}

/// The staged uses as an open transaction sees them, with its own changes, which are applied after
/// the commit or dropped.
pub(crate) struct Staging<'a> {
    committed: &'a Staged,
    changes: Changes,
}

/// The changes of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    added: ByToken,
    gone: BTreeSet<Token>,
    /// If set, all uses with lower row numbers become the old generation.
    aged: Option<u64>,
}

impl Entry {
    pub(crate) fn uses(&self) -> Uses {
        Uses {
            limit: NonZeroU32::MIN,
            until: self.until,
            held: 1,
            only: Some(self.id),
        }
    }

    fn ended_before(&self, time: UnixTime) -> bool {
        retention::ended_before(self.until, time)
    }
}

impl Staged {
    /// Reads the staged uses from a file.
    pub(crate) fn read(txn: &ReadTransaction) -> Result<Self, Fault> {
        let moved = moved(&txn.open_table(META)?)?;
        let mut staged = Self {
            below: moved.below,
            ..Self::default()
        };
        for row in txn.open_table(STAGED)?.iter()? {
            let (number, row) = row?;
            let number = number.value();
            let StagedUse { token, id, until } = rows::read(row.value())?;
            let entry = Entry { number, id, until };
            if number >= moved.below {
                staged.young.insert(token, entry);
            } else if Some(token) > moved.up_to {
                staged.old.insert(token, entry);
            }
        }
        Ok(staged)
    }

    pub(crate) fn get(&self, token: &Token) -> Option<&Entry> {
        self.young.get(token).or_else(|| self.old.get(token))
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Returns the next uses after a token, in the order of the tokens.
    pub(crate) fn page(&self, after: Option<Token>, at_most: usize) -> Vec<(Token, Entry)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let some = |uses: &ByToken| -> Vec<_> {
            let rest = uses.range((start, Bound::Unbounded)).take(at_most);
            rest.map(|(token, entry)| (*token, *entry)).collect()
        };
        let mut page = some(&self.young);
        page.extend(some(&self.old));
        page.sort_unstable_by_key(|(token, _)| *token);
        page.truncate(at_most);
        page
    }

    /// Applies the changes of a committed transaction.
    pub(crate) fn apply(&mut self, changes: Changes) {
        for token in &changes.gone {
            if self.old.remove(token).is_none() {
                self.young.remove(token);
            }
        }
        self.young.extend(changes.added);
        if let Some(below) = changes.aged {
            self.old = std::mem::take(&mut self.young);
            self.below = below;
        }
    }
}

impl<'a> Staging<'a> {
    pub(crate) fn new(committed: &'a Staged) -> Self {
        Self {
            committed,
            changes: Changes::default(),
        }
    }

    pub(crate) fn into_changes(self) -> Changes {
        self.changes
    }

    pub(crate) fn get(&self, token: &Token) -> Option<Entry> {
        let Changes { added, gone, .. } = &self.changes;
        let committed = || self.committed.get(token).filter(|_| !gone.contains(token));
        added.get(token).or_else(committed).copied()
    }

    pub(crate) fn add(&mut self, number: u64, use_: &Use) {
        let entry = Entry {
            number,
            id: *use_.id.as_bytes(),
            until: use_.until,
        };
        self.changes.added.insert(*use_.token.as_bytes(), entry);
    }

    pub(crate) fn remove(&mut self, token: &Token) -> Option<Entry> {
        let entry = self.get(token)?;
        if self.changes.added.remove(token).is_none() {
            self.changes.gone.insert(*token);
        }
        Some(entry)
    }

    /// Returns the number of staged uses.
    pub(crate) fn len(&self) -> usize {
        self.committed.len() + self.changes.added.len() - self.changes.gone.len()
    }

    /// Returns how many uses this transaction has added.
    pub(crate) fn added(&self) -> usize {
        self.changes.added.len()
    }

    /// Rows with lower numbers are those of the old generation, or were moved.
    pub(crate) fn below(&self) -> u64 {
        self.changes.aged.unwrap_or(self.committed.below)
    }

    /// Returns the next uses of the old generation to move.
    pub(crate) fn first_old(&self, at_most: usize) -> Vec<(Token, Entry)> {
        let old = self
            .committed
            .old
            .iter()
            .map(|(token, entry)| (*token, *entry));
        let is_there = |(token, _): &(Token, _)| !self.changes.gone.contains(token);
        old.filter(is_there).take(at_most).collect()
    }

    /// Returns the size of the young generation when the transaction began.
    pub(crate) fn young(&self) -> usize {
        self.committed.young.len()
    }

    /// Makes all uses with lower row numbers the old generation. The previous one must be empty.
    pub(crate) fn age(&mut self, below: u64) {
        self.changes.aged = Some(below);
    }

    /// Returns tokens whose uses expired before a time, at most `at_most`.
    pub(crate) fn ended_before(&self, time: UnixTime, at_most: usize) -> Vec<Token> {
        let Changes { added, gone, .. } = &self.changes;
        let Staged { young, old, .. } = self.committed;
        let committed = old
            .iter()
            .chain(young)
            .filter(|(token, _)| !gone.contains(*token));
        let ended = committed
            .chain(added)
            .filter(|(_, entry)| entry.ended_before(time));
        ended.map(|(token, _)| *token).take(at_most).collect()
    }
}

/// Reads how far the old generation is moved.
pub(crate) fn moved(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Moved, Fault> {
    let row = meta.get(STAGED_MOVED)?;
    Ok(row
        .map(|row| rows::read(row.value()))
        .transpose()?
        .unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use tower_revoke_core::{TokenId, UseId};

    use super::*;

    fn new_use(token: u8, until: u64) -> Use {
        let (id, bytes) = (UseId::from_bytes([token; 16]), [token; 16]);
        let mut use_ = Use::new(TokenId::from_bytes(bytes), id, NonZeroU32::MIN, None);
        use_.until = Some(UnixTime::from_secs(until));
        use_
    }

    fn with(tokens: impl IntoIterator<Item = u8>) -> Staged {
        let mut staged = Staged::default();
        let mut staging = Staging::new(&staged);
        for token in tokens {
            staging.add(u64::from(token), &new_use(token, u64::from(token)));
        }
        let changes = staging.into_changes();
        staged.apply(changes);
        staged
    }

    fn tokens(of: &[(Token, Entry)]) -> Vec<u8> {
        of.iter().map(|(token, _)| token[0]).collect()
    }

    #[test]
    fn a_transaction_sees_what_it_changed_and_others_see_it_when_it_is_committed() {
        let mut staged = with([1, 2]);
        let mut staging = Staging::new(&staged);
        staging.add(3, &new_use(3, 3));
        assert!(staging.remove(&[1; 16]).is_some());
        assert!(staging.remove(&[1; 16]).is_none());
        assert!(staging.get(&[1; 16]).is_none() && staging.get(&[3; 16]).is_some());
        // Removed, then added again.
        staging.add(4, &new_use(1, 9));
        assert!(staging.remove(&[3; 16]).is_some());
        assert_eq!(
            (staging.len(), staging.get(&[1; 16]).unwrap().number),
            (2, 4)
        );
        let changes = staging.into_changes();
        assert_eq!(staged.get(&[1; 16]).unwrap().number, 1);
        staged.apply(changes);
        assert_eq!(staged.get(&[1; 16]).unwrap().number, 4);
        assert_eq!((staged.len(), staged.get(&[3; 16])), (2, None));
    }

    #[test]
    fn the_old_ones_are_moved_in_the_order_of_the_tokens() {
        let mut staged = with([5, 1, 3]);
        let mut staging = Staging::new(&staged);
        staging.add(9, &new_use(2, 2));
        staging.age(10);
        let changes = staging.into_changes();
        staged.apply(changes);
        let mut staging = Staging::new(&staged);
        staging.add(10, &new_use(4, 4));
        assert!(staging.remove(&[2; 16]).is_some());
        assert_eq!(tokens(&staging.first_old(2)), [1, 3]);
        assert_eq!((staging.below(), staging.young()), (10, 0));
        let changes = staging.into_changes();
        staged.apply(changes);
        assert_eq!(tokens(&Staging::new(&staged).first_old(9)), [1, 3, 5]);
        // A page merges both generations.
        assert_eq!(tokens(&staged.page(None, 3)), [1, 3, 4]);
        assert_eq!(tokens(&staged.page(Some([3; 16]), 3)), [4, 5]);
    }

    #[test]
    fn expired_entries_are_found_in_both_generations_and_in_the_new_ones() {
        let mut staged = with([1, 2, 8]);
        let mut staging = Staging::new(&staged);
        staging.age(10);
        let changes = staging.into_changes();
        staged.apply(changes);
        let mut staging = Staging::new(&staged);
        staging.add(10, &new_use(3, 3));
        staging.remove(&[1; 16]);
        let ended = |at_most| {
            let ended = staging.ended_before(UnixTime::from_secs(4), at_most);
            ended.iter().map(|token| token[0]).collect::<Vec<_>>()
        };
        assert_eq!((ended(9), ended(1)), (vec![2, 3], vec![2]));
    }
}
