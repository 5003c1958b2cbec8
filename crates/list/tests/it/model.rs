//! Property test with any sequence of operations: the memory store agrees with a simple model, and
//! a follower of its feed agrees with the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

use crate::support::{ISSUED, ISSUER, lift};
use proptest::prelude::*;
use tower_revoke_core::{
    Change, ChangeFeed, Clock, Cursor, KeyDigest, Listed, Revocation, RevocationKey, Store,
    StoreError, TokenId, UnixTime, Use, UseId, UseOutcome,
};
use tower_revoke_list::MemoryStore;

#[derive(Clone, Debug)]
enum Op {
    Revoke(u8, Option<UnixTime>),
    Rule(u8, UnixTime, Option<UnixTime>),
    LiftToken(u8),
    LiftRule(u8),
    Use(u8, u8, u32, Option<UnixTime>),
    Release(u8, u8),
    Purge(UnixTime),
    Advance(u64),
    Follow,
}

fn time() -> impl Strategy<Value = UnixTime> {
    (0..200_u64).prop_map(|secs| ISSUED.saturating_add(Duration::from_secs(secs)))
}

fn end() -> impl Strategy<Value = Option<UnixTime>> {
    prop::option::weighted(0.8, time())
}

fn op() -> impl Strategy<Value = Op> {
    let (key, id) = (0..4_u8, 0..4_u8);
    prop_oneof![
        3 => (key.clone(), end()).prop_map(|(key, end)| Op::Revoke(key, end)),
        2 => (key.clone(), time(), end()).prop_map(|(key, at, end)| Op::Rule(key, at, end)),
        1 => key.clone().prop_map(Op::LiftToken),
        1 => key.clone().prop_map(Op::LiftRule),
        6 => (key.clone(), id.clone(), 1..4_u32, end())
            .prop_map(|(key, id, limit, end)| Op::Use(key, id, limit, end)),
        2 => (key, id).prop_map(|(key, id)| Op::Release(key, id)),
        1 => time().prop_map(Op::Purge),
        1 => (0..40_u64).prop_map(Op::Advance),
        2 => Just(Op::Follow),
    ]
}

fn token(number: u8) -> TokenId {
    TokenId::from_bytes([number; 16])
}

fn rule(number: u8) -> RevocationKey {
    RevocationKey::subject(ISSUER, number.to_string())
}

/// The contract in its simplest form. A time that never comes is represented by the last one.
#[derive(Default)]
struct Model {
    revoked: BTreeMap<u8, UnixTime>,
    rules: BTreeMap<u8, (UnixTime, UnixTime)>,
    uses: BTreeMap<u8, Uses>,
    purged_before: Option<UnixTime>,
    now: u64,
}

struct Uses {
    limit: u32,
    until: UnixTime,
    held: BTreeSet<u8>,
}

const FOR_EVER: UnixTime = UnixTime::from_secs(u64::MAX);

fn end_or_for_ever(end: Option<UnixTime>) -> UnixTime {
    end.unwrap_or(FOR_EVER)
}

fn none_if_for_ever(end: UnixTime) -> Option<UnixTime> {
    (end != FOR_EVER).then_some(end)
}

impl Model {
    fn new_use(&mut self, key: u8, id: u8, limit: u32, end: Option<UnixTime>) -> Answer {
        let now = ISSUED.saturating_add(Duration::from_secs(self.now));
        if end.is_some_and(|end| end <= now || Some(end) < self.purged_before) {
            return Answer::Expired;
        }
        let until = end_or_for_ever(end);
        let uses = self.uses.entry(key).or_insert(Uses {
            limit,
            until,
            held: BTreeSet::new(),
        });
        if uses.limit != limit {
            return Answer::LimitMismatch(uses.limit);
        }
        if !uses.held.contains(&id) && uses.held.len() == limit as usize {
            return Answer::Spent;
        }
        uses.held.insert(id);
        uses.until = uses.until.max(until);
        Answer::Won(limit - u32::try_from(uses.held.len()).unwrap())
    }

    fn purge(&mut self, before: UnixTime) {
        self.purged_before = self.purged_before.max(Some(before));
        self.revoked.retain(|_, until| *until >= before);
        self.rules.retain(|_, (_, until)| *until >= before);
        self.uses.retain(|_, uses| uses.until >= before);
    }

    fn listed(&self) -> BTreeMap<KeyDigest, Listed> {
        let spent = |uses: &Uses| uses.held.len() == uses.limit as usize;
        let uses = self.uses.iter().filter(|(_, uses)| spent(uses));
        let spent = uses.map(|(key, uses)| {
            let until = none_if_for_ever(uses.until);
            (KeyDigest::of_token(token(*key)), Listed::Spent { until })
        });
        let revoked = self.revoked.iter().map(|(key, until)| {
            let until = none_if_for_ever(*until);
            (KeyDigest::of_token(token(*key)), Listed::Revoked { until })
        });
        let rules = self.rules.iter().map(|(key, (at, until))| {
            let listed = Listed::Rule {
                issued_at_or_before: *at,
                until: none_if_for_ever(*until),
            };
            (rule(*key).digest(), listed)
        });
        merged(spent.collect(), revoked.chain(rules))
    }

    fn weight(&self) -> u64 {
        let uses = self.uses.values().map(|uses| uses.held.len().max(1));
        (self.revoked.len() + self.rules.len() + uses.sum::<usize>()) as u64
    }
}

/// Merges the listings of used-up uses and of revocations.
fn merged(
    mut used_up: BTreeMap<KeyDigest, Listed>,
    revoked: impl IntoIterator<Item = (KeyDigest, Listed)>,
) -> BTreeMap<KeyDigest, Listed> {
    for (key, revoked) in revoked {
        let listed = used_up.entry(key).or_insert(revoked);
        *listed = listed.longer(revoked);
    }
    used_up
}

