//! All that a store lists, in memory: then a miss is an answer.

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
    Change, KeyDigest, Listed, RevocationKey, TokenStatus, UnixTime, Use, VerifiedToken, retention,
};

use self::{
    shard::{Look, Shard},
    tables::is_rule,
    uses::OwnUses,
};
pub(crate) use self::{
    shard::{Lost, Write},
    tables::Tables,
};
use crate::judge::worse;

/// How many changes are taken in before others have their turn.
pub(crate) const AT_ONCE: usize = 4_096;

/// What the feed of a store has told, and what was written through this list since.
///
/// It counts while it is young: while the last call of the feed that told everything *began* less
/// than `max_staleness` ago. Whoever reads it takes the token's version first; whoever changes it
/// moves the version of the key afterwards.
pub(crate) struct Mirror {
    tables: Tables<RwLock<Shard>>,
    /// Whether any rule was ever heard of: most lists have none, and then no lock is taken.
    has_rules: AtomicBool,
    uses: OwnUses,
    /// How many writes there were through this list.
    writes: AtomicU64,
    /// When the last call began that told everything, in milliseconds of the clock's uptime, plus
    /// one; 0: this mirror does not count.
    began: AtomicU64,
    phase: watch::Sender<Phase>,
    pub(crate) wake: Notify,
    pub(crate) limit: u64,
    pub(crate) reloads: AtomicU64,
    pub(crate) written_back: AtomicU64,
    /// A page undoes what was written after it was read, which the scheduler must find out.
    #[cfg(test)]
    pub(crate) forgets_own: bool,
}

/// A key, and which kind: rules and tokens are kept apart.
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

/// What the mirror is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody follows the feed.
    Idle,
    /// It was never loaded, so far.
    Loading,
    /// It was loaded, and follows.
    Following,
    /// The store has forgotten what is known here, and must be told.
    WritingBack,
    /// There is none, and there won't be one.
    Off,
}

