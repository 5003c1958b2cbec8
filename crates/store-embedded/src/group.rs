//! A group of calls that are committed together.

use std::collections::{BTreeMap, HashMap};

use fjall::{Database, Keyspace, OwnedWriteBatch, PersistMode, UserKey};
use tower_revoke_core::{
    Change, KeyDigest, Lift, Revocation, StoreError, UnixTime, Use, UseOutcome,
    internal::merge::{UseCount, check_use},
};

use crate::{
    fault::Fault,
    issued::Issued,
    rows::{
        ENDS, ENDS_PART, GroupHead, HELD, PART, Row, RowKey, STATE, USES, Uses, end_key, group_key,
        read, row_key, split, write,
    },
    shared::{FeedLimits, State},
};

/// How many rows one step of a purge looks at, at least. Other calls run between two steps.
const PURGED_AT_ONCE: usize = 2_048;

/// The most groups that a group removes from the feed, so that none takes long after the limits were
/// reduced or the store was idle.
const TRIMMED_AT_ONCE: usize = 64;

/// The rows as the calls of a group see them: those of the tree under the group's own changes.
pub(crate) struct Group<'a> {
    pub(crate) rows: &'a Keyspace,
    state: State,
    /// As it was before the group.
    purged_before: Option<UnixTime>,
    pub(crate) feed: FeedLimits,
    now: UnixTime,
    /// Whether it is committed even if nothing changes.
    pub(crate) must_commit: bool,
    /// The rows that were read, before and after the group.
    touched: BTreeMap<RowKey, (Row, Row)>,
    /// The rows of the index that are no longer needed.
    ended: Vec<UserKey>,
    /// The keys of uses that were taken or returned, and whether they are held.
    held: HashMap<Vec<u8>, bool>,
    events: Vec<Change>,
    pub(crate) issued: Issued,
}

impl<'a> Group<'a> {
    pub(crate) fn new(rows: &'a Keyspace, state: State, feed: FeedLimits, now: UnixTime) -> Self {
        Self {
            rows,
            purged_before: state.purged_before,
            state,
            feed,
            now,
            must_commit: false,
            touched: BTreeMap::new(),
            ended: Vec::new(),
            held: HashMap::new(),
            events: Vec::new(),
            issued: Issued::default(),
        }
    }

    pub(crate) fn revoke(&mut self, revocation: &Revocation) -> Result<(), Fault> {
        let key = revocation.key().digest();
        let state = &mut self.row(STATE, key)?.state;
        let change = state.revoke(key, revocation.into());
        self.tell(change);
        Ok(())
    }

    /// Ends a revocation. Taken uses stay taken.
    pub(crate) fn lift(&mut self, lift: &Lift) -> Result<bool, Fault> {
        let change = self.row(STATE, lift.key().digest())?.state.lift(lift);
        self.tell(change);
        Ok(change.is_some())
    }

    /// Restores a change that a node has seen before.
    pub(crate) fn restore(&mut self, known: &Change) -> Result<(), Fault> {
        let change = self.row(STATE, *known.key())?.state.restore(known);
        self.tell(change);
        Ok(())
    }

    /// Takes one use of a token.
    pub(crate) fn take_use(&mut self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        check_use(use_, now, self.state.purged_before)?;
        let key = KeyDigest::of_token(use_.token);
        let old = self.row(USES, key)?.uses;
        let is_held = self.holds(old, use_)?;
        let taken = UseCount::take(old.map(|old| old.count), use_, is_held)?;
        let is_single = taken.count.limit.get() == 1;
        let mut only = old.and_then(|old| old.only);
        if taken.is_new && is_single {
            only = Some(*use_.id.as_bytes());
        } else if taken.is_new {
            self.held.insert(key_of(use_), true);
        }
        let count = taken.count;
        self.row(USES, key)?.uses = Some(Uses { count, only });
        self.tell(taken.change);
        Ok(taken.outcome)
    }

    /// Returns the use that this id has taken; `false` if it has none. The limit stays known.
    pub(crate) fn return_use(&mut self, use_: &Use) -> Result<bool, Fault> {
        let key = KeyDigest::of_token(use_.token);
        let old = self.row(USES, key)?.uses;
        if !self.holds(old, use_)? {
            return Ok(false);
        }
        let Some(uses) = &mut self.row(USES, key)?.uses else {
            return Ok(false);
        };
        let change = uses.count.give_back(key);
        if uses.only.take().is_none() {
            self.held.insert(key_of(use_), false);
        }
        self.tell(change);
        Ok(true)
    }

    /// Removes some entries that expired before a time, in the order of the index after `after`.
    /// Returns how many, and where to continue if there may be more.
    pub(crate) fn purge(
        &mut self,
        before: UnixTime,
        after: Option<Vec<u8>>,
    ) -> Result<(u64, Option<Vec<u8>>), Fault> {
        self.state.purged_before = self.state.purged_before.max(Some(before));
        let start = after.map_or(vec![ENDS], |after| [&after[..], &[0]].concat());
        let end = [&[ENDS][..], &before.as_secs().to_be_bytes()].concat();
        let (mut dropped, mut due) = (0, 0);
        for row in self.rows.range(start..end) {
            let (end, keys) = row.into_inner()?;
            // A row that expires later now is in the index under that time too.
            for key in keys.chunks(size_of::<RowKey>()) {
                let (key, digest) = split(key)?;
                let row = self.row(key[0], digest)?;
                let weight = row.weight();
                let lost_uses = row.purge(before);
                dropped += weight - row.weight();
                if lost_uses {
                    self.drop_held(&digest)?;
                }
                due += 1;
            }
            self.ended.push(end.clone());
            if due >= PURGED_AT_ONCE {
                return Ok((dropped, Some(end.to_vec())));
            }
        }
        Ok((dropped, None))
    }

