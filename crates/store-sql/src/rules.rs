//! What each operation does to the rows: core's merge rules, over the rows of a batch.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use tower_revoke_core::{
    Change, KeyDigest, UnixTime, Use, UseOutcome,
    internal::merge::{KeyState, Lifted, Revoked, UseCount},
    retention,
};

use crate::{
    backend::{Batch, Digest, Event, columns_of},
    issued::{Hash, IssuedRow},
    op::{Answer, Op},
    value::{end, secs, time},
};

/// A row of the table `uses`; its key is the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uses {
    pub(crate) count: UseCount,
    /// The id of the taken use of a single-use token.
    pub(crate) holder: Option<Digest>,
}

impl Uses {
    /// Reads a row.
    pub(crate) fn new(limit: i64, held: i64, until: Option<i64>, holder: Option<Digest>) -> Self {
        let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        let count = UseCount {
            limit: NonZeroU32::new(number(limit)).unwrap_or(NonZeroU32::MIN),
            taken: number(held),
            until: until.map(time),
        };
        Self { count, holder }
    }

    fn is_single(&self) -> bool {
        self.count.limit == NonZeroU32::MIN
    }
}

/// The key of a row of the table `held`, which has no other columns: the token and the use.
pub(crate) type Held = (Digest, Digest);

/// The rows that a batch concerns. Ordered by their keys, so that all writers lock rows in one order.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Of the tables `revoked` and `lifted`.
    pub(crate) listed: BTreeSet<Digest>,
    pub(crate) uses: BTreeSet<Digest>,
    pub(crate) held: BTreeSet<Held>,
    /// Of the table `issued_tokens`.
    pub(crate) issued: BTreeSet<Hash>,
}

impl Keys {
    pub(crate) fn of(ops: &[&Op]) -> Self {
        let mut keys = Self::default();
        for op in ops {
            let use_ = match op {
                Op::TakeUse(use_) | Op::ReturnUse(use_) => use_,
                Op::Revoke(key, _) | Op::Lift { key, .. } => {
                    keys.listed.insert(*key.as_bytes());
                    continue;
                }
                Op::Restore(known) => {
                    keys.listed.insert(*known.key().as_bytes());
                    continue;
                }
                Op::Issue(row) => {
                    keys.issued.insert(row.hash);
                    continue;
                }
            };
            let token = *use_.token.as_bytes();
            keys.uses.insert(token);
            // A returned use may name another limit than the stored one.
            if op.single_use().is_none() {
                keys.held.insert((token, *use_.id.as_bytes()));
            }
        }
        keys
    }
}

/// Rows of one table, as they were found and as they are to be.
#[derive(Debug)]
pub(crate) struct Rows<K, R> {
    found: BTreeMap<K, R>,
    written: BTreeMap<K, Option<R>>,
}

impl<K, R> Default for Rows<K, R> {
    fn default() -> Self {
        Self {
            found: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }
}

impl<K: Copy + Ord, R: PartialEq> Rows<K, R> {
    /// Adds a row that the database has.
    pub(crate) fn found(&mut self, key: K, row: R) {
        self.found.insert(key, row);
    }

    fn get(&self, key: &K) -> Option<&R> {
        match self.written.get(key) {
            Some(row) => row.as_ref(),
            None => self.found.get(key),
        }
    }

    fn put(&mut self, key: K, row: R) {
        self.written.insert(key, Some(row));
    }

    fn delete(&mut self, key: K) {
        self.written.insert(key, None);
    }

    /// Returns the rows to insert, or to put in the place of those with the same key.
    pub(crate) fn put_rows(&self) -> impl Iterator<Item = (&K, &R)> {
        self.written.iter().filter_map(|(key, row)| {
            let row = row.as_ref()?;
            (self.found.get(key) != Some(row)).then_some((key, row))
        })
    }

    /// Returns the keys of the rows to delete.
    pub(crate) fn deleted(&self) -> impl Iterator<Item = &K> {
        let rows = self.written.iter();
        rows.filter_map(|(key, row)| (row.is_none() && self.found.contains_key(key)).then_some(key))
    }
}

/// The rows of the [`Keys`] of a batch, before and after it is applied.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The number of the last event.
    pub(crate) seq: i64,
    /// Entries that expired before this time may have been purged.
    pub(crate) purged_before: Option<i64>,
    pub(crate) revoked: Rows<Digest, Revoked>,
    pub(crate) lifted: Rows<Digest, Lifted>,
    pub(crate) uses: Rows<Digest, Uses>,
    pub(crate) held: Rows<Held, ()>,
    /// Of those that were found, only the hash is read.
    pub(crate) issued: Rows<Hash, Option<Box<IssuedRow>>>,
}

/// The result of a batch.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// One for each operation.
    pub(crate) answers: Vec<Answer>,
    /// The events to append to the feed.
    pub(crate) events: Vec<Event>,
}

/// The kinds of events.
const REVOKED: i64 = 0;
pub(crate) const USED_UP: i64 = 1;
const LIFTED: i64 = 2;
const RETURNED: i64 = 3;
const SPENT: i64 = 4;

