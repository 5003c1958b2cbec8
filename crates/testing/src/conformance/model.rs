//! A reference model of the contract, and random sequences of operations to compare a store with.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use proptest::{
    prelude::{Strategy, any, prop},
    prop_oneof,
    strategy::ValueTree,
    test_runner::TestRunner,
};
use tower_revoke_core::{
    Change, KeyDigest, Listed, Revocation, RevocationKey, StoreError, UnixTime, Use, UseOutcome,
};

use super::{
    Ability, Fixture,
    follower::Follower,
    world::{Node, World, lacks, lift, rule, subject, token, worked},
};

const CASES: u64 = 32;

/// Keys 0 and 1 are tokens with one and two uses; key 2 is that of a rule. There are so few of them
/// so that operations often meet at one key.
const TOKENS: u64 = 2;
const KEYS: u64 = 3;

#[derive(Clone, Debug)]
enum Op {
    Revoke {
        key: u64,
        at: u64,
        until: Option<u64>,
        is_spent: bool,
    },
    Lift {
        key: u64,
        at: u64,
    },
    RestoreListed {
        key: u64,
        at: u64,
        until: Option<u64>,
        is_spent: bool,
    },
    RestoreUsedUp {
        key: u64,
        until: Option<u64>,
    },
    RestoreLifted {
        key: u64,
        at: u64,
    },
    Use {
        key: u64,
        id: u64,
        other_limit: bool,
    },
    Release {
        key: u64,
        id: u64,
    },
    Follow,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let until = || prop::option::weighted(0.8, 0..4_u64);
    let op = prop_oneof![
        4 => (0..KEYS, 0..6_u64, until(), any::<bool>())
            .prop_map(|(key, at, until, is_spent)| Op::Revoke { key, at, until, is_spent }),
        3 => (0..KEYS, 0..6_u64).prop_map(|(key, at)| Op::Lift { key, at }),
        2 => (0..KEYS, 0..9_u64, until(), any::<bool>())
            .prop_map(|(key, at, until, is_spent)| Op::RestoreListed { key, at, until, is_spent }),
        1 => (0..TOKENS, until()).prop_map(|(key, until)| Op::RestoreUsedUp { key, until }),
        2 => (0..KEYS, 0..9_u64).prop_map(|(key, at)| Op::RestoreLifted { key, at }),
        5 => (0..TOKENS, 0..4_u64, any::<u8>())
            .prop_map(|(key, id, other)| Op::Use { key, id, other_limit: other < 16 }),
        3 => (0..TOKENS, 0..4_u64).prop_map(|(key, id)| Op::Release { key, id }),
        1 => prop::strategy::Just(Op::Follow),
    ];
    prop::collection::vec(op, 0..40)
}

/// The model's state of one key.
#[derive(Default)]
struct Stands {
    revoked: Option<(Listed, UnixTime)>,
    lifted: Option<UnixTime>,
    limit: Option<u32>,
    held: BTreeSet<u64>,
}

impl Stands {
    fn list(&mut self, listed: Listed, at: UnixTime) {
        self.revoked = Some(match self.revoked {
            Some((before, said)) => (before.longer(listed), said.max(at)),
            None => (listed, at),
        });
    }

    fn listed(&self, end: UnixTime) -> Option<Listed> {
        let is_used_up = self.limit == u32::try_from(self.held.len()).ok() && !self.held.is_empty();
        let used_up = is_used_up.then_some(Listed::Spent { until: Some(end) });
        match (self.revoked, used_up) {
            (Some((revoked, _)), Some(used_up)) => Some(revoked.longer(used_up)),
            (revoked, used_up) => revoked.map(|(listed, _)| listed).or(used_up),
        }
    }
}

/// Checks that random sequences of operations, through two handles, return what a reference model
/// returns, and that a follower of the feed ends in the same state. A failure reports the shortest
/// sequence that still fails.
pub async fn any_operations_are_answered_as_a_model_answers_them<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let has_feed = !lacks::<G>(Ability::Feed);
    let mut case = 0;
    for mut ops in rows_of_ops() {
        case += 1;
        let Err(mut why) = run(&world, &nodes, case, has_feed, ops.clone()).await else {
            continue;
        };
        // Shrinks the sequence: each operation that the failure doesn't need is removed.
        let mut at = 0;
        while at < ops.len() {
            let mut fewer = ops.clone();
            fewer.remove(at);
            case += 1;
            match run(&world, &nodes, case, has_feed, fewer.clone()).await {
                Err(still) => (why, ops) = (still, fewer),
                Ok(()) => at += 1,
            }
        }
        panic!("{why}, after {ops:#?}");
    }
}

fn rows_of_ops() -> Vec<Vec<Op>> {
    let (ops, mut runner) = (ops(), TestRunner::default());
    let row = |_| {
        let tree = ops.new_tree(&mut runner);
        tree.expect("nothing is filtered").current()
    };
    (0..CASES).map(row).collect()
}

