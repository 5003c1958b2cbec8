//! The record of one key in the memory store.

use std::num::NonZeroU32;

use tower_revoke_core::{
    Change, KeyDigest, Lift, LiftRecord, Listed, Revocation, RevocationKey, RevocationRecord,
    StoreError, UnixTime, Use, UseId, UseOutcome,
    internal::merge::{self, KeyState, UseCount},
    retention,
};

use super::ledger::Entries;

/// A revocation or a rule, its last lift, and the uses that were taken.
///
/// A record belongs to a token or to a rule, since the digests of the two never collide.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    state: KeyState,
    uses: Option<Box<Uses>>,
}

#[derive(Clone, Debug)]
struct Uses {
    limit: NonZeroU32,
    until: Option<UnixTime>,
    /// Sorted.
    held: Vec<UseId>,
}

impl Record {
    /// Returns how the key is listed.
    pub(super) fn listed(&self) -> Option<Listed> {
        let revoked = self.state.revoked.as_ref();
        merge::listed(revoked.map(|revoked| revoked.listed), self.spent())
    }

    fn spent(&self) -> Option<Listed> {
        self.uses.as_ref()?.count().spent()
    }

    /// Returns the changes that bring a follower without any state up to date.
    pub(super) fn changes(&self, key: KeyDigest) -> impl Iterator<Item = Change> + use<> {
        let revoked = self.state.revoked.as_ref();
        let revoked = revoked.map(|revoked| Change::Listed {
            key,
            listed: revoked.listed,
            at: revoked.at,
        });
        let used_up = self.spent().map(|spent| Change::UsedUp {
            key,
            until: spent.until(),
        });
        revoked.into_iter().chain(used_up)
    }

    /// The revocation, with its author and reason.
    pub(super) fn details(&self, digest: KeyDigest) -> Option<RevocationRecord> {
        let revoked = self.state.revoked.as_ref()?;
        let details = revoked.details.as_deref().cloned().unwrap_or_default();
        let key = match revoked.listed {
            Listed::Rule { .. } => details.rule,
            _ => Some(RevocationKey::Token(digest.as_token())),
        };
        Some(RevocationRecord {
            digest,
            key,
            listed: revoked.listed,
            at: revoked.at,
            by: details.by,
            reason: details.reason,
        })
    }

    /// The last lift, with its author and reason.
    pub(super) fn last_lift(&self) -> Option<LiftRecord> {
        self.state.lifted.clone().map(Into::into)
    }

    /// Returns the entries it counts as: one for a revocation or rule, and one for each taken use.
    pub(super) fn weight(&self) -> Entries {
        Entries {
            revocations: u64::from(self.state.revoked.is_some()),
            uses: self.uses.as_ref().map_or(0, |uses| uses.weight()),
            issued_tokens: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state == KeyState::default() && self.uses.is_none()
    }

    pub(super) fn revoke(&mut self, revocation: &Revocation) -> Option<Change> {
        let key = revocation.key().digest();
        self.state.revoke(key, revocation.into())
    }

    pub(super) fn lift(&mut self, lift: &Lift) -> Option<Change> {
        self.state.lift(lift)
    }

    pub(super) fn restore(&mut self, known: &Change) -> Option<Change> {
        self.state.restore(known)
    }

    /// Takes one use. The caller has checked that it has not expired.
    pub(super) fn take_use(
        &mut self,
        use_: &Use,
    ) -> Result<(UseOutcome, Option<Change>), StoreError> {
        let uses = self.uses.as_deref();
        let place = uses.map_or(Err(0), |uses| uses.held.binary_search(&use_.id));
        let taken = UseCount::take(uses.map(Uses::count), use_, place.is_ok())?;
        let uses = self.uses.get_or_insert_with(|| {
            Box::new(Uses {
                limit: use_.limit,
                until: use_.until,
                held: Vec::with_capacity(1),
            })
        });
        uses.until = taken.count.until;
        if let Err(place) = place
            && taken.is_new
        {
            uses.held.insert(place, use_.id);
        }
        Ok((taken.outcome, taken.change))
    }

    /// Returns the use. `None` if its id holds none.
    pub(super) fn return_use(&mut self, use_: &Use) -> Option<Option<Change>> {
        let uses = self.uses.as_mut()?;
        let place = uses.held.binary_search(&use_.id).ok()?;
        let change = uses.count().give_back(KeyDigest::of_token(use_.token));
        uses.held.remove(place);
        Some(change)
    }

    /// Drops what expired before a time.
    pub(super) fn purge(&mut self, before: UnixTime) {
        self.state.purge(before);
        self.uses
            .take_if(|uses| retention::ended_before(uses.until, before));
    }
}

impl Uses {
    fn count(&self) -> UseCount {
        UseCount {
            limit: self.limit,
            taken: u32::try_from(self.held.len()).unwrap_or(u32::MAX),
            until: self.until,
        }
    }

    /// At least one: even if all uses are returned, the limit is kept.
    fn weight(&self) -> u64 {
        (self.held.len() as u64).max(1)
    }
}
