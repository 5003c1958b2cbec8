//! Compares the states with a reference model: the unmerged history of all operations.

use proptest::prelude::*;

use super::*;
use crate::{TokenId, UseId};

const TOKEN: TokenId = TokenId::from_bytes([1; 16]);

#[derive(Clone, Copy, Debug)]
enum Op {
    Revoke(Entry),
    Lift { at: u64 },
    RestoreListed(Entry),
    RestoreUsedUp { until: Option<u64> },
    RestoreLifted { at: u64, until: Option<u64> },
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u64,
    until: Option<u64>,
    is_spent: bool,
}

impl Entry {
    fn listed(self) -> Listed {
        let until = self.until.map(time);
        match self.is_spent {
            true => Listed::Spent { until },
            false => Listed::Revoked { until },
        }
    }
}

/// All operations, with their effective times; nothing is merged.
#[derive(Default)]
struct History {
    revocations: Vec<Entry>,
    lifts: Vec<(u64, Option<u64>)>,
}

impl History {
    fn last_lift(&self) -> u64 {
        self.lifts.iter().map(|(at, _)| *at).max().unwrap_or(0)
    }

    /// Returns the revocation in effect.
    fn in_effect(&self) -> Option<Entry> {
        Some(Entry {
            at: self.revocations.iter().map(|one| one.at).max()?,
            until: longest(self.revocations.iter().map(|one| one.until)),
            is_spent: self.revocations.iter().all(|one| one.is_spent),
        })
    }

    fn revoke(&mut self, new: Entry) {
        let at = new.at.max(self.last_lift());
        self.revocations.push(Entry { at, ..new });
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Revoke(new) => self.revoke(new),
            Op::RestoreListed(new) if new.at >= self.last_lift() => self.revocations.push(new),
            // Lifted already, by a lift that is kept as long as this would have been.
            Op::RestoreListed(new) => self.lifts.push((self.last_lift(), new.until)),
            Op::RestoreUsedUp { until } => self.revoke(Entry {
                at: 0,
                until,
                is_spent: true,
            }),
            Op::Lift { at } => {
                if let Some(ended) = self.in_effect() {
                    self.lifts.push((at.max(ended.at + 1), ended.until));
                    self.revocations.clear();
                }
            }
            Op::RestoreLifted { at, until } => {
                self.lifts.push((at, until));
                if let Some(ended) = self.in_effect().filter(|revoked| revoked.at < at) {
                    self.lifts.push((at, ended.until));
                    self.revocations.clear();
                }
            }
        }
    }
}

fn longest(untils: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    untils
        .map(|until| until.unwrap_or(u64::MAX))
        .max()
        .filter(|until| *until != u64::MAX)
}

fn time(secs: u64) -> UnixTime {
    UnixTime::from_secs(secs)
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let until = || prop::option::of(50..55_u64);
    let revocation = || {
        (0..8_u64, until(), any::<bool>()).prop_map(|(at, until, is_spent)| Entry {
            at,
            until,
            is_spent,
        })
    };
    let op = prop_oneof![
        revocation().prop_map(Op::Revoke),
        (0..8_u64).prop_map(|at| Op::Lift { at }),
        revocation().prop_map(Op::RestoreListed),
        until().prop_map(|until| Op::RestoreUsedUp { until }),
        (0..8_u64, until()).prop_map(|(at, until)| Op::RestoreLifted { at, until }),
    ];
    prop::collection::vec(op, 0..12)
}

