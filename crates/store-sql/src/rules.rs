//! What each thing that is asked does to the rows, for databases that have no functions of ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use tower_revoke_core::{
    Change, KeyDigest, Listed, RevocationKey, TokenId, UnixTime, Use, UseId, UseOutcome,
    internal::merge::{self, Details, KeyState, UseCount},
    retention,
};

use crate::{
    backend::{Batch, Digest, Event, listed},
    op::{Answer, Do, Op},
    value::{end, secs, time},
};

/// One row of the table `revoked`; its key is the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revoked {
    /// Of a rule; `None`: one token is revoked.
    pub(crate) issued: Option<i64>,
    pub(crate) until: Option<i64>,
    pub(crate) at: i64,
    /// Whether the token is revoked as spent.
    pub(crate) spent: bool,
    /// The key of a rule, where it is known.
    pub(crate) issuer: Option<String>,
    pub(crate) claim: Option<(String, String)>,
    pub(crate) by: String,
    pub(crate) reason: String,
}

/// One row of the table `lifted`; its key is the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lifted {
    pub(crate) at: i64,
    pub(crate) until: Option<i64>,
    pub(crate) by: String,
    pub(crate) reason: String,
}

/// One row of the table `uses`; its key is the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uses {
    pub(crate) limit: i64,
    pub(crate) held: i64,
    pub(crate) until: Option<i64>,
    /// By which use, of a token with one use.
    pub(crate) holder: Option<Digest>,
}

/// The key of a row of the table `held`, which has nothing else: the token and the use.
pub(crate) type Held = (Digest, Digest);

/// Which rows a batch is about. In the order of their keys, so that those who lock rows lock them
/// in one order.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub(crate) revoked: BTreeSet<Digest>,
    pub(crate) lifted: BTreeSet<Digest>,
    pub(crate) uses: BTreeSet<Digest>,
    pub(crate) held: BTreeSet<Held>,
}

impl Keys {
    pub(crate) fn of(ops: &[&Op]) -> Self {
        let mut keys = Self::default();
        for op in ops {
            match op.what {
                Do::Revoke | Do::Lift | Do::RestoreListed | Do::RestoreLifted => {
                    keys.revoked.insert(op.digest);
                    keys.lifted.insert(op.digest);
                }
                Do::TakeUse | Do::ReturnUse => {
                    keys.uses.insert(op.digest);
                    // Who returns a use may name another limit than is known.
                    if let Some(id) = op.id.filter(|_| !op.is_single_use()) {
                        keys.held.insert((op.digest, id));
                    }
                }
            }
        }
        keys
    }
}

/// Rows of one table: as they were found, and as they are to be.
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
    /// The database has this row.
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

    /// The rows that are to be inserted, or to take the place of those that are there; by their keys.
    pub(crate) fn put_rows(&self) -> impl Iterator<Item = (&K, &R)> {
        self.written.iter().filter_map(|(key, row)| {
            let row = row.as_ref()?;
            (self.found.get(key) != Some(row)).then_some((key, row))
        })
    }

    /// The keys of the rows that are to go.
    pub(crate) fn deleted(&self) -> impl Iterator<Item = &K> {
        let rows = self.written.iter();
        rows.filter_map(|(key, row)| (row.is_none() && self.found.contains_key(key)).then_some(key))
    }
}

/// What the database knows of the [`Keys`] of a batch; afterwards, what it is to know.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The last event.
    pub(crate) seq: i64,
    /// What ended before this may have been forgotten.
    pub(crate) purged_before: Option<i64>,
    pub(crate) revoked: Rows<Digest, Revoked>,
    pub(crate) lifted: Rows<Digest, Lifted>,
    pub(crate) uses: Rows<Digest, Uses>,
    pub(crate) held: Rows<Held, ()>,
}

/// What else comes of a batch.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// One for each thing that was asked.
    pub(crate) answers: Vec<Answer>,
    /// What is to be appended to the feed. If there is any, the number and the mark of its last are
    /// to be kept as those of the feed's end.
    pub(crate) events: Vec<Event>,
}

/// How an event begins.
const REVOKED: i64 = 0;
const USED_UP: i64 = 1;
const LIFTED: i64 = 2;
const FREED: i64 = 3;
const SPENT: i64 = 4;

