//! What revocations, lifts and uses make of each other: one pure state of a key, which every store
//! in Rust reads, changes here, and writes back.
//!
//! Each operation returns the change to publish, if anything has changed for those who follow.

use std::num::NonZeroU32;

use crate::{
    Change, KeyDigest, Lift, Listed, Revocation, RevocationKey, StoreError, UnixTime, Use,
    UseOutcome, retention,
};

/// What is kept under one key besides the uses of a token, which are another thing: neither ends
/// the other.
///
/// A revocation that stands is never older than the last lift.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyState {
    /// The revocation or rule that stands.
    pub revoked: Option<Revoked>,
    /// The last lift.
    pub lifted: Option<Lifted>,
}

/// A revocation or a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// How the key is listed.
    pub listed: Listed,
    /// When it was said.
    pub at: UnixTime,
    /// `None` where nothing is known. Boxed, since most tokens have none.
    pub details: Option<Box<Details>>,
}

/// The last lift, remembered for as long as the longest that was ever lifted there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    /// When it was said.
    pub at: UnixTime,
    /// Until when it is remembered; `None`: for ever.
    pub until: Option<UnixTime>,
    /// `None` where nothing is known.
    pub details: Option<Box<Details>>,
}

/// Who said something, why, and about which rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The key of a rule; a token's is its digest.
    pub rule: Option<RevocationKey>,
    /// Who said it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Details {
    /// Keeps what says something.
    pub fn kept(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

impl From<&Revocation> for Revoked {
    fn from(revocation: &Revocation) -> Self {
        let key = revocation.key();
        let details = Details {
            rule: key.is_rule().then(|| key.clone()),
            by: revocation.said_by().to_owned(),
            reason: revocation.reason().to_owned(),
        };
        Self {
            listed: revocation.into(),
            at: revocation.said_at().unwrap_or(UnixTime::EPOCH),
            details: details.kept(),
        }
    }
}

impl KeyState {
    /// Adds a revocation. It is newer than any lift, whatever the clocks said.
    pub fn revoke(&mut self, key: KeyDigest, mut new: Revoked) -> Option<Change> {
        new.at = new.at.max(self.lifted_at());
        self.list(key, new)
    }

    /// Ends the revocation that stands; `None` if there is none.
    pub fn lift(&mut self, lift: &Lift) -> Option<Change> {
        let details = Details {
            rule: None,
            by: lift.by.clone(),
            reason: lift.reason.clone(),
        };
        self.lift_at(lift.key.digest(), lift.at, details.kept())
    }

    /// As [`lift`](Self::lift), where only the digest of the key is at hand.
    pub fn lift_at(
        &mut self,
        key: KeyDigest,
        at: UnixTime,
        details: Option<Box<Details>>,
    ) -> Option<Change> {
        let revoked = self.revoked.take()?;
        // Newer than what it lifts, whatever the clocks said.
        let at = at.max(UnixTime::from_secs(revoked.at.as_secs().saturating_add(1)));
        let until = revoked.listed.until();
        self.remember(Lifted { at, until, details });
        Some(Change::Lifted { key, at, until })
    }

    /// Takes back what somebody has seen of the key before.
    pub fn restore(&mut self, known: &Change) -> Option<Change> {
        match *known {
            Change::Listed { key, listed, at } => {
                let listed = match listed {
                    Listed::Spent { until } => Listed::Revoked { until },
                    other => other,
                };
                let new = Revoked {
                    listed,
                    at,
                    details: None,
                };
                (at >= self.lifted_at()).then(|| self.list(key, new))?
            }
            Change::Lifted { key, at, until } => {
                self.remember(Lifted {
                    at,
                    until,
                    details: None,
                });
                let ended = self.revoked.take_if(|revoked| revoked.at < at);
                ended.map(|_| Change::Lifted { key, at, until })
            }
            _ => None,
        }
    }

    /// Adds a revocation that no lift has ended; never shortens the one that is there.
    pub fn list(&mut self, key: KeyDigest, new: Revoked) -> Option<Change> {
        let before = self.revoked.as_ref().map(|old| (old.listed, old.at));
        let revoked = match self.revoked.take() {
            None => new,
            Some(old) => Revoked {
                listed: old.listed.longer(new.listed),
                at: old.at.max(new.at),
                details: new.details.or(old.details),
            },
        };
        let (listed, at) = (revoked.listed, revoked.at);
        self.revoked = Some(revoked);
        (before != Some((listed, at))).then_some(Change::Listed { key, listed, at })
    }

    /// Remembers the newer time, for the longer time.
    pub fn remember(&mut self, new: Lifted) {
        self.lifted = Some(match self.lifted.take() {
            None => new,
            Some(old) => Lifted {
                at: old.at.max(new.at),
                until: later_end(old.until, new.until),
                details: new.details.or(old.details),
            },
        });
    }

    /// Forgets what ended before a time.
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

/// How many of a token's uses are taken. By which ids, the store knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UseCount {
    /// How many uses there are in all.
    pub limit: NonZeroU32,
    /// How many of them are taken.
    pub taken: u32,
    /// Until when they are kept; `None`: for ever.
    pub until: Option<UnixTime>,
}

/// What has come of a use that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenUse {
    /// The answer.
    pub outcome: UseOutcome,
    /// The count as it is now.
    pub count: UseCount,
    /// Whether the id of the use has to be added to those that hold one.
    pub is_new: bool,
    /// The change to publish.
    pub change: Option<Change>,
}

impl UseCount {
    /// Takes one use of a token; `old`: what is known of its uses; `is_held`: whether this use's id
    /// holds one already.
    ///
    /// # Errors
    /// [`StoreError::LimitMismatch`].
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
            change: spent.map(|listed| Change::Listed {
                key: KeyDigest::of_token(use_.token),
                listed,
                at: UnixTime::EPOCH,
            }),
        })
    }

    /// Returns a use that is taken. The limit stays known.
    pub fn give_back(&mut self, key: KeyDigest) -> Option<Change> {
        let was_spent = self.left() == 0;
        self.taken = self.taken.saturating_sub(1);
        was_spent.then_some(Change::Returned { key })
    }

    /// How many uses are left.
    pub fn left(&self) -> u32 {
        self.limit.get().saturating_sub(self.taken)
    }

    /// How the token is listed for its uses.
    pub fn spent(&self) -> Option<Listed> {
        (self.left() == 0).then_some(Listed::Spent { until: self.until })
    }
}

/// Whether a use comes too late. The wall clock may have been set back since uses were forgotten:
/// they must not be won a second time.
///
/// # Errors
/// [`StoreError::Expired`].
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

/// The later of two ends; `None` never ends.
pub fn later_end(one: Option<UnixTime>, other: Option<UnixTime>) -> Option<UnixTime> {
    Some(one?.max(other?))
}

#[cfg(test)]
mod tests;