fn apply(state: &mut KeyState, op: Op) -> Option<Change> {
    let key = KeyDigest::of_token(TOKEN);
    match op {
        Op::Revoke(new) => {
            let one = match new.is_spent {
                true => Revocation::of_spent_token(TOKEN, None),
                false => Revocation::of_token(TOKEN, None),
            };
            let one = one.retained(new.until.map(time)).at(time(new.at));
            state.revoke(key, (&one).into())
        }
        Op::Lift { at } => state.lift(&Lift::new(TOKEN).at(time(at)).by("ann")),
        Op::RestoreListed(new) => state.restore(&Change::Listed {
            key,
            listed: new.listed(),
            at: time(new.at),
        }),
        Op::RestoreUsedUp { until } => state.restore(&Change::UsedUp {
            key,
            until: until.map(time),
        }),
        Op::RestoreLifted { at, until } => state.restore(&Change::Lifted {
            key,
            at: time(at),
            until: until.map(time),
        }),
    }
}

proptest! {
    /// The state equals the result of the history. A change is published exactly when a follower's
    /// view has to change, and it contains the new view.
    #[test]
    fn a_state_equals_the_result_of_its_history(ops in ops()) {
        let (mut state, mut history) = (KeyState::default(), History::default());
        for op in ops {
            let before = state.revoked.clone();
            let change = apply(&mut state, op);
            history.apply(op);
            let revoked = state.revoked.as_ref().map(|revoked| (revoked.listed, revoked.at));
            let expected = history.in_effect().map(|one| (one.listed(), time(one.at)));
            prop_assert_eq!(revoked, expected, "{:?}", op);
            if let Some(lifted) = &state.lifted {
                prop_assert_eq!(lifted.at, time(history.last_lift()));
                let until = longest(history.lifts.iter().map(|(_, until)| *until));
                prop_assert_eq!(lifted.until, until.map(time));
            } else {
                prop_assert!(history.lifts.is_empty());
            }
            match change {
                None => prop_assert_eq!(&before, &state.revoked),
                Some(Change::Listed { listed, at, .. }) => {
                    let now = state.revoked.as_ref();
                    prop_assert_eq!(now.map(|now| (now.listed, now.at)), Some((listed, at)));
                    prop_assert_ne!(&before, &state.revoked);
                }
                Some(Change::Lifted { at, .. }) => {
                    prop_assert!(before.is_some_and(|before| before.at < at));
                    prop_assert!(state.revoked.is_none());
                }
                Some(other) => prop_assert!(false, "{:?}", other),
            }
        }
    }

    /// Of any sequence of uses at most the limit is taken, each under its own id, and the change of
    /// the last one is published.
    #[test]
    fn uses_are_counted_by_their_ids(
        limit in 1..4_u32,
        ops in prop::collection::vec((0..6_u8, any::<bool>()), 0..20),
    ) {
        let key = KeyDigest::of_token(TOKEN);
        let limit = NonZeroU32::new(limit).unwrap();
        let (mut count, mut held) = (None::<UseCount>, Vec::new());
        for (id, takes) in ops {
            let is_held = held.contains(&id);
            let was_spent = held.len() as u32 == limit.get();
            if !takes {
                let Some(count) = count.as_mut().filter(|_| is_held) else { continue };
                held.retain(|other| *other != id);
                let change = count.give_back(key);
                prop_assert_eq!(change, was_spent.then_some(Change::Returned { key }));
                continue;
            }
            let use_ = Use::new(TOKEN, UseId::from_bytes([id; 16]), limit, None);
            let taken = UseCount::take(count, &use_, is_held).unwrap();
            prop_assert_eq!(taken.is_new, !is_held && !was_spent);
            if taken.is_new {
                held.push(id);
            }
            let left = limit.get() - held.len() as u32;
            let wins = is_held || !was_spent;
            let outcome = if wins { UseOutcome::Taken { left } } else { UseOutcome::Spent };
            prop_assert_eq!(taken.outcome, outcome);
            prop_assert_eq!(taken.change.is_some(), taken.is_new && left == 0);
            prop_assert_eq!(taken.count.taken, held.len() as u32);
            count = Some(taken.count);
            let other = Use::new(TOKEN, use_.id, limit.saturating_add(1), None);
            let is_mismatch = matches!(
                UseCount::take(count, &other, is_held),
                Err(StoreError::LimitMismatch { stored, .. }) if stored == limit.get()
            );
            prop_assert!(is_mismatch);
        }
    }
}