const NO: Answer = Answer {
    outcome: 0,
    number: 0,
};
const YES: Answer = Answer {
    outcome: 1,
    number: 0,
};

impl Known {
    /// Does all that is asked, in its order.
    pub(crate) fn apply(&mut self, batch: &Batch<'_>) -> Done {
        let mut done = Done::default();
        for op in &batch.ops {
            let (answer, event) = match op.what {
                Do::Revoke => {
                    let event = self.merge(op.digest, |state, key| state.revoke(key, op.said()));
                    (NO, event)
                }
                Do::RestoreListed => {
                    let (listed, at) = (listed(op.spent, op.issued, op.until), time(op.at));
                    let event = self.merge(op.digest, |state, key| {
                        state.restore(&Change::Listed { key, listed, at })
                    });
                    (NO, event)
                }
                Do::Lift => {
                    let details = op.said().details;
                    let event = self.merge(op.digest, |state, key| {
                        state.lift_at(key, time(op.at), details)
                    });
                    (if event.is_some() { YES } else { NO }, event)
                }
                Do::RestoreLifted => {
                    let (at, until) = (time(op.at), op.until.map(time));
                    let event = self.merge(op.digest, |state, key| {
                        state.restore(&Change::Lifted { key, at, until })
                    });
                    (NO, event)
                }
                Do::TakeUse => self.take_use(op),
                Do::ReturnUse => self.return_use(op),
            };
            done.answers.push(answer);
            if let Some(event) = event {
                self.seq += 1;
                done.events.push(Event {
                    seq: self.seq,
                    mark: batch.mark,
                    ..event
                });
            }
        }
        done
    }

    /// Reads the state of a key, changes it, and keeps it.
    fn merge(
        &mut self,
        key: Digest,
        act: impl FnOnce(&mut KeyState, KeyDigest) -> Option<Change>,
    ) -> Option<Event> {
        let mut state = KeyState {
            revoked: self.revoked.get(&key).map(Into::into),
            lifted: self.lifted.get(&key).map(Into::into),
        };
        let change = act(&mut state, KeyDigest::from_bytes(key));
        match state.revoked {
            Some(revoked) => self.revoked.put(key, revoked.into()),
            None => self.revoked.delete(key),
        }
        if let Some(lifted) = state.lifted {
            self.lifted.put(key, lifted.into());
        }
        change.map(|change| event(&change))
    }

    fn take_use(&mut self, op: &Op) -> (Answer, Option<Event>) {
        let Some(use_) = op.asked() else {
            return (NO, None);
        };
        // A wall clock may have been set back since uses were forgotten.
        if self
            .purged_before
            .is_some_and(|before| retention::ended_before(use_.until, time(before)))
        {
            let expired = Answer {
                outcome: 3,
                number: 0,
            };
            return (expired, None);
        }
        let (token, id) = (op.digest, *use_.id.as_bytes());
        let old = self.uses.get(&token).copied();
        let is_held = old.is_some_and(|old| self.holds(&old, token, id));
        let taken = match UseCount::take(old.map(|old| old.count()), &use_, is_held) {
            Ok(taken) => taken,
            Err(_) => {
                let other_limit = Answer {
                    outcome: 2,
                    number: old.map_or(0, |old| old.limit),
                };
                return (other_limit, None);
            }
        };
        let UseOutcome::Taken { left } = taken.outcome else {
            return (NO, None);
        };
        let mut uses = Uses::new(taken.count, old.and_then(|old| old.holder));
        if taken.is_new && uses.limit == 1 {
            uses.holder = Some(id);
        } else if taken.is_new {
            self.held.put((token, id), ());
        }
        self.uses.put(token, uses);
        let won = Answer {
            number: left.into(),
            ..YES
        };
        (won, taken.change.as_ref().map(event))
    }

    fn return_use(&mut self, op: &Op) -> (Answer, Option<Event>) {
        let (Some(id), Some(uses)) = (op.id, self.uses.get(&op.digest).copied()) else {
            return (NO, None);
        };
        if !self.holds(&uses, op.digest, id) {
            return (NO, None);
        }
        if uses.limit != 1 {
            self.held.delete((op.digest, id));
        }
        let mut count = uses.count();
        let change = count.give_back(KeyDigest::from_bytes(op.digest));
        self.uses.put(op.digest, Uses::new(count, None));
        (YES, change.as_ref().map(event))
    }

