//! What is known about one key, and what a change makes of it.

use tower_revoke_core::{Change, KeyDigest, Listed, UnixTime};

/// A key's revocation or rule, the end of its uses, and its last lift: each stands by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) said: Option<Said>,
    /// Until when a spent token is remembered.
    pub(super) spent: Option<Option<UnixTime>>,
    pub(super) lifted: Option<Lifted>,
}

/// A revocation or a rule, and when it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) listed: Listed,
    pub(super) at: UnixTime,
}

/// The last lift, remembered for as long as the longest that was ever lifted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifted {
    pub(super) at: UnixTime,
    pub(super) until: Option<UnixTime>,
}

impl State {
    /// How the key looks from outside: a revocation hides the uses.
    pub(super) fn listed(&self) -> Option<Listed> {
        let spent = || self.spent.map(|until| Listed::Spent { until });
        self.said.map(|said| said.listed).or_else(spent)
    }

    /// Takes in the next change of the key. A change that comes twice changes nothing in the end,
    /// and on the way it rather rejects than lets through.
    pub(super) fn apply(&mut self, change: &Change) {
        match *change {
            Change::Listed {
                listed: Listed::Spent { until },
                ..
            } => {
                let known = self.spent.unwrap_or(until);
                self.spent = Some(later(known, until));
            }
            Change::Listed { listed, at, .. } => self.say(Said { listed, at }),
            Change::Lifted { at, until, .. } => {
                // A lift is newer than what it lifts: this one is older, and comes again.
                if self.said.is_some_and(|said| said.at >= at) {
                    return;
                }
                self.said = None;
                // The newest counts, for as long as the longest that was ever lifted.
                let last = self.lifted.unwrap_or(Lifted { at, until });
                self.lifted = Some(Lifted {
                    at: last.at.max(at),
                    until: later(last.until, until),
                });
            }
            Change::Returned { .. } => self.spent = None,
            // Whatever else may happen to a key is not for this version to act on.
            _ => {}
        }
    }

    fn say(&mut self, new: Said) {
        let Some(said) = &mut self.said else {
            self.said = Some(new);
            return;
        };
        let is_over = |lifted: Lifted| new.at < lifted.at && said.at >= lifted.at;
        if self.lifted.is_some_and(is_over) {
            return;
        }
        said.listed = said.listed.longer(new.listed);
        said.at = said.at.max(new.at);
    }

    /// Forgets what ended before a time.
    pub(super) fn forget(&mut self, before: UnixTime) {
        let past = |until: Option<UnixTime>| until.is_some_and(|until| until < before);
        self.said.take_if(|said| past(said.listed.until()));
        self.spent.take_if(|until| past(*until));
        self.lifted.take_if(|lifted| past(lifted.until));
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a store that has forgotten the key must be told.
    pub(super) fn changes(&self, key: KeyDigest) -> impl Iterator<Item = Change> + use<> {
        let lifted = self
            .lifted
            .map(|Lifted { at, until }| Change::Lifted { key, at, until });
        let said = self.said.map(|said| (said.listed, said.at));
        // Lifting gives no use back: what is spent was not said before the lift.
        let at = self.lifted.map_or(UnixTime::EPOCH, |lifted| lifted.at);
        let spent = self.spent.map(|until| (Listed::Spent { until }, at));
        let listed = move |(listed, at)| Change::Listed { key, listed, at };
        let listings = said.into_iter().chain(spent).map(listed);
        lifted.into_iter().chain(listings)
    }
}

/// The later of two ends; `None` never ends.
fn later(one: Option<UnixTime>, other: Option<UnixTime>) -> Option<UnixTime> {
    Some(one?.max(other?))
}