impl Mirror {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            tables: Tables::new(RwLock::default),
            has_rules: AtomicBool::new(false),
            uses: OwnUses::default(),
            writes: AtomicU64::new(0),
            began: AtomicU64::new(0),
            phase: watch::Sender::new(Phase::Idle),
            wake: Notify::new(),
            limit,
            reloads: AtomicU64::new(0),
            written_back: AtomicU64::new(0),
            #[cfg(test)]
            forgets_own: false,
        }
    }

    /// How old its answers are; `None`: it has none to give.
    pub(crate) fn age(&self, uptime: Duration) -> Option<Duration> {
        let began = self.began.load(Ordering::Acquire).checked_sub(1)?;
        Some(uptime.saturating_sub(Duration::from_millis(began)))
    }

    /// How the token stands; `None` if only the store knows, or the mirror was given up just now.
    pub(crate) fn known_status(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        let status = self.judge(token, |shard, key| match shard.look(key) {
            Look::Nothing => Ok(None),
            Look::Listed(listed) => Ok(Some(listed)),
            Look::Ask => Err(()),
        });
        // Given up before a table was emptied: what was read until now was whole.
        (self.began.load(Ordering::Acquire) > 0).then_some(status?)
    }

    /// How the token was rejected last, whatever the age of that.
    pub(crate) fn rejection(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        let status = self.judge(token, |shard, key| Ok(shard.listed(key)))?;
        (status != TokenStatus::Valid).then_some(status)
    }

    fn judge(
        &self,
        token: &VerifiedToken,
        look: impl Fn(&Shard, &KeyDigest) -> Result<Option<Listed>, ()>,
    ) -> Option<TokenStatus> {
        let (own, rules) = token.keys().split_first()?;
        let mut status = Some(TokenStatus::Valid);
        let mut take = |found: Result<Option<Listed>, ()>| match (found, status) {
            (_, Some(TokenStatus::Revoked)) | (Ok(None), _) => {}
            (Ok(Some(listed)), known) => {
                let worst = worse(token, known.unwrap_or(TokenStatus::Valid), listed);
                // Nothing is worse; else what must be asked stays open.
                if known.is_some() || worst == TokenStatus::Revoked {
                    status = Some(worst);
                }
            }
            (Err(()), _) => status = None,
        };
        take(look(&read(self.tables.token(own)), own));
        if self.has_rules.load(Ordering::Acquire) {
            let table = read(&self.tables.rules);
            for key in rules {
                take(look(&table, key));
            }
        }
        status
    }

    /// Takes in a write through this list, which is durable.
    pub(crate) fn write(&self, key: Key, write: Write) {
        if matches!(self.phase(), Phase::Idle | Phase::Off) {
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
        // Numbered under the lock, after the write: a call that begins at a higher number tells
        // of it.
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        shard.write(&digest, write, number);
        drop(shard);
        if matches!(write, Write::Lifts(_) | Write::Frees | Write::Unknown) {
            // Until the feed tells of it, the store must be asked.
            self.wake.notify_one();
        }
    }

    /// The number that the next write will have.
    pub(crate) fn next_write(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// Takes in what the feed says; `changed` is told each key, and whether it is a rule's.
    pub(crate) fn follow(&self, changes: &[Change], changed: impl Fn(&KeyDigest, bool)) {
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

    /// Ends what was written before the write `number`, see [`Shard::settle`].
    pub(crate) fn settle(
        &self,
        number: u64,
        complete: bool,
        changed: impl Fn(&KeyDigest, bool),
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

    /// Puts freshly loaded tables into the place of these; they tell of all writes before the
    /// write `number`.
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

    /// It has told everything that was written before a call which began then.
    pub(crate) fn caught_up(&self, began: Duration) {
        let millis = u64::try_from(began.as_millis()).unwrap_or(u64::MAX - 1);
        self.began.store(millis + 1, Ordering::Release);
        self.enter(Phase::Following);
    }

    /// Nobody follows any more.
    pub(crate) fn stop(&self) {
        if self.phase() != Phase::Off {
            self.enter(Phase::Idle);
        }
        self.began.store(0, Ordering::SeqCst);
        for table in self.all() {
            write(table).forget_own();
        }
    }

    /// Nobody will follow.
    pub(crate) fn give_up(&self) {
        self.enter(Phase::Off);
        self.began.store(0, Ordering::SeqCst);
        for table in self.all() {
            *write(table) = Shard::default();
        }
        self.uses.clear();
    }

    /// Forgets what ended before a time, in the table of this number; `false` after the last.
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

    /// What the table of this number knows, but for what uses tell; `None` after the last.
    pub(crate) fn known(&self, table: usize, now: UnixTime) -> Option<Vec<Change>> {
        let shard = read(self.all().nth(table)?);
        let mut known = shard.changes();
        drop(shard);
        known.retain(|change| match change {
            Change::Listed { listed, .. } if retention::has_ended(listed.until(), now) => false,
            Change::Listed {
                key,
                listed: Listed::Spent { .. },
                ..
            } => !self.uses.hold_all_of(key),
            Change::Listed { .. } => true,
            Change::Lifted { until, .. } => !retention::has_ended(*until, now),
            _ => false,
        });
        Some(known)
    }

    pub(crate) fn keep_use(&self, use_: &Use) {
        if !matches!(self.phase(), Phase::Idle | Phase::Off) {
            self.uses.keep(use_);
        }
    }

    pub(crate) fn drop_use(&self, use_: &Use) {
        self.uses.drop(use_);
    }

    /// The uses that were won here: all of them, or those of one token.
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
            let changes = *now != phase && *now != Phase::Off;
            if changes {
                *now = phase;
            }
            changes
        });
    }

    /// Waits until nothing is on its way that a node must wait for.
    pub(crate) async fn settled(&self) {
        let busy = |phase: &Phase| matches!(phase, Phase::Loading | Phase::WritingBack);
        let mut phase = self.phase.subscribe();
        // The sender lives in `self`: this can't fail.
        let _ = phase.wait_for(|phase| !busy(phase)).await;
    }

    fn all(&self) -> impl Iterator<Item = &RwLock<Shard>> {
        self.tables.all()
    }
}

/// Nothing here panics while it holds a lock; if that is ever wrong, what is known must still be
/// told.
fn read(table: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    table.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(table: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    table.write().unwrap_or_else(PoisonError::into_inner)
}
