//! What each thing that is asked does to the rows, for databases that have no functions of ours.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    backend::{Batch, Digest, Event},
    op::{Answer, Do, Op},
};

/// One row of the table `revoked`; its key is the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revoked {
    /// Of a rule; `None`: one token is revoked.
    pub(crate) issued: Option<i64>,
    pub(crate) until: Option<i64>,
    pub(crate) at: i64,
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
const SPENT: i64 = 1;
const LIFTED: i64 = 2;
const FREED: i64 = 3;

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
                Do::Revoke | Do::RestoreListed => (NO, self.revoke(op)),
                Do::Lift => self.lift(op),
                Do::RestoreLifted => (NO, self.restore_lifted(op)),
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

    fn revoke(&mut self, op: &Op) -> Option<Event> {
        let mut at = op.at;
        if let Some(lifted) = self.lifted.get(&op.digest)
            && lifted.at > at
        {
            if op.what == Do::RestoreListed {
                return None;
            }
            // It is newer than any lift, whatever the clocks said.
            at = lifted.at;
        }
        let said = Revoked {
            issued: op.issued,
            until: op.until,
            at,
            issuer: op.issuer.clone(),
            claim: op.claim.clone(),
            by: op.by.clone(),
            reason: op.reason.clone(),
        };
        let (row, is_news) = match self.revoked.get(&op.digest) {
            Some(old) => {
                let row = old.prolonged(said);
                let is_news = (old.issued, old.until, old.at) != (row.issued, row.until, row.at);
                (row, is_news)
            }
            None => (said, true),
        };
        let event = event(REVOKED, op.digest, row.issued, row.until, row.at);
        self.revoked.put(op.digest, row);
        is_news.then_some(event)
    }

    fn lift(&mut self, op: &Op) -> (Answer, Option<Event>) {
        let Some(revoked) = self.revoked.get(&op.digest) else {
            return (NO, None);
        };
        let at = op.at.max(revoked.at.saturating_add(1));
        let until = revoked.until;
        self.revoked.delete(op.digest);
        self.keep_lift(
            op.digest,
            Lifted {
                at,
                until,
                by: op.by.clone(),
                reason: op.reason.clone(),
            },
        );
        (YES, Some(event(LIFTED, op.digest, None, until, at)))
    }

    fn restore_lifted(&mut self, op: &Op) -> Option<Event> {
        let old = self.lifted.get(&op.digest);
        let (by, reason) =
            old.map_or_else(Default::default, |old| (old.by.clone(), old.reason.clone()));
        let (at, until) = (op.at, op.until);
        self.keep_lift(
            op.digest,
            Lifted {
                at,
                until,
                by,
                reason,
            },
        );
        // What stands is no older than the last lift, so that this one is newer than both, or neither.
        let ends_one = (self.revoked.get(&op.digest)).is_some_and(|revoked| revoked.at < at);
        if !ends_one {
            return None;
        }
        self.revoked.delete(op.digest);
        Some(event(LIFTED, op.digest, None, until, at))
    }

    /// Remembers the newer time, for the longer time.
    fn keep_lift(&mut self, key: Digest, mut lift: Lifted) {
        if let Some(old) = self.lifted.get(&key) {
            lift.at = lift.at.max(old.at);
            lift.until = later(lift.until, old.until);
        }
        self.lifted.put(key, lift);
    }

    fn take_use(&mut self, op: &Op) -> (Answer, Option<Event>) {
        let (Some(id), Some(limit)) = (op.id, op.limit) else {
            return (NO, None);
        };
        // A wall clock may have been set back since uses were forgotten.
        if op
            .until
            .is_some_and(|until| Some(until) < self.purged_before)
        {
            let is_past = Answer {
                outcome: 3,
                number: 0,
            };
            return (is_past, None);
        }
        let old = self.uses.get(&op.digest).copied();
        let mut uses = old.unwrap_or(Uses {
            limit,
            held: 0,
            until: op.until,
            holder: None,
        });
        if uses.limit != limit {
            let other_limit = Answer {
                outcome: 2,
                number: uses.limit,
            };
            return (other_limit, None);
        }
        let is_held = self.holds(&uses, op.digest, id);
        if !is_held && uses.held >= uses.limit {
            return (NO, None);
        }
        uses.until = later(uses.until, op.until);
        if !is_held {
            uses.held += 1;
            if uses.limit == 1 {
                uses.holder = Some(id);
            } else {
                self.held.put((op.digest, id), ());
            }
        }
        let won = Answer {
            number: uses.limit - uses.held,
            ..YES
        };
        if old == Some(uses) {
            return (won, None);
        }
        self.uses.put(op.digest, uses);
        let is_spent = uses.held >= uses.limit;
        (
            won,
            is_spent.then(|| event(SPENT, op.digest, None, uses.until, 0)),
        )
    }

    fn return_use(&mut self, op: &Op) -> (Answer, Option<Event>) {
        let (Some(id), Some(mut uses)) = (op.id, self.uses.get(&op.digest).copied()) else {
            return (NO, None);
        };
        if !self.holds(&uses, op.digest, id) {
            return (NO, None);
        }
        if uses.limit != 1 {
            self.held.delete((op.digest, id));
        }
        let was_spent = uses.held >= uses.limit;
        uses.held -= 1;
        uses.holder = None;
        self.uses.put(op.digest, uses);
        (
            YES,
            was_spent.then(|| event(FREED, op.digest, None, None, 0)),
        )
    }

    fn holds(&self, uses: &Uses, token: Digest, id: Digest) -> bool {
        match uses.limit {
            1 => uses.holder == Some(id),
            _ => self.held.get(&(token, id)).is_some(),
        }
    }
}

impl Revoked {
    /// Never shorter than it was. Of what was said about it, what was said last.
    fn prolonged(&self, said: Self) -> Self {
        let mut row = self.clone();
        if self.issued.is_some() == said.issued.is_some() {
            row.issued = self.issued.max(said.issued);
            row.until = later(self.until, said.until);
        }
        row.at = self.at.max(said.at);
        if said.issuer.is_some() || !said.by.is_empty() || !said.reason.is_empty() {
            (row.issuer, row.claim) = (said.issuer, said.claim);
            (row.by, row.reason) = (said.by, said.reason);
        }
        row
    }
}

/// The later of two ends; `None` never ends.
fn later(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    Some(one?.max(other?))
}

/// Its place in the feed is given to it there.
fn event(what: i64, digest: Digest, issued: Option<i64>, until: Option<i64>, at: i64) -> Event {
    Event {
        seq: 0,
        mark: 0,
        what,
        digest,
        issued,
        until,
        at,
    }
}

#[cfg(test)]
mod tests;
