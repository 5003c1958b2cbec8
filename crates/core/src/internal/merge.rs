//! The rules by which revocations, lifts and uses of one key are merged.
//!
//! A store reads the state of a key, applies an operation of this module to it, and writes it back.
//! Each operation returns the change to publish in the feed, or `None` if followers see no
//! difference.
//!
//! The embedded store keeps these types, [`Listed`] and [`Change`] as serde writes them: the order of
//! their fields and variants is part of its format.

use std::{cmp::Ordering, num::NonZeroU32};

use serde::{Deserialize, Serialize};

use crate::{
    Change, KeyDigest, Lift, LiftRecord, Listed, Revocation, RevocationKey, StoreError, UnixTime,
    Use, UseOutcome, retention,
};

/// The revocation and the last lift of one key.
///
/// The uses of a token are independent of it and are kept apart, see [`UseCount`]. A revocation in
/// this state is never older than the last lift.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyState {
    /// The revocation or rule in effect.
    pub revoked: Option<Revoked>,
    /// The last lift.
    pub lifted: Option<Lifted>,
}

/// A revocation or a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// How the key is listed.
    pub listed: Listed,
    /// When it was made.
    pub at: UnixTime,
    /// `None` if nothing is known. Boxed, since most revocations of tokens have none.
    pub details: Option<Box<Details>>,
}

/// The last lift of a key, kept as long as any of the revocations that were lifted would have been,
/// including those that were written back after it: otherwise they could be written back again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted {
    /// When it was made.
    pub at: UnixTime,
    /// Until when it is kept. `None` means for ever.
    pub until: Option<UnixTime>,
    /// `None` if nothing is known.
    pub details: Option<Box<Details>>,
}

/// The author and reason of a revocation or lift, and the key of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The key of a rule. That of a token follows from its digest.
    pub rule: Option<RevocationKey>,
    /// The person or program.
    pub by: String,
    /// The reason.
    pub reason: String,
}

impl Details {
    /// Boxes the details. Returns `None` if they are empty.
    pub fn kept(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

impl From<&Revocation> for Revoked {
    fn from(revocation: &Revocation) -> Self {
        let key = revocation.key();
        let details = Details {
            rule: key.is_rule().then(|| key.clone()),
            by: revocation.author().to_owned(),
            reason: revocation.reason().to_owned(),
        };
        Self {
            listed: revocation.into(),
            at: revocation.time().unwrap_or(UnixTime::EPOCH),
            details: details.kept(),
        }
    }
}

impl From<Lifted> for LiftRecord {
    fn from(lifted: Lifted) -> Self {
        let details = lifted.details.map(|details| *details).unwrap_or_default();
        Self {
            at: lifted.at,
            by: details.by,
            reason: details.reason,
            until: lifted.until,
        }
    }
}

impl KeyState {
    /// Adds a revocation.
    ///
    /// Its time is raised to that of the last lift if a clock ran behind: a revocation that is made
    /// after a lift must not count as lifted.
    pub fn revoke(&mut self, key: KeyDigest, mut new: Revoked) -> Option<Change> {
        new.at = new.at.max(self.lifted_at());
        self.list(key, new)
    }

    /// Ends the revocation in effect. Returns `None` if there was none.
    pub fn lift(&mut self, lift: &Lift) -> Option<Change> {
        let details = Details {
            rule: None,
            by: lift.author().to_owned(),
            reason: lift.reason().to_owned(),
        };
        let at = lift.time().unwrap_or(UnixTime::EPOCH);
        self.lift_at(lift.key().digest(), at, details.kept())
    }

    /// As [`lift`](Self::lift), with only the digest of the key.
    pub fn lift_at(
        &mut self,
        key: KeyDigest,
        at: UnixTime,
        details: Option<Box<Details>>,
    ) -> Option<Change> {
        let revoked = self.revoked.take()?;
        // Later than the revocation even if a clock ran behind, so that restoring both in any order
        // leaves the key lifted.
        let at = at.max(UnixTime::from_secs(revoked.at.as_secs().saturating_add(1)));
        let until = revoked.listed.until();
        self.remember(Lifted { at, until, details });
        Some(Change::Lifted { key, at, until })
    }

    /// Merges a change that a node writes back, see
    /// [`ChangeFeed::restore`](crate::ChangeFeed::restore).
    pub fn restore(&mut self, known: &Change) -> Option<Change> {
        match *known {
            Change::Listed { key, listed, at } => {
                let new = Revoked {
                    listed,
                    at,
                    details: None,
                };
                if at >= self.lifted_at() {
                    return self.list(key, new);
                }
                if let Some(lifted) = &mut self.lifted {
                    lifted.until = later_end(lifted.until, listed.until());
                }
                None
            }
            // The store has lost uses, which no lift returns: so this counts as later than any lift.
            Change::UsedUp { key, until } => {
                let new = Revoked {
                    listed: Listed::Spent { until },
                    at: UnixTime::EPOCH,
                    details: None,
                };
                self.revoke(key, new)
            }
            Change::Lifted { key, at, until } => {
                let ended = self.revoked.take_if(|revoked| revoked.at < at);
                let until = match &ended {
                    Some(ended) => later_end(until, ended.listed.until()),
                    None => until,
                };
                self.remember(Lifted {
                    at,
                    until,
                    details: None,
                });
                ended.map(|_| Change::Lifted { key, at, until })
            }
            _ => None,
        }
    }

    /// Adds a revocation that no lift has ended. Never shortens the one in effect.
    pub fn list(&mut self, key: KeyDigest, new: Revoked) -> Option<Change> {
        let before = self.revoked.as_ref().map(|old| (old.listed, old.at));
        let revoked = match self.revoked.take() {
            None => new,
            Some(old) => {
                let listed = old.listed.longer(new.listed);
                // A token that is revoked and then spent keeps the author and reason of the
                // revocation.
                let is_weaker = listed.is_spent() != new.listed.is_spent();
                let details = match is_weaker {
                    true => old.details,
                    false => new.details.or(old.details),
                };
                Revoked {
                    listed,
                    at: old.at.max(new.at),
                    details,
                }
            }
        };
        let (listed, at) = (revoked.listed, revoked.at);
        self.revoked = Some(revoked);
        (before != Some((listed, at))).then_some(Change::Listed { key, listed, at })
    }

    /// Records a lift. The later `at` with its details, and the later `until` are kept. Of two lifts of
    /// one time, one may have been written back, without details.
    pub fn remember(&mut self, new: Lifted) {
        self.lifted = Some(match self.lifted.take() {
            None => new,
            Some(old) => Lifted {
                at: old.at.max(new.at),
                until: later_end(old.until, new.until),
                details: match new.at.cmp(&old.at) {
                    Ordering::Greater => new.details,
                    Ordering::Equal => old.details.or(new.details),
                    Ordering::Less => old.details,
                },
            },
        });
    }

    /// Drops what expired before a time.
    pub fn purge(&mut self, before: UnixTime) {
        self.revoked
            .take_if(|revoked| retention::ended_before(revoked.listed.until(), before));
        self.lifted
            .take_if(|lifted| retention::ended_before(lifted.until, before));
    }

    fn lifted_at(&self) -> UnixTime {
        let lifted = self.lifted.as_ref();
        lifted.map_or(UnixTime::EPOCH, |lifted| lifted.at)
    }
}

/// How many of a token's uses are taken. The store keeps their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseCount {
    /// How many uses there are in all.
    pub limit: NonZeroU32,
    /// How many of them are taken.
    pub taken: u32,
    /// Until when they are kept. `None` means for ever.
    pub until: Option<UnixTime>,
}

/// The result of [`UseCount::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenUse {
    /// The outcome to return.
    pub outcome: UseOutcome,
    /// The new count.
    pub count: UseCount,
    /// Whether the id of the use has to be added to the ids that hold one.
    pub is_new: bool,
    /// The change to publish.
    pub change: Option<Change>,
}

