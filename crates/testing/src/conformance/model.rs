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
    world::{Node, World, lacks, lift, listed_rule, rule, subject, token, worked},
};

const CASES: u64 = 32;

/// Keys 0 and 1 are tokens with one and two uses; key 2 is that of a rule. There are so few of them
/// so that operations often meet at one key.
const TOKENS: u64 = 2;
const KEYS: u64 = 3;

#[derive(Clone, Debug)]
struct Op {
    key: u64,
    kind: Kind,
}

/// Times are seconds after the begin of the clause, or after its end.
#[derive(Clone, Debug)]
enum Kind {
    Revoke(Said),
    /// At this time.
    Lift(u64),
    RestoreListed(Said),
    /// Until this time.
    RestoreUsedUp(Option<u64>),
    /// At this time.
    RestoreLifted(u64),
    /// Under this id, and whether with another limit than that of its key.
    Use(u64, bool),
    /// Under this id.
    Return(u64),
    Follow,
}

/// The state of a key.
#[derive(Clone, Debug)]
struct Said {
    at: u64,
    until: Option<u64>,
    is_spent: bool,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let until = || prop::option::weighted(0.8, 0..4_u64);
    let said = |end: u64| {
        (0..end, until(), any::<bool>()).prop_map(|(at, until, is_spent)| Said {
            at,
            until,
            is_spent,
        })
    };
    let id = || 0..4_u64;
    let op = prop_oneof![
        4 => (0..KEYS, said(6).prop_map(Kind::Revoke)),
        3 => (0..KEYS, (0..6_u64).prop_map(Kind::Lift)),
        2 => (0..KEYS, said(9).prop_map(Kind::RestoreListed)),
        1 => (0..TOKENS, until().prop_map(Kind::RestoreUsedUp)),
        2 => (0..KEYS, (0..9_u64).prop_map(Kind::RestoreLifted)),
        5 => (0..TOKENS, (id(), any::<u8>()).prop_map(|(id, other)| Kind::Use(id, other < 16))),
        3 => (0..TOKENS, id().prop_map(Kind::Return)),
        1 => (0..KEYS, prop::strategy::Just(Kind::Follow)),
    ];
    prop::collection::vec(op.prop_map(|(key, kind)| Op { key, kind }), 0..40)
}

/// The model's state of one key.
#[derive(Default)]
struct Entry {
    revoked: Option<(Listed, UnixTime)>,
    lifted: Option<UnixTime>,
    limit: Option<u32>,
    held: BTreeSet<u64>,
}

impl Entry {
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
pub async fn random_operations_match_the_model<G: Fixture>() {
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
    let mut model: HashMap<u64, Entry> = HashMap::new();
    let time = |at: u64| world.after(at);
    let until = |until: Option<u64>| until.and_then(|secs| world.end_plus(secs));
    for (turn, Op { key, kind }) in ops.into_iter().enumerate() {
        let node = &nodes[turn % 2];
        let takes_feed = matches!(
            kind,
            Kind::RestoreListed(_) | Kind::RestoreUsedUp(_) | Kind::RestoreLifted(_) | Kind::Follow
        );
        if takes_feed && !has_feed {
            continue;
        }
        let name = name(case, key);
        let entry = model.entry(key).or_default();
        match kind {
            Kind::Revoke(Said {
                at,
                until: end,
                is_spent,
            }) => {
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
                let at_least = entry.lifted.unwrap_or(UnixTime::EPOCH);
                let listed = listed(&name, time(at), until(end), is_spent);
                entry.list(listed, time(at).max(at_least));
            }
            Kind::Lift(at) => {
                let lifted = node.lift(&lift(name.clone(), time(at))).await;
                let had = entry.revoked.take();
                same("lift", lifted, had.is_some())?;
                if let Some((_, said)) = had {
                    let after = said.saturating_add(Duration::from_secs(1));
                    entry.lifted = Some(time(at).max(after));
                }
            }
            Kind::RestoreUsedUp(end) => {
                let (key, until) = (name.digest(), until(end));
                node.restore(&[Change::UsedUp { key, until }]).await;
                let at = entry.lifted.unwrap_or(UnixTime::EPOCH);
                entry.list(Listed::Spent { until }, at);
            }
            Kind::RestoreListed(Said {
                at,
                until: end,
                is_spent,
            }) => {
                let listed = listed(&name, time(at), until(end), is_spent);
                node.restore(&[Change::Listed {
                    key: name.digest(),
                    listed,
                    at: time(at),
                }])
                .await;
                if entry.lifted.is_none_or(|lifted| lifted <= time(at)) {
                    entry.list(listed, time(at));
                }
            }
            Kind::RestoreLifted(at) => {
                node.restore(&[Change::Lifted {
                    key: name.digest(),
                    at: time(at),
                    until: None,
                }])
                .await;
                entry.revoked.take_if(|(_, said)| *said < time(at));
                entry.lifted = entry.lifted.max(Some(time(at)));
            }
            Kind::Use(id, other_limit) => {
                let limit = key as u32 + 1 + 5 * u32::from(other_limit);
                let answer = node.try_take(&use_of(world, &name, id, limit)).await;
                let stored = *entry.limit.get_or_insert(limit);
                if stored != limit {
                    let rejected = matches!(answer, Err(StoreError::LimitMismatch { stored: known, asked })
                        if known == stored && asked == limit);
                    same("LimitMismatch", rejected, true)?;
                } else {
                    let is_full = entry.held.len() as u32 == limit;
                    let wins = entry.held.contains(&id) || !is_full;
                    let outcome = worked("use", answer);
                    let won = matches!(outcome, UseOutcome::Taken { .. });
                    same("use", won, wins)?;
                    if wins {
                        entry.held.insert(id);
                    }
                }
            }
            Kind::Return(id) => {
                let limit = entry.limit.unwrap_or(1);
                let returned = node.return_use(&use_of(world, &name, id, limit)).await;
                same("return_use", returned, entry.held.remove(&id))?;
            }
            Kind::Follow => {
                follower.catch_up(node).await;
            }
        }
        for node in nodes {
            let known = node.listed(name.clone()).await;
            same("look_up", known, entry.listed(end))?;
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
        _ => listed_rule(issued_at_or_before, until),
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