#[test]
fn empty_details_keep_the_existing_ones() {
    let key = KeyDigest::of_token(TOKEN);
    let mut state = KeyState::default();
    let revocation = |by: &str| {
        let one = Revocation::of_token(TOKEN, None);
        one.at(time(1)).by(by)
    };
    state.revoke(key, (&revocation("ann")).into());
    state.revoke(key, (&revocation("")).into());
    let by = |details: &Option<Box<Details>>| details.as_ref().map(|details| details.by.clone());
    assert_eq!(
        by(&state.revoked.as_ref().unwrap().details).as_deref(),
        Some("ann")
    );
    let lift = Lift::new(TOKEN).at(time(5)).by("bob");
    state.lift(&lift);
    let nothing = state.lift(&lift.by("eve"));
    assert_eq!(nothing, None, "nothing is revoked");
    for (restored_at, expected) in [(4, Some("bob")), (5, Some("bob")), (9, None)] {
        state.restore(&Change::Lifted {
            key,
            at: time(restored_at),
            until: None,
        });
        let lifted = state.lifted.as_ref().unwrap();
        assert_eq!(by(&lifted.details).as_deref(), expected, "at {restored_at}");
    }
}

#[test]
fn a_spent_revocation_leaves_the_author_of_the_other_kind_alone() {
    let key = KeyDigest::of_token(TOKEN);
    let revoked = Revocation::of_token(TOKEN, None).by("ann");
    let spent = Revocation::of_spent_token(TOKEN, None).by("spender");
    for order in [[&revoked, &spent], [&spent, &revoked]] {
        let mut state = KeyState::default();
        for one in order {
            state.revoke(key, one.into());
        }
        let kept = state.revoked.unwrap();
        assert_eq!(kept.listed, Listed::Revoked { until: None });
        assert_eq!(kept.details.unwrap().by, "ann");
    }
}

#[test]
fn a_listing_covers_the_revocation_and_the_uses() {
    let (early, late) = (Some(time(5)), None);
    let used_up = Some(Listed::Spent { until: late });
    for (revoked, expected) in [
        (None, used_up),
        (Some(Listed::Spent { until: early }), used_up),
        (
            Some(Listed::Revoked { until: early }),
            Some(Listed::Revoked { until: late }),
        ),
    ] {
        assert_eq!(listed(revoked, used_up), expected);
        assert_eq!(listed(revoked, None), revoked);
    }
}

#[test]
fn of_two_lifts_of_one_time_the_details_are_kept_whichever_comes_first() {
    let lifted = |by: &str| {
        let by = by.to_owned();
        let details = Details {
            by,
            ..Details::default()
        };
        Lifted {
            at: time(5),
            until: None,
            details: details.kept(),
        }
    };
    for order in [["ann", ""], ["", "ann"]] {
        let mut state = KeyState::default();
        for by in order {
            state.remember(lifted(by));
        }
        assert_eq!(state.lifted, Some(lifted("ann")));
    }
}

#[test]
fn a_restored_lift_is_kept_as_long_as_the_revocations_that_it_ends() {
    let key = KeyDigest::of_token(TOKEN);
    let revoked = |at, until| Change::Listed {
        key,
        listed: Listed::Revoked {
            until: Some(time(until)),
        },
        at: time(at),
    };
    let lifted = Change::Lifted {
        key,
        at: time(5),
        until: Some(time(50)),
    };
    // The longer revocation comes before the lift, and after it.
    for known in [[revoked(1, 90), lifted], [lifted, revoked(1, 90)]] {
        let mut state = KeyState::default();
        for known in &known {
            state.restore(known);
        }
        state.purge(time(80));
        assert_eq!(state.restore(&revoked(1, 90)), None);
        assert_eq!(state.revoked, None);
        state.purge(time(91));
        assert_eq!(state, KeyState::default());
    }
}
