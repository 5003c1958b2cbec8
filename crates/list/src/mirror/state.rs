//! The state of one key in the mirror, and how a change affects it.

use tower_revoke_core::{
    Change, KeyDigest, Listed, UnixTime,
    internal::merge::{self, later_end},
    retention,
};

/// The revocation or rule of a key, whether its uses are used up, and its last lift. The three are
/// independent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) revoked: Option<Revoked>,
    /// Until when the uses are kept, if all are taken.
    pub(super) used_up: Option<Option<UnixTime>>,
    pub(super) lifted: Option<Lifted>,
}

/// A revocation or a rule, and when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Revoked {
    pub(super) listed: Listed,
    pub(super) at: UnixTime,
}

/// The last lift, kept as long as any of the revocations that were lifted would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifted {
    pub(super) at: UnixTime,
    pub(super) until: Option<UnixTime>,
}

impl State {
    /// Returns how the key is listed.
    pub(super) fn listed(&self) -> Option<Listed> {
        let used_up = self.used_up.map(|until| Listed::Spent { until });
        merge::listed(self.revoked.map(|revoked| revoked.listed), used_up)
    }

    /// Applies the next change of the key.
    ///
    /// A feed may deliver a sequence of changes twice. The final state is then the same, and the
    /// intermediate states err on the side of rejecting.
    pub(super) fn apply(&mut self, change: &Change) {
        match *change {
            Change::Listed { listed, at, .. } => self.revoke(Revoked { listed, at }),
            Change::UsedUp { until, .. } => {
                let known = self.used_up.unwrap_or(until);
                self.used_up = Some(later_end(known, until));
            }
            Change::Lifted { at, until, .. } => {
                // A lift is later than the revocation that it ends. So this lift is an old change
                // that is delivered again, and the revocation was made after it.
                if self.revoked.is_some_and(|revoked| revoked.at >= at) {
                    return;
                }
                let ended = self.revoked.take();
                // A lift that another node wrote back may have ended a longer revocation.
                let until = ended.map_or(until, |ended| later_end(until, ended.listed.until()));
                let last = self.lifted.unwrap_or(Lifted { at, until });
                self.lifted = Some(Lifted {
                    at: last.at.max(at),
                    until: later_end(last.until, until),
                });
            }
            Change::Returned { .. } => self.used_up = None,
            // A kind of change that this version doesn't know.
            _ => {}
        }
    }

    fn revoke(&mut self, new: Revoked) {
        let Some(revoked) = &mut self.revoked else {
            self.revoked = Some(new);
            return;
        };
        let is_over = |lifted: Lifted| new.at < lifted.at && revoked.at >= lifted.at;
        if self.lifted.is_some_and(is_over) {
            return;
        }
        revoked.listed = revoked.listed.longer(new.listed);
        revoked.at = revoked.at.max(new.at);
    }

    /// Drops what expired before a time.
    pub(super) fn forget(&mut self, before: UnixTime) {
        let past = |until| retention::ended_before(until, before);
        self.revoked.take_if(|revoked| past(revoked.listed.until()));
        self.used_up.take_if(|until| past(*until));
        self.lifted.take_if(|lifted| past(lifted.until));
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the changes to write back to a store that has lost the key.
    pub(super) fn changes(&self, key: KeyDigest) -> impl Iterator<Item = Change> + use<> {
        let lifted = self
            .lifted
            .map(|Lifted { at, until }| Change::Lifted { key, at, until });
        let revoked = self
            .revoked
            .map(|Revoked { listed, at }| Change::Listed { key, listed, at });
        // After the lift: a store restores it as a revocation that is made then.
        let used_up = self.used_up.map(|until| Change::UsedUp { key, until });
        lifted.into_iter().chain(revoked).chain(used_up)
    }
}
