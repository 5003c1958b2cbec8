//! What is kept under one key, and how it grows and ends.

use std::num::NonZeroU32;

use tower_revoke_core::{
    Change, KeyDigest, Lift, Listed, Record as Details, Revocation, RevocationKey, StoreError,
    UnixTime, Use, UseId, UseOutcome,
};

/// A revocation or a rule, how it was lifted, and the uses that were claimed. Never both a token's
/// and a rule's: the keys of the two can't meet.
#[derive(Debug, Default)]
pub(super) struct Record {
    revoked: Option<Revoked>,
    lifted: Option<Lifted>,
    uses: Option<Box<Uses>>,
}

#[derive(Debug)]
struct Revoked {
    listed: Listed,
    at: UnixTime,
    /// `None` where nothing was said about a token.
    said: Option<Box<Said>>,
}

#[derive(Debug, Default)]
struct Said {
    /// Of a rule; a token's key is its digest.
    rule: Option<RevocationKey>,
    by: String,
    reason: String,
}

/// The last lift, remembered for as long as the longest that was ever lifted here.
#[derive(Clone, Copy, Debug)]
struct Lifted {
    at: UnixTime,
    until: Option<UnixTime>,
}

#[derive(Debug)]
struct Uses {
    limit: NonZeroU32,
    until: Option<UnixTime>,
    /// Sorted.
    held: Vec<UseId>,
}

impl Record {
    /// How the key looks from outside: a revocation hides the uses.
    pub(super) fn listed(&self) -> Option<Listed> {
        self.revoked().or_else(|| self.spent())
    }

    fn revoked(&self) -> Option<Listed> {
        Some(self.revoked.as_ref()?.listed)
    }

    fn spent(&self) -> Option<Listed> {
        self.uses.as_ref()?.spent()
    }

    /// What somebody who knows nothing yet must be told.
    pub(super) fn changes(&self, key: KeyDigest) -> impl Iterator<Item = Change> + use<> {
        let revoked = (self.revoked.as_ref()).map(|revoked| (revoked.listed, revoked.at));
        let spent = self.spent().map(|spent| (spent, UnixTime::EPOCH));
        let listed = move |(listed, at)| Change::Listed { key, listed, at };
        revoked.into_iter().chain(spent).map(listed)
    }

    /// The revocation, with all that was said about it.
    pub(super) fn details(&self, digest: KeyDigest) -> Option<Details> {
        let revoked = self.revoked.as_ref()?;
        let said = revoked.said.as_deref();
        let token = || Some(RevocationKey::Token(digest.as_token()));
        Some(Details {
            digest,
            key: match revoked.listed {
                Listed::Rule { .. } => said.and_then(|said| said.rule.clone()),
                _ => token(),
            },
            listed: revoked.listed,
            at: revoked.at,
            by: said.map_or_else(String::new, |said| said.by.clone()),
            reason: said.map_or_else(String::new, |said| said.reason.clone()),
        })
    }

    /// How many entries it counts for: a revocation or rule, and every claimed use.
    pub(super) fn weight(&self) -> u64 {
        let uses = self.uses.as_ref().map_or(0, |uses| uses.weight());
        u64::from(self.revoked.is_some()) + uses
    }

    pub(super) fn is_empty(&self) -> bool {
        self.revoked.is_none() && self.lifted.is_none() && self.uses.is_none()
    }