    /// Returns the batch to commit and the state after it, or `None` if nothing changed.
    pub(crate) fn finish(
        self,
        database: &Database,
        opening: [u8; 8],
    ) -> Result<Option<(OwnedWriteBatch, State)>, Fault> {
        let Self {
            rows, feed, now, ..
        } = self;
        let mut touched = self.touched;
        touched.retain(|_, (before, after)| before != after);
        let is_same = touched.is_empty()
            && self.held.is_empty()
            && self.ended.is_empty()
            && self.events.is_empty()
            && self.issued.is_empty();
        if !self.must_commit && is_same && self.state.purged_before == self.purged_before {
            return Ok(None);
        }
        let mut batch = database.batch().durability(Some(PersistMode::SyncData));
        let mut state = self.state;
        let mut ends = BTreeMap::<_, Vec<_>>::new();
        for (key, (before, after)) in &touched {
            match *after == Row::default() {
                true => batch.remove(rows, key),
                false => batch.insert(rows, key, write(after)?),
            }
            if let Some(end) = after.end().filter(|_| after.end() != before.end()) {
                ends.entry(end).or_default().extend(key);
            }
            state.entries = (state.entries + after.weight()).saturating_sub(before.weight());
        }
        state.entries = (state.entries + self.issued.inserted).saturating_sub(self.issued.deleted);
        self.issued.write(rows, &mut batch);
        state.last += 1;
        for (end, keys) in ends {
            for (part, keys) in (0..).zip(keys.chunks(ENDS_PART)) {
                batch.insert(rows, end_key(end, state.last, part), keys);
            }
        }
        for (key, is_held) in self.held {
            match is_held {
                true => batch.insert(rows, key, []),
                false => batch.remove(rows, key),
            }
        }
        for end in self.ended {
            batch.remove(rows, end);
        }
        let head = GroupHead {
            written: now,
            opening,
            began_at: state.changes,
            events: self.events.len() as u32,
            entries: state.entries,
            purged_before: state.purged_before,
        };
        let (first, more) = self.events.split_at(PART.min(self.events.len()));
        batch.insert(rows, group_key(state.last, 0), write(&(head, first))?);
        for (part, events) in (1..).zip(more.chunks(PART)) {
            batch.insert(rows, group_key(state.last, part), write(&events)?);
        }
        state.changes += self.events.len() as u64;
        state.trim(rows, &mut batch, &feed, head)?;
        Ok(Some((batch, state)))
    }

    fn tell(&mut self, change: Option<Change>) {
        self.events.extend(change);
    }

    fn row(&mut self, kind: u8, digest: KeyDigest) -> Result<&mut Row, Fault> {
        let key = row_key(kind, digest.as_bytes());
        if !self.touched.contains_key(&key) {
            let row = self.rows.get(key)?;
            let row: Row = row.map_or(Ok(Row::default()), |row| read(&row))?;
            self.touched.insert(key, (row.clone(), row));
        }
        Ok(&mut self.touched.entry(key).or_default().1)
    }

    fn holds(&self, uses: Option<Uses>, use_: &Use) -> Result<bool, Fault> {
        match uses {
            None => Ok(false),
            Some(uses) if uses.count.limit.get() == 1 => {
                Ok(uses.only.as_ref() == Some(use_.id.as_bytes()))
            }
            Some(_) => {
                let key = key_of(use_);
                match self.held.get(&key) {
                    Some(is_held) => Ok(*is_held),
                    None => Ok(self.rows.contains_key(key)?),
                }
            }
        }
    }

    /// Removes the ids of all uses of a token.
    fn drop_held(&mut self, digest: &KeyDigest) -> Result<(), Fault> {
        let prefix = [&[HELD][..], digest.as_bytes()].concat();
        for (key, is_held) in &mut self.held {
            *is_held &= !key.starts_with(&prefix);
        }
        for row in self.rows.prefix(prefix) {
            self.held.insert(row.key()?.to_vec(), false);
        }
        Ok(())
    }
}

fn key_of(use_: &Use) -> Vec<u8> {
    [&[HELD][..], use_.token.as_bytes(), use_.id.as_bytes()].concat()
}

impl State {
    /// Removes from the feed what is beyond its limits. `head` is that of the last group, which
    /// always stays.
    ///
    /// The first group is kept for cursors at its end; its own changes can't be read any more.
    fn trim(
        &mut self,
        rows: &Keyspace,
        batch: &mut OwnedWriteBatch,
        feed: &FeedLimits,
        head: GroupHead,
    ) -> Result<(), Fault> {
        let since = head.written.saturating_sub(feed.retention);
        for _ in 0..TRIMMED_AT_ONCE {
            let next = match self.first + 1 {
                next if next >= self.last => head,
                next => match rows.get(group_key(next, 0))? {
                    Some(row) => GroupHead::read(&row)?.0,
                    None => return Err(Fault::Damaged(format!("group {next} is missing"))),
                },
            };
            let kept = (self.changes - next.began_at).max(self.last - self.first);
            let is_within = next.written >= since && kept <= feed.capacity;
            if is_within || self.first == self.last {
                break;
            }
            for part in 0..(self.first_events.div_ceil(PART as u32)).max(1) {
                batch.remove(rows, group_key(self.first, part));
            }
            self.first += 1;
            self.first_events = next.events;
        }
        Ok(())
    }
}
