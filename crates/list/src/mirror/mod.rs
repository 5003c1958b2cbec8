//! A copy in memory of everything that a store lists. A token that is not in it is valid.

mod packed;
mod shard;
mod state;
mod tables;
mod uses;

use std::{
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, watch};
use tower_revoke_core::{
    Change, KeyDigest, Listed, RevocationKey, TokenStatus, UnixTime, Use, VerifiedToken,
    internal::further_keys, retention,
};

use self::{shard::Look, uses::OwnUses};
pub(crate) use self::{
    shard::{Lost, Shard, Write},
    tables::{Tables, is_rule},
};
use crate::status::or_worse;

/// How many changes are applied before the task yields.
pub(crate) const AT_ONCE: usize = 4_096;

/// The contents of a store's feed, and the writes that were made through this list since.
///
/// The mirror is valid while it is young, that is, while the last call of the feed that returned
/// everything *began* less than `max_staleness` ago. The end of the call doesn't count: the store
/// may have taken a write in between that the call does not contain.
///
/// A reader takes the token's version before it reads the mirror. A writer moves the version of the
/// key after it has changed the mirror. So an answer under the current version reflects the change.
pub(crate) struct Mirror {
    tables: Tables<RwLock<Shard>>,
    /// Whether there was ever a rule. Most lists have none, and then skip the lock of the rules.
    has_rules: AtomicBool,
    uses: OwnUses,
    /// The number of writes through this list.
    writes: AtomicU64,
    /// When the last call began that returned everything, in milliseconds of the clock's uptime,
    /// plus one. 0 means that the mirror is not valid.
    began: AtomicU64,
    phase: watch::Sender<Phase>,
    pub(crate) wake: Notify,
    pub(crate) capacity: u64,
    pub(crate) reloads: AtomicU64,
    pub(crate) written_back: AtomicU64,
    /// How often the contents were dropped.
    drops: AtomicU64,
    /// Breaks the mirror for a test: a page undoes writes that were made after it was read. The
    /// scheduler must detect it.
    #[cfg(test)]
    pub(crate) forgets_own: bool,
}

/// A key and its kind. Rules and tokens are kept in separate tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) digest: KeyDigest,
    pub(crate) is_rule: bool,
}

impl Key {
    pub(crate) fn of(key: &RevocationKey) -> Self {
        Self {
            digest: key.digest(),
            is_rule: key.is_rule(),
        }
    }
}

/// The state of the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No task follows the feed.
    Idle,
    /// It is being loaded for the first time.
    Loading,
    /// It was loaded, and a task follows the feed.
    Following,
    /// The store has lost entries, and the mirror is being written back.
    WritingBack,
    /// More is listed than the mirror may hold, so it was dropped.
    Full,
    /// As `Full`, but it is being loaded again, in case less is listed by now.
    Refilling,
}