/// Runs one sequence, under keys that no other case uses.
async fn run<G: Fixture>(
    world: &World<G>,
    nodes: &[Node<G::Store>],
    case: u64,
    has_feed: bool,
    ops: Vec<Op>,
) -> Result<(), String> {
    let end = world.end();
    let mut follower = Follower::default();
    let mut model: HashMap<u64, Stands> = HashMap::new();
    let time = |at: u64| world.after(at);
    let until =
        |until: Option<u64>| until.map(|until| end.saturating_add(Duration::from_secs(until)));
    for (turn, op) in ops.into_iter().enumerate() {
        let node = &nodes[turn % 2];
        let is_restore = matches!(
            op,
            Op::RestoreListed { .. } | Op::RestoreUsedUp { .. } | Op::RestoreLifted { .. }
        );
        if is_restore && !has_feed {
            continue;
        }
        let key = match op {
            Op::Revoke { key, .. }
            | Op::Lift { key, .. }
            | Op::RestoreListed { key, .. }
            | Op::RestoreUsedUp { key, .. }
            | Op::RestoreLifted { key, .. }
            | Op::Use { key, .. }
            | Op::Release { key, .. } => key,
            Op::Follow => {
                if has_feed {
                    follower.catch_up(node).await;
                }
                continue;
            }
        };
        let name = name(case, key);
        let stands = model.entry(key).or_default();
        match op {
            Op::Revoke {
                at,
                until: end,
                is_spent,
                ..
            } => {
                let said = match &name {
                    RevocationKey::Token(token) if is_spent => {
                        Revocation::of_spent_token(*token, None).retained(until(end))
                    }
                    RevocationKey::Token(token) => {
                        Revocation::of_token(*token, None).retained(until(end))
                    }
                    _ => match until(end) {
                        Some(end) => rule(name.clone(), time(at)).retained(Some(end)),
                        None => rule(name.clone(), time(at)),
                    },
                };
                node.revoke(&[said.at(time(at))]).await;
                let at_least = stands.lifted.unwrap_or(UnixTime::EPOCH);
                let listed = listed(&name, time(at), until(end), is_spent);
                stands.list(listed, time(at).max(at_least));
            }
            Op::Lift { at, .. } => {
                let lifted = node.lift(&lift(name.clone(), time(at))).await;
                let had = stands.revoked.take();
                same("lift", lifted, had.is_some())?;
                if let Some((_, said)) = had {
                    let after = said.saturating_add(Duration::from_secs(1));
                    stands.lifted = Some(time(at).max(after));
                }
            }
            Op::RestoreUsedUp { until: end, .. } => {
                let (key, until) = (name.digest(), until(end));
                node.restore(&[Change::UsedUp { key, until }]).await;
                let at = stands.lifted.unwrap_or(UnixTime::EPOCH);
                stands.list(Listed::Spent { until }, at);
            }
            Op::RestoreListed {
                at,
                until: end,
                is_spent,
                ..
            } => {
                let listed = listed(&name, time(at), until(end), is_spent);
                node.restore(&[Change::Listed {
                    key: name.digest(),
                    listed,
                    at: time(at),
                }])
                .await;
                if stands.lifted.is_none_or(|lifted| lifted <= time(at)) {
                    stands.list(listed, time(at));
                }
            }
            Op::RestoreLifted { at, .. } => {
                node.restore(&[Change::Lifted {
                    key: name.digest(),
                    at: time(at),
                    until: None,
                }])
                .await;
                stands.revoked.take_if(|(_, said)| *said < time(at));
                stands.lifted = stands.lifted.max(Some(time(at)));
            }
            Op::Use {
                id, other_limit, ..
            } => {
                let limit = key as u32 + 1 + 5 * u32::from(other_limit);
                let answer = node.try_take(&use_of(world, &name, id, limit)).await;
                let stored = *stands.limit.get_or_insert(limit);
                if stored != limit {
                    let rejected = matches!(answer, Err(StoreError::LimitMismatch { stored: known, asked })
                        if known == stored && asked == limit);
                    same("LimitMismatch", rejected, true)?;
                } else {
                    let is_full = stands.held.len() as u32 == limit;
                    let wins = stands.held.contains(&id) || !is_full;
                    let outcome = worked("use", answer);
                    let won = matches!(outcome, UseOutcome::Taken { .. });
                    same("use", won, wins)?;
                    if wins {
                        stands.held.insert(id);
                    }
                }
            }
            Op::Release { id, .. } => {
                let limit = stands.limit.unwrap_or(1);
                let released = node.return_use(&use_of(world, &name, id, limit)).await;
                same("release", released, stands.held.remove(&id))?;
            }
            Op::Follow => {}
        }
        for node in nodes {
            let known = node.listed(name.clone()).await;
            same("look_up", known, stands.listed(end))?;
        }
    }
    if has_feed {
        let keys: Vec<KeyDigest> = (0..KEYS).map(|key| name(case, key).digest()).collect();
        follower.agrees(&nodes[0], &keys).await;
    }
    Ok(())
}

fn name(case: u64, key: u64) -> RevocationKey {
    let number = 10 * case + key;
    match key {
        0..TOKENS => token(number).into(),
        _ => subject(number),
    }
}

fn listed(
    name: &RevocationKey,
    issued_at_or_before: UnixTime,
    until: Option<UnixTime>,
    is_spent: bool,
) -> Listed {
    match name {
        RevocationKey::Token(_) if is_spent => Listed::Spent { until },
        RevocationKey::Token(_) => Listed::Revoked { until },
        _ => Listed::Rule {
            issued_at_or_before,
            until,
        },
    }
}

fn use_of<G: Fixture>(world: &World<G>, name: &RevocationKey, id: u64, limit: u32) -> Use {
    world.new_use(name.digest().as_token(), id, limit)
}

fn same<T: Copy + PartialEq + std::fmt::Debug>(
    what: &str,
    told: T,
    expected: T,
) -> Result<(), String> {
    match told == expected {
        true => Ok(()),
        false => Err(format!(
            "`{what}`: {told:?}, and the model says {expected:?}"
        )),
    }
}