    /// Adds a revocation; never shortens the one that is there.
    pub(super) fn revoke(
        &mut self,
        revocation: &Revocation,
        room: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<Option<Change>, StoreError> {
        let at = revocation.said_at().unwrap_or(UnixTime::EPOCH);
        // It is newer than any lift, whatever the clocks said.
        let at = self.lifted.map_or(at, |lifted| at.max(lifted.at));
        let key = revocation.key();
        let said = Said {
            rule: key.is_rule().then(|| key.clone()),
            by: revocation.said_by().to_owned(),
            reason: revocation.reason().to_owned(),
        };
        self.list(key.digest(), revocation.into(), at, said, room)
    }

    fn list(
        &mut self,
        key: KeyDigest,
        listed: Listed,
        at: UnixTime,
        said: Said,
        room: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<Option<Change>, StoreError> {
        let said = (!said.is_empty()).then(|| Box::new(said));
        let Some(revoked) = &mut self.revoked else {
            room()?;
            self.revoked = Some(Revoked { listed, at, said });
            return Ok(Some(Change::Listed { key, listed, at }));
        };
        let longer = revoked.listed.longer(listed);
        let is_new = longer != revoked.listed || at > revoked.at;
        revoked.listed = longer;
        revoked.at = revoked.at.max(at);
        if said.is_some() {
            revoked.said = said;
        }
        Ok(is_new.then_some(Change::Listed {
            key,
            listed: longer,
            at: revoked.at,
        }))
    }

    /// Ends the revocation; taken uses stay.
    pub(super) fn lift(&mut self, lift: &Lift) -> Option<Change> {
        let revoked = self.revoked.take()?;
        let after = UnixTime::from_secs(revoked.at.as_secs().saturating_add(1));
        Some(self.lifted(
            lift.key.digest(),
            lift.at.max(after),
            revoked.listed.until(),
        ))
    }

    /// The caller has seen that it is newer than the last one.
    fn lifted(&mut self, key: KeyDigest, at: UnixTime, until: Option<UnixTime>) -> Change {
        let kept = self.lifted.map_or(until, |last| longer(last.until, until));
        self.lifted = Some(Lifted { at, until: kept });
        Change::Lifted { key, at, until }
    }

    /// Takes back what somebody has seen here before.
    pub(super) fn restore(
        &mut self,
        known: &Change,
        room: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<Option<Change>, StoreError> {
        match *known {
            Change::Listed { key, listed, at } => {
                if self.lifted.is_some_and(|lifted| at < lifted.at) {
                    return Ok(None);
                }
                let listed = match listed {
                    Listed::Spent { until } => Listed::Revoked { until },
                    other => other,
                };
                self.list(key, listed, at, Said::default(), room)
            }
            Change::Lifted { key, at, until } => {
                let is_older = |time: UnixTime| time < at;
                if let Some(last) = &mut self.lifted
                    && !is_older(last.at)
                {
                    last.until = longer(last.until, until);
                    return Ok(None);
                }
                let had = self.revoked.take_if(|revoked| is_older(revoked.at));
                let change = self.lifted(key, at, until);
                Ok(had.map(|_| change))
            }
            _ => Ok(None),
        }
    }

    /// Takes one use; the caller has seen that the life is not past.
    pub(super) fn take_use(
        &mut self,
        use_: &Use,
        room: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(UseOutcome, Option<Change>), StoreError> {
        let before = self.spent();
        let outcome = self.take_one(use_, room)?;
        let after = self.spent();
        let change = after.filter(|_| after != before);
        let change = change.map(|listed| Change::Listed {
            key: KeyDigest::of_token(use_.token),
            listed,
            at: UnixTime::EPOCH,
        });
        Ok((outcome, change))
    }

    fn take_one(
        &mut self,
        use_: &Use,
        room: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<UseOutcome, StoreError> {
        let Some(uses) = &mut self.uses else {
            room()?;
            let uses = Uses {
                limit: use_.limit,
                until: use_.until,
                held: vec![use_.id],
            };
            let left = uses.left();
            self.uses = Some(Box::new(uses));
            return Ok(UseOutcome::Taken { left });
        };
        if uses.limit != use_.limit {
            return Err(StoreError::LimitMismatch {
                stored: uses.limit.get(),
                asked: use_.limit.get(),
            });
        }
        if let Err(place) = uses.held.binary_search(&use_.id) {
            if uses.left() == 0 {
                return Ok(UseOutcome::Spent);
            }
            if !uses.held.is_empty() {
                room()?;
            }
            uses.held.insert(place, use_.id);
        }
        uses.until = longer(uses.until, use_.until);
        Ok(UseOutcome::Taken { left: uses.left() })
    }

    /// Returns the use that this id has taken; `None` if it has taken none. The limit stays known.
    pub(super) fn return_use(&mut self, use_: &Use) -> Option<Option<Change>> {
        let uses = self.uses.as_mut()?;
        let place = uses.held.binary_search(&use_.id).ok()?;
        let was_spent = uses.left() == 0;
        uses.held.remove(place);
        let key = KeyDigest::of_token(use_.token);
        Some(was_spent.then_some(Change::Returned { key }))
    }

    /// Forgets what ended before a time.
    pub(super) fn purge(&mut self, before: UnixTime) {
        let past = |until: Option<UnixTime>| until.is_some_and(|until| until < before);
        self.revoked.take_if(|revoked| past(revoked.listed.until()));
        self.lifted.take_if(|lifted| past(lifted.until));
        self.uses.take_if(|uses| past(uses.until));
    }
}

impl Said {
    fn is_empty(&self) -> bool {
        self.rule.is_none() && self.by.is_empty() && self.reason.is_empty()
    }
}

impl Uses {
    fn left(&self) -> u32 {
        let held = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        self.limit.get().saturating_sub(held)
    }

    /// Uses that were all returned still remember their limit: they count for one.
    fn weight(&self) -> u64 {
        (self.held.len() as u64).max(1)
    }

    fn spent(&self) -> Option<Listed> {
        (self.left() == 0).then_some(Listed::Spent { until: self.until })
    }
}

/// The later of two ends; `None` never ends.
fn longer(one: Option<UnixTime>, other: Option<UnixTime>) -> Option<UnixTime> {
    Some(one?.max(other?))
}
