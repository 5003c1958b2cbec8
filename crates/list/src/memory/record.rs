//! What is kept under one key, and how it grows and ends.

use std::num::NonZeroU32;

use tower_revoke_core::{Claim, ClaimId, ClaimOutcome, Listed, Revocation, StoreError, UnixTime};

/// A revocation or a rule, and the uses that were claimed. Never both a token's and a rule's: the
/// keys of the two can't meet.
#[derive(Debug, Default)]
pub(super) struct Record {
    revoked: Option<Listed>,
    uses: Option<Box<Uses>>,
}

#[derive(Debug)]
struct Uses {
    limit: NonZeroU32,
    until: Option<UnixTime>,
    /// Sorted.
    held: Vec<ClaimId>,
}

impl Record {
    /// How the key looks from outside: a revocation hides the uses.
    pub(super) fn listed(&self) -> Option<Listed> {
        self.revoked.or_else(|| self.uses.as_ref()?.spent())
    }

    /// How many entries it counts for: a revocation or rule, and every claimed use.
    pub(super) fn weight(&self) -> u64 {
        let uses = self.uses.as_ref().map_or(0, |uses| uses.weight());
        u64::from(self.revoked.is_some()) + uses
    }

    pub(super) fn is_empty(&self) -> bool {
        self.revoked.is_none() && self.uses.is_none()
    }

    /// Adds a revocation; never shortens the one that is there.
    pub(super) fn revoke(
        &mut self,
        revocation: &Revocation,
        room: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.revoked.is_none() {
            room()?;
        }
        let until = revocation.remembered_until();
        self.revoked = Some(
            match (self.revoked.as_ref(), revocation.issued_at_or_before()) {
                (
                    Some(Listed::Rule {
                        issued_at_or_before: before,
                        until: old,
                    }),
                    Some(time),
                ) => Listed::Rule {
                    issued_at_or_before: time.max(*before),
                    until: longer(*old, until),
                },
                (Some(Listed::Revoked { until: old }), None) => Listed::Revoked {
                    until: longer(*old, until),
                },
                (_, Some(issued_at_or_before)) => Listed::Rule {
                    issued_at_or_before,
                    until,
                },
                (_, None) => Listed::Revoked { until },
            },
        );
        Ok(())
    }

    /// Ends the revocation; claimed uses stay.
    pub(super) fn lift(&mut self) -> bool {
        self.revoked.take().is_some()
    }

    /// Takes one use; the caller has seen that the life is not past.
    pub(super) fn claim(
        &mut self,
        claim: &Claim,
        room: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<ClaimOutcome, StoreError> {
        let Some(uses) = &mut self.uses else {
            room()?;
            let uses = Uses {
                limit: claim.limit,
                until: claim.until,
                held: vec![claim.id],
            };
            let left = uses.left();
            self.uses = Some(Box::new(uses));
            return Ok(ClaimOutcome::Won { left });
        };
        if uses.limit != claim.limit {
            return Err(StoreError::OtherLimit {
                stored: uses.limit.get(),
                asked: claim.limit.get(),
            });
        }
        if let Err(place) = uses.held.binary_search(&claim.id) {
            if uses.left() == 0 {
                return Ok(ClaimOutcome::Spent);
            }
            if !uses.held.is_empty() {
                room()?;
            }
            uses.held.insert(place, claim.id);
        }
        uses.until = longer(uses.until, claim.until);
        Ok(ClaimOutcome::Won { left: uses.left() })
    }

    /// Gives back the use that `id` holds. The limit stays known.
    pub(super) fn release(&mut self, id: ClaimId) -> bool {
        let Some(uses) = &mut self.uses else {
            return false;
        };
        let place = uses.held.binary_search(&id);
        if let Ok(place) = place {
            uses.held.remove(place);
        }
        place.is_ok()
    }

    /// Forgets what ended before a time.
    pub(super) fn purge(&mut self, before: UnixTime) {
        let past = |until: Option<UnixTime>| until.is_some_and(|until| until < before);
        self.revoked.take_if(|revoked| past(until_of(revoked)));
        self.uses.take_if(|uses| past(uses.until));
    }
}

impl Uses {
    fn left(&self) -> u32 {
        let held = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        self.limit.get().saturating_sub(held)
    }

    /// Uses that were all given back still remember their limit: they count for one.
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

fn until_of(listed: &Listed) -> Option<UnixTime> {
    match listed {
        Listed::Revoked { until } | Listed::Spent { until } | Listed::Rule { until, .. } => *until,
        // A kind that is not known here is kept for ever.
        _ => None,
    }
}