#[derive(Debug, PartialEq)]
enum Answer {
    Won(u32),
    Spent,
    LimitMismatch(u32),
    Expired,
}

impl From<Result<UseOutcome, StoreError>> for Answer {
    fn from(answer: Result<UseOutcome, StoreError>) -> Self {
        match answer {
            Ok(UseOutcome::Taken { left }) => Self::Won(left),
            Ok(UseOutcome::Spent) => Self::Spent,
            Err(StoreError::LimitMismatch { stored, .. }) => Self::LimitMismatch(stored),
            Err(StoreError::Expired) => Self::Expired,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A follower of the feed that forgets expired entries by itself.
#[derive(Default)]
struct Mirror {
    cursor: Option<Cursor>,
    revoked: BTreeMap<KeyDigest, Listed>,
    spent: BTreeMap<KeyDigest, Listed>,
}

impl Mirror {
    /// As the store answers: a revocation hides the uses.
    fn listed(&self) -> BTreeMap<KeyDigest, Listed> {
        merged(self.spent.clone(), self.revoked.clone())
    }

    async fn follow(&mut self, store: &MemoryStore) {
        let mut changes = store.changes(self.cursor.as_ref()).await;
        if matches!(changes, Err(StoreError::CursorTooOld)) {
            self.revoked.clear();
            self.spent.clear();
            changes = store.changes(None).await;
        }
        let changes = changes.unwrap();
        self.cursor = Some(changes.next);
        for change in changes.changes {
            match change {
                Change::Listed { key, listed, .. } => drop(self.revoked.insert(key, listed)),
                Change::UsedUp { key, until } => {
                    self.spent.insert(key, Listed::Spent { until });
                }
                Change::Lifted { key, .. } => drop(self.revoked.remove(&key)),
                Change::Returned { key } => drop(self.spent.remove(&key)),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads the feed first: its next changes may be about what is purged now.
    async fn purge(&mut self, store: &MemoryStore, before: UnixTime) {
        self.follow(store).await;
        for listed in [&mut self.revoked, &mut self.spent] {
            listed.retain(|_, listed| listed.until().is_none_or(|until| until >= before));
        }
    }
}

async fn run(ops: Vec<Op>, feed_capacity: usize) {
    let (clock, hand) = Clock::manual(ISSUED);
    let store = MemoryStore::new().feed_capacity(feed_capacity);
    let mut model = Model::default();
    let mut mirror = Mirror::default();
    let use_of = |key, id, limit, until| {
        let (id, limit) = (UseId::from_bytes([id; 16]), NonZeroU32::new(limit));
        let mut use_ = Use::new(token(key), id, limit.unwrap(), None);
        use_.until = until;
        use_
    };
    for op in ops {
        match op {
            Op::Revoke(key, end) => {
                let revocation = Revocation::of_token(token(key), None).retained(end);
                store.revoke(&[revocation]).await.unwrap();
                let kept = model.revoked.entry(key).or_insert(UnixTime::from_secs(0));
                *kept = (*kept).max(end_or_for_ever(end));
            }
            Op::Rule(key, at, end) => {
                let mut revocation = Revocation::rule(rule(key), at).unwrap();
                if let Some(end) = end {
                    revocation = revocation.retained(Some(end));
                }
                store.revoke(&[revocation]).await.unwrap();
                let zero = UnixTime::from_secs(0);
                let kept = model.rules.entry(key).or_insert((zero, zero));
                *kept = (kept.0.max(at), kept.1.max(end_or_for_ever(end)));
            }
            Op::LiftToken(key) => {
                let lifted = store.lift(&lift(token(key))).await.unwrap();
                assert_eq!(lifted, model.revoked.remove(&key).is_some());
            }
            Op::LiftRule(key) => {
                let lifted = store.lift(&lift(rule(key))).await.unwrap();
                assert_eq!(lifted, model.rules.remove(&key).is_some());
            }
            Op::Use(key, id, limit, end) => {
                let answer = store
                    .take_use(&use_of(key, id, limit, end), clock.now())
                    .await;
                assert_eq!(Answer::from(answer), model.new_use(key, id, limit, end));
            }
            Op::Release(key, id) => {
                let released = store.return_use(&use_of(key, id, 1, None)).await.unwrap();
                let uses = model.uses.get_mut(&key);
                assert_eq!(released, uses.is_some_and(|uses| uses.held.remove(&id)));
            }
            Op::Purge(before) => {
                let had = model.weight();
                mirror.purge(&store, before).await;
                let dropped = store.purge(before).await.unwrap();
                model.purge(before);
                assert_eq!(dropped, had - model.weight());
            }
            Op::Advance(secs) => {
                hand.advance(Duration::from_secs(secs));
                model.now += secs;
            }
            Op::Follow => mirror.follow(&store).await,
        }
        assert_eq!(store.len(), model.weight());
        let expected = model.listed();
        let keys = (0..4).flat_map(|key| [KeyDigest::of_token(token(key)), rule(key).digest()]);
        let keys: Vec<_> = keys.collect();
        let listed = store.look_up(&keys).await.unwrap();
        for (key, listed) in keys.iter().zip(listed) {
            assert_eq!(listed, expected.get(key).copied(), "{key:?}");
        }
    }
    mirror.follow(&store).await;
    assert_eq!(mirror.listed(), model.listed());
}

fn block_on(run: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(run);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn the_store_does_what_the_model_does(ops in prop::collection::vec(op(), 0..60)) {
        block_on(run(ops, 1_000));
    }

    #[test]
    fn a_follower_that_falls_behind_reloads(ops in prop::collection::vec(op(), 0..60)) {
        block_on(run(ops, 3));
    }
}