impl Known {
    /// Applies all operations, in order.
    pub(crate) fn apply(&mut self, batch: &Batch<'_>) -> Done {
        let mut done = Done::default();
        for op in &batch.ops {
            let (answer, change) = match op {
                Op::Revoke(key, revoked) => {
                    let change = self.merge(key, |state| state.revoke(*key, revoked.clone()));
                    (Answer::Done, change)
                }
                Op::Restore(known) => {
                    let change = self.merge(known.key(), |state| state.restore(known));
                    (Answer::Done, change)
                }
                Op::Lift { key, at, details } => {
                    let lift = |state: &mut KeyState| state.lift_at(*key, *at, details.clone());
                    let change = self.merge(key, lift);
                    (Answer::Found(change.is_some()), change)
                }
                Op::TakeUse(use_) => self.take_use(use_),
                Op::ReturnUse(use_) => self.return_use(use_),
                Op::Issue(row) => (self.issue(row), None),
            };
            done.answers.push(answer);
            if let Some(change) = change {
                self.seq += 1;
                done.events.push(event(self.seq, batch.mark, &change));
            }
        }
        done
    }

    /// Reads the state of a key, changes it, and keeps it.
    fn merge(
        &mut self,
        key: &KeyDigest,
        act: impl FnOnce(&mut KeyState) -> Option<Change>,
    ) -> Option<Change> {
        let digest = *key.as_bytes();
        let mut state = KeyState {
            revoked: self.revoked.get(&digest).cloned(),
            lifted: self.lifted.get(&digest).cloned(),
        };
        let change = act(&mut state);
        match state.revoked {
            Some(revoked) => self.revoked.put(digest, revoked),
            None => self.revoked.delete(digest),
        }
        if let Some(lifted) = state.lifted {
            self.lifted.put(digest, lifted);
        }
        change
    }

    fn take_use(&mut self, use_: &Use) -> (Answer, Option<Change>) {
        // A wall clock may have been set back since uses were purged.
        let purged_before = self.purged_before.map(time);
        if purged_before.is_some_and(|before| retention::ended_before(use_.until, before)) {
            return (Answer::Expired, None);
        }
        let (token, id) = (*use_.token.as_bytes(), *use_.id.as_bytes());
        let old = self.uses.get(&token).copied();
        let is_held = old.is_some_and(|old| self.holds(&old, token, id));
        let taken = match UseCount::take(old.map(|old| old.count), use_, is_held) {
            Ok(taken) => taken,
            Err(_) => {
                let stored = old.map_or(use_.limit, |old| old.count.limit);
                return (Answer::LimitMismatch(stored.get()), None);
            }
        };
        if let UseOutcome::Taken { .. } = taken.outcome {
            let mut uses = Uses {
                count: taken.count,
                holder: old.and_then(|old| old.holder),
            };
            if taken.is_new && uses.is_single() {
                uses.holder = Some(id);
            } else if taken.is_new {
                self.held.put((token, id), ());
            }
            self.uses.put(token, uses);
        }
        (Answer::Use(taken.outcome), taken.change)
    }

    fn return_use(&mut self, use_: &Use) -> (Answer, Option<Change>) {
        let (token, id) = (*use_.token.as_bytes(), *use_.id.as_bytes());
        let uses = self.uses.get(&token).copied();
        let Some(mut uses) = uses.filter(|uses| self.holds(uses, token, id)) else {
            return (Answer::Found(false), None);
        };
        if !uses.is_single() {
            self.held.delete((token, id));
        }
        let change = uses.count.give_back(KeyDigest::of_token(use_.token));
        uses.holder = None;
        self.uses.put(token, uses);
        (Answer::Found(true), change)
    }

    fn issue(&mut self, row: &IssuedRow) -> Answer {
        if self.issued.get(&row.hash).is_some() {
            return Answer::AlreadyIssued;
        }
        self.issued.put(row.hash, Some(Box::new(row.clone())));
        Answer::Done
    }

    fn holds(&self, uses: &Uses, token: Digest, id: Digest) -> bool {
        match uses.is_single() {
            true => uses.holder == Some(id),
            false => self.held.get(&(token, id)).is_some(),
        }
    }
}

fn event(seq: i64, mark: i64, change: &Change) -> Event {
    let (what, issued, until, at) = match *change {
        Change::Listed { listed, at, .. } => {
            let (is_spent, issued, _) = columns_of(&listed);
            let what = if is_spent { SPENT } else { REVOKED };
            (what, issued, listed.until(), at)
        }
        Change::UsedUp { until, .. } => (USED_UP, None, until, UnixTime::EPOCH),
        Change::Lifted { at, until, .. } => (LIFTED, None, until, at),
        _ => (RETURNED, None, None, UnixTime::EPOCH),
    };
    Event {
        seq,
        mark,
        what,
        digest: *change.key().as_bytes(),
        issued,
        until: end(until),
        at: secs(at),
    }
}

#[cfg(test)]
mod tests;