    fn holds(&self, uses: &Uses, token: Digest, id: Digest) -> bool {
        match uses.limit {
            1 => uses.holder == Some(id),
            _ => self.held.get(&(token, id)).is_some(),
        }
    }
}

impl Op {
    /// The revocation that it asks for, as a row says it.
    fn said(&self) -> merge::Revoked {
        let row = Revoked {
            issued: self.issued,
            until: self.until,
            at: self.at,
            spent: self.spent,
            issuer: self.issuer.clone(),
            claim: self.claim.clone(),
            by: self.by.clone(),
            reason: self.reason.clone(),
        };
        (&row).into()
    }

    /// The use that it asks for.
    fn asked(&self) -> Option<Use> {
        let limit = NonZeroU32::new(u32::try_from(self.limit?).ok()?)?;
        let id = UseId::from_bytes(self.id?);
        let mut use_ = Use::new(TokenId::from_bytes(self.digest), id, limit, None);
        use_.until = self.until.map(time);
        Some(use_)
    }
}

impl Uses {
    fn new(count: UseCount, holder: Option<Digest>) -> Self {
        Self {
            limit: count.limit.get().into(),
            held: count.taken.into(),
            until: end(count.until),
            holder,
        }
    }

    fn count(&self) -> UseCount {
        let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        UseCount {
            limit: NonZeroU32::new(number(self.limit)).unwrap_or(NonZeroU32::MIN),
            taken: number(self.held),
            until: self.until.map(time),
        }
    }
}

impl From<&Revoked> for merge::Revoked {
    fn from(row: &Revoked) -> Self {
        let rule = row.issuer.clone().map(|issuer| RevocationKey::Rule {
            issuer,
            claim: (row.claim.clone()).map(|(name, value)| (name.into(), value)),
        });
        let details = Details {
            rule,
            by: row.by.clone(),
            reason: row.reason.clone(),
        };
        Self {
            listed: listed(row.spent, row.issued, row.until),
            at: time(row.at),
            details: details.kept(),
        }
    }
}

impl From<merge::Revoked> for Revoked {
    fn from(revoked: merge::Revoked) -> Self {
        let details = revoked.details.map(|details| *details).unwrap_or_default();
        let (issuer, claim) = match details.rule {
            Some(RevocationKey::Rule { issuer, claim }) => (Some(issuer), claim),
            _ => (None, None),
        };
        Self {
            issued: issued(&revoked.listed),
            until: end(revoked.listed.until()),
            at: secs(revoked.at),
            spent: revoked.listed.is_spent(),
            issuer,
            claim: claim.map(|(name, value)| (name.into_owned(), value)),
            by: details.by,
            reason: details.reason,
        }
    }
}

impl From<&Lifted> for merge::Lifted {
    fn from(row: &Lifted) -> Self {
        let details = Details {
            rule: None,
            by: row.by.clone(),
            reason: row.reason.clone(),
        };
        Self {
            at: time(row.at),
            until: row.until.map(time),
            details: details.kept(),
        }
    }
}

impl From<merge::Lifted> for Lifted {
    fn from(lifted: merge::Lifted) -> Self {
        let details = lifted.details.map(|details| *details).unwrap_or_default();
        Self {
            at: secs(lifted.at),
            until: end(lifted.until),
            by: details.by,
            reason: details.reason,
        }
    }
}

/// Its place in the feed is given to it there.
fn event(change: &Change) -> Event {
    let (what, issued, until, at) = match *change {
        Change::Listed { listed, at, .. } => {
            let what = match listed {
                Listed::Spent { .. } => SPENT,
                _ => REVOKED,
            };
            (what, issued(&listed), listed.until(), at)
        }
        Change::UsedUp { until, .. } => (USED_UP, None, until, UnixTime::EPOCH),
        Change::Lifted { at, until, .. } => (LIFTED, None, until, at),
        _ => (FREED, None, None, UnixTime::EPOCH),
    };
    Event {
        seq: 0,
        mark: 0,
        what,
        digest: *change.key().as_bytes(),
        issued,
        until: end(until),
        at: secs(at),
    }
}

fn issued(listed: &Listed) -> Option<i64> {
    match *listed {
        Listed::Rule {
            issued_at_or_before,
            ..
        } => Some(secs(issued_at_or_before)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