impl Mirror {
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            tables: Tables::new(RwLock::default),
            has_rules: AtomicBool::new(false),
            uses: OwnUses::default(),
            writes: AtomicU64::new(0),
            began: AtomicU64::new(0),
            phase: watch::Sender::new(Phase::Idle),
            wake: Notify::new(),
            capacity,
            reloads: AtomicU64::new(0),
            written_back: AtomicU64::new(0),
            drops: AtomicU64::new(0),
            #[cfg(test)]
            forgets_own: false,
        }
    }

    /// Returns the age of the mirror. `None` if it is not valid.
    pub(crate) fn age(&self, uptime: Duration) -> Option<Duration> {
        let began = self.began.load(Ordering::Acquire).checked_sub(1)?;
        Some(uptime.saturating_sub(Duration::from_millis(began)))
    }

    /// Returns the status of the token. `None` if only the store knows it, or if the mirror was
    /// invalidated in the meantime.
    pub(crate) fn known_status(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        let status = self.status_by(token, |shard, key| match shard.look(key) {
            Look::Nothing => Ok(None),
            Look::Listed(listed) => Ok(Some(listed)),
            Look::Ask => Err(()),
        });
        // `began` is reset before a table is emptied. If it is still set, every table that was read
        // above was complete.
        (self.began.load(Ordering::Acquire) > 0).then_some(status?)
    }

    /// Returns the status for which the token was last rejected, whatever its age.
    pub(crate) fn rejection(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        let status = self.status_by(token, |shard, key| Ok(shard.listed(key)))?;
        (status != TokenStatus::Valid).then_some(status)
    }

    /// Returns how a key is listed, of a token or a rule, as far as this list knows.
    pub(crate) fn listed(&self, key: &KeyDigest) -> Option<Listed> {
        let token = read(self.tables.token(key)).listed(key);
        let has_rules = self.has_rules.load(Ordering::Acquire);
        let rule = || read(&self.tables.rules).listed(key);
        token.or_else(|| has_rules.then(rule).flatten())
    }

    fn status_by(
        &self,
        token: &VerifiedToken,
        look: impl Fn(&Shard, &KeyDigest) -> Result<Option<Listed>, ()>,
    ) -> Option<TokenStatus> {
        let (own, rules) = token.keys().split_first()?;
        let mut status = Some(TokenStatus::Valid);
        let mut take = |found: Result<Option<Listed>, ()>| match (found, status) {
            (_, Some(TokenStatus::Revoked)) | (Ok(None), _) => {}
            (Ok(Some(listed)), known) => {
                let worst = or_worse(token, known.unwrap_or(TokenStatus::Valid), listed);
                // `Revoked` is final, whatever the other keys have. Any milder status is uncertain
                // if one of the keys has to be looked up.
                if known.is_some() || worst == TokenStatus::Revoked {
                    status = Some(worst);
                }
            }
            (Err(()), _) => status = None,
        };
        // Of a further key it is not known whether it is a token's or a rule's.
        for key in [own].into_iter().chain(further_keys(token)) {
            take(look(&read(self.tables.token(key)), key));
        }
        if self.has_rules.load(Ordering::Acquire) {
            let table = read(&self.tables.rules);
            for key in rules {
                take(look(&table, key));
            }
        }
        status
    }

    /// Applies a write through this list, after it is durable in the store.
    pub(crate) fn write(&self, key: Key, write: Write) {
        if matches!(self.phase(), Phase::Idle | Phase::Full) {
            return;
        }
        let Key { digest, is_rule } = key;
        let table = if is_rule {
            self.has_rules.store(true, Ordering::Release);
            &self.tables.rules
        } else {
            self.tables.token(&digest)
        };
        let mut shard = table.write().unwrap_or_else(PoisonError::into_inner);
        // The write is already durable, and gets its number under the lock. So a call of the feed
        // that begins when the counter is past this number contains the write.
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        shard.write(&digest, write, number);
        drop(shard);
        if matches!(write, Write::Lifts(_) | Write::Frees | Write::Unknown) {
            // The token is looked up in the store until the feed contains the write, so read the
            // feed at once.
            self.wake.notify_one();
        }
    }

    /// Returns the number that the next write will get.
    pub(crate) fn next_write(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// Applies changes of the feed. Calls `changed` for each key, with whether it is a rule's.
    pub(crate) fn follow(&self, changes: &[Change], mut changed: impl FnMut(&KeyDigest, bool)) {
        for change in changes {
            let key = change.key();
            let is_rule = is_rule(change) || {
                let has_rules = self.has_rules.load(Ordering::Acquire);
                has_rules && read(&self.tables.rules).knows(key)
            };
            if is_rule {
                self.has_rules.store(true, Ordering::Release);
            }
            let table = if is_rule {
                &self.tables.rules
            } else {
                self.tables.token(key)
            };
            let mut shard = write(table);
            #[cfg(test)]
            if self.forgets_own {
                shard.forget_own();
            }
            shard.follow(change);
            drop(shard);
            changed(key, is_rule);
        }
    }

    /// Settles the writes before the write `number`, see [`Shard::settle`].
    pub(crate) fn settle(
        &self,
        number: u64,
        complete: bool,
        mut changed: impl FnMut(&KeyDigest, bool),
    ) -> Lost {
        let mut lost = Lost::default();
        for table in &self.tables.tokens {
            write(table).settle(number, complete, &mut lost, |key| changed(key, false));
        }
        if self.has_rules.load(Ordering::Acquire) {
            let mut rules = write(&self.tables.rules);
            rules.settle(number, complete, &mut lost, |key| changed(key, true));
        }
        lost
    }

    /// Replaces the tables by freshly loaded ones, which contain all writes before the write
    /// `number`.
    pub(crate) fn replace(&self, fresh: Tables<Shard>, number: u64) {
        let Tables { tokens, rules } = fresh;
        let replace = |table: &RwLock<Shard>, mut fresh: Shard| {
            let mut shard = write(table);
            fresh.replace(&mut shard, number);
            *shard = fresh;
        };
        if rules.len() > 0 {
            self.has_rules.store(true, Ordering::Release);
        }
        for (table, fresh) in self.tables.tokens.iter().zip(tokens) {
            replace(table, fresh);
        }
        replace(&self.tables.rules, rules);
    }

    /// Marks the mirror as complete up to a call of the feed that began at an uptime.
    pub(crate) fn caught_up(&self, began: Duration) {
        let millis = u64::try_from(began.as_millis()).unwrap_or(u64::MAX - 1);
        self.began.store(millis + 1, Ordering::Release);
        self.enter(Phase::Following);
    }

    /// Invalidates the mirror when its follower ends. Another one may follow.
    pub(crate) fn stop(&self) {
        self.enter(Phase::Idle);
        self.began.store(0, Ordering::SeqCst);
        for table in self.all() {
            write(table).forget_own();
        }
    }

    /// Drops the contents of a mirror that is too large.
    pub(crate) fn overflow(&self) {
        self.enter(Phase::Full);
        self.clear();
    }

    /// Drops the contents. The mirror has to be loaded again.
    pub(crate) fn clear(&self) {
        self.began.store(0, Ordering::SeqCst);
        self.drops.fetch_add(1, Ordering::SeqCst);
        for table in self.all() {
            *write(table) = Shard::default();
        }
        self.uses.clear();
    }

    /// Drops what expired before a time from one table. Returns `false` past the last table.
    pub(crate) fn forget(&self, table: usize, before: UnixTime) -> bool {
        if table == 0 {
            self.uses.forget(before);
        }
        let found = self.all().nth(table);
        if let Some(table) = found {
            write(table).forget(before);
        }
        found.is_some()
    }

    /// Returns how often the contents were dropped. What was read before and after a drop is not a
    /// whole mirror.
    pub(crate) fn drops(&self) -> u64 {
        self.drops.load(Ordering::SeqCst)
    }

    /// Takes over the contents of a snapshot. They reject tokens while the store can't answer, but
    /// make the mirror neither complete nor young.
    pub(crate) fn take_over(&self, tables: Tables<Shard>, uses: &[Use]) {
        self.replace(tables, 0);
        for use_ in uses {
            self.uses.keep(use_);
        }
    }

    /// Drops the uses of a snapshot: what the store has forgotten of them and what was returned
    /// can't be told apart any more.
    pub(crate) fn forget_uses(&self) {
        self.uses.clear();
    }

    /// Returns the changes that lead to the state of one table, and whether it is that of the rules.
    /// `None` past the last table.
    pub(crate) fn saved(&self, table: usize) -> Option<(bool, Vec<Change>)> {
        let is_rule = table == self.tables.tokens.len();
        let changes = read(self.all().nth(table)?).changes();
        Some((is_rule, changes))
    }

    /// Returns the entries of one table to write back. `None` past the last table.
    ///
    /// It leaves out what has expired, and used-up tokens whose uses are written back under their own
    /// ids instead.
    pub(crate) fn known(&self, table: usize, now: UnixTime) -> Option<Vec<Change>> {
        let shard = read(self.all().nth(table)?);
        let mut known = shard.changes();
        drop(shard);
        known.retain(|change| match change {
            Change::UsedUp { key, .. } if self.uses.hold_all_of(key) => false,
            change => is_alive(change, now),
        });
        Some(known)
    }

    /// Returns the revocations and lifts of one table that freshly loaded ones don't contain.
    /// `None` past the last table.
    pub(crate) fn missing_from(
        &self,
        loaded: &Tables<Shard>,
        table: usize,
        now: UnixTime,
    ) -> Option<Vec<Change>> {
        let (shard, loaded) = self.all().zip(loaded.all()).nth(table)?;
        let mut missing = read(shard).missing_from(loaded);
        missing.retain(|change| is_alive(change, now));
        Some(missing)
    }

    /// Returns the uses that were taken through this list, except those of tokens that freshly
    /// loaded tables list.
    pub(crate) fn uses_missing_from(&self, loaded: &Tables<Shard>, now: UnixTime) -> Vec<Use> {
        let mut uses = self.uses.all();
        uses.retain(|use_| {
            let key = KeyDigest::of_token(use_.token);
            loaded.token(&key).listed(&key).is_none() && !retention::has_ended(use_.until, now)
        });
        uses
    }

    pub(crate) fn keep_use(&self, use_: &Use) {
        if !matches!(self.phase(), Phase::Idle | Phase::Full) {
            self.uses.keep(use_);
        }
    }

    pub(crate) fn drop_use(&self, use_: &Use) {
        self.uses.drop(use_);
    }

    /// Returns the uses that were taken through this list: all of them, or those of one token.
    pub(crate) fn uses(&self, of: Option<&KeyDigest>) -> Vec<Use> {
        match of {
            Some(key) => self.uses.of(key.as_token()),
            None => self.uses.all(),
        }
    }

    pub(crate) fn entries(&self) -> u64 {
        let keys: usize = self.all().map(|table| read(table).len()).sum();
        (keys + self.uses.len()) as u64
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let changes = *now != phase;
            *now = phase;
            changes
        });
    }

    /// Waits until the mirror is neither being loaded for the first time nor written back.
    pub(crate) async fn settled(&self) {
        let busy = |phase: &Phase| matches!(phase, Phase::Loading | Phase::WritingBack);
        let mut phase = self.phase.subscribe();
        // It fails only if the sender is dropped, and `self` owns the sender.
        let _ = phase.wait_for(|phase| !busy(phase)).await;
    }

    fn all(&self) -> impl Iterator<Item = &RwLock<Shard>> {
        self.tables.all()
    }
}

/// Returns whether a change is worth writing back: not for entries that have expired.
pub(crate) fn is_alive(change: &Change, now: UnixTime) -> bool {
    match change {
        Change::Listed { listed, .. } => !retention::has_ended(listed.until(), now),
        Change::UsedUp { until, .. } | Change::Lifted { until, .. } => {
            !retention::has_ended(*until, now)
        }
        _ => false,
    }
}

/// Locks a table, ignoring poison. Nothing is expected to panic under a lock, and if it did,
/// revocations must still be enforced.
fn read(table: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    table.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(table: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    table.write().unwrap_or_else(PoisonError::into_inner)
}