impl UseCount {
    /// Takes one use of a token.
    ///
    /// `old` is the stored count, if any. `is_held` says whether this use's id already holds a use.
    ///
    /// # Errors
    /// [`StoreError::LimitMismatch`] if the uses were counted with another limit.
    pub fn take(old: Option<Self>, use_: &Use, is_held: bool) -> Result<TakenUse, StoreError> {
        let none = Self {
            limit: use_.limit,
            taken: 0,
            until: use_.until,
        };
        let mut count = old.unwrap_or(none);
        if count.limit != use_.limit {
            return Err(StoreError::LimitMismatch {
                stored: count.limit.get(),
                asked: use_.limit.get(),
            });
        }
        if !is_held && count.left() == 0 {
            return Ok(TakenUse {
                outcome: UseOutcome::Spent,
                count,
                is_new: false,
                change: None,
            });
        }
        count.until = later_end(count.until, use_.until);
        count.taken += u32::from(!is_held);
        let was_spent = old.and_then(|old| old.spent());
        let spent = count.spent().filter(|spent| Some(*spent) != was_spent);
        Ok(TakenUse {
            outcome: UseOutcome::Taken { left: count.left() },
            count,
            is_new: !is_held,
            change: spent.map(|listed| Change::UsedUp {
                key: KeyDigest::of_token(use_.token),
                until: listed.until(),
            }),
        })
    }

    /// Returns a use that is taken. The limit is kept.
    pub fn give_back(&mut self, key: KeyDigest) -> Option<Change> {
        let was_spent = self.left() == 0;
        self.taken = self.taken.saturating_sub(1);
        was_spent.then_some(Change::Returned { key })
    }

    /// Returns how many uses are left.
    pub fn left(&self) -> u32 {
        self.limit.get().saturating_sub(self.taken)
    }

    /// Returns the listing of the token if all its uses are taken.
    pub fn spent(&self) -> Option<Listed> {
        (self.left() == 0).then_some(Listed::Spent { until: self.until })
    }
}

/// Checks that a use is not too late to be taken.
///
/// The wall clock may have been set back since a purge. Uses that were purged must not be taken a
/// second time, so `purged_before` counts too.
///
/// # Errors
/// [`StoreError::Expired`] if the use has expired, or may have been purged.
pub fn check_use(
    use_: &Use,
    now: UnixTime,
    purged_before: Option<UnixTime>,
) -> Result<(), StoreError> {
    let is_forgotten = purged_before.is_some_and(|time| retention::ended_before(use_.until, time));
    match is_forgotten || retention::has_ended(use_.until, now) {
        true => Err(StoreError::Expired),
        false => Ok(()),
    }
}

/// Returns how a key is listed, given its revocation and the listing of its used-up uses.
pub fn listed(revoked: Option<Listed>, used_up: Option<Listed>) -> Option<Listed> {
    match (revoked, used_up) {
        (Some(revoked), Some(used_up)) => Some(revoked.longer(used_up)),
        (one, other) => one.or(other),
    }
}

/// Returns the later of two expiry times. `None` means for ever.
pub fn later_end(one: Option<UnixTime>, other: Option<UnixTime>) -> Option<UnixTime> {
    Some(one?.max(other?))
}

#[cfg(test)]
mod tests;
