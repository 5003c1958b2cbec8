//! Any history is answered as by the memory store, over restarts, crashes and flushes.

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf, time::Duration};

use futures_util::future::join_all;
use proptest::prelude::*;
use tempfile::TempDir;
use tower_revoke_core::{
    Change, ChangeFeed, Clock, Cursor, KeyDigest, Lift, Listed, ManualClock, Revocation, Store,
    TokenId, UnixTime, Use, UseId,
};
use tower_revoke_list::MemoryStore;

use super::{NOW, copy, flush};
use crate::EmbeddedStore;

const TOKENS: u32 = 16;

fn token(number: u32) -> TokenId {
    TokenId::of_jwt("model", &number.to_string())
}

fn key(number: u32) -> KeyDigest {
    KeyDigest::of_token(token(number))
}

#[derive(Clone, Debug)]
enum Op {
    /// Taken or returned, at once, so that they share a group.
    Uses(Vec<(Use, bool)>),
    Revoke(u32, Option<UnixTime>),
    Lift(u32),
    Purge(UnixTime),
    Advance(u64),
    /// Moves the rows from the journal to the tree.
    Flush,
    Reopen,
    /// Opens a copy of the folder as it is on the disk while the store is open.
    Crash,
    /// One page.
    Follow,
    LoadAll,
}

fn time() -> impl Strategy<Value = UnixTime> {
    (0..200_u64).prop_map(|secs| NOW.saturating_add(Duration::from_secs(secs)))
}

fn end() -> impl Strategy<Value = Option<UnixTime>> {
    prop::option::weighted(0.8, time())
}

/// Of a few tokens.
fn uses() -> impl Strategy<Value = Vec<(Use, bool)>> {
    let id = prop_oneof![3 => Just(0), 1 => Just(1)];
    let limit = prop_oneof![4 => Just(1), 1 => Just(2)];
    let returns = prop::bool::weighted(0.3);
    let some = prop::collection::vec((0..3_u32, id, limit, end(), returns), 1..5);
    (0..TOKENS, some).prop_map(|(first, some)| {
        let of_one = |(next, id, limit, until, returns)| {
            let token = token((first + next) % TOKENS);
            let limit = NonZeroU32::new(limit).unwrap();
            let mut use_ = Use::new(token, UseId::from_bytes([id; 16]), limit, None);
            use_.until = until;
            (use_, returns)
        };
        some.into_iter().map(of_one).collect()
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => uses().prop_map(Op::Uses),
        2 => (0..TOKENS, end()).prop_map(|(number, end)| Op::Revoke(number, end)),
        1 => (0..TOKENS).prop_map(Op::Lift),
        1 => time().prop_map(Op::Purge),
        1 => (0..40_u64).prop_map(Op::Advance),
        1 => Just(Op::Flush),
        2 => Just(Op::Reopen),
        2 => Just(Op::Crash),
        2 => Just(Op::Follow),
        1 => Just(Op::LoadAll),
    ]
}

/// Who knows only what the feed tells.
#[derive(Default)]
struct Follower {
    cursor: Option<Cursor>,
    revoked: BTreeMap<KeyDigest, Listed>,
    spent: BTreeMap<KeyDigest, Listed>,
}

impl Follower {
    /// Reads a page; whether there are more.
    async fn turn(&mut self, store: &EmbeddedStore) -> bool {
        let page = store.changes(self.cursor.as_ref()).await.unwrap();
        self.cursor = Some(page.next);
        for change in page.changes {
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
        page.more
    }

    async fn catch_up(&mut self, store: &EmbeddedStore) {
        while self.turn(store).await {}
    }

    /// Forgets what has ended, as all do who follow.
    fn purge(&mut self, before: UnixTime) {
        for listed in [&mut self.revoked, &mut self.spent] {
            listed.retain(|_, listed| listed.until().is_none_or(|until| until >= before));
        }
    }

    fn listed(&self, key: &KeyDigest) -> Option<Listed> {
        match (self.revoked.get(key), self.spent.get(key)) {
            (Some(revoked), Some(spent)) => Some(revoked.longer(*spent)),
            (revoked, spent) => revoked.or(spent).copied(),
        }
    }
}

/// What a store answers to a use, or to its return.
async fn used(store: &impl Store, (use_, returns): &(Use, bool), now: UnixTime) -> String {
    match returns {
        true => format!("{:?}", store.return_use(use_).await),
        false => format!("{:?}", store.take_use(use_, now).await),
    }
}

/// The store, and one that is all in memory, to which the same is done.
struct Pair {
    folder: TempDir,
    crashes: u32,
    clock: Clock,
    hand: ManualClock,
    store: Option<EmbeddedStore>,
    model: MemoryStore,
    follower: Follower,
}

impl Pair {
    fn new() -> Self {
        let (clock, hand) = Clock::manual(NOW);
        let mut pair = Self {
            folder: tempfile::tempdir().unwrap(),
            crashes: 0,
            clock,
            hand,
            store: None,
            model: MemoryStore::new(),
            follower: Follower::default(),
        };
        pair.open();
        pair
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(self.crashes.to_string())
    }

    fn open(&mut self) {
        self.store = None;
        let builder = EmbeddedStore::builder(self.path()).clock(self.clock.clone());
        self.store = Some(builder.open().unwrap());
    }

    async fn act(&mut self, op: Op) {
        let store = self.store.clone().unwrap();
        match op {
            Op::Uses(uses) => {
                let now = self.clock.now();
                let told = uses.iter().map(|one| used(&store, one, now));
                for (told, one) in join_all(told).await.into_iter().zip(&uses) {
                    assert_eq!(told, used(&self.model, one, now).await, "{one:?}");
                }
            }
            Op::Revoke(number, end) => {
                let revocation = [Revocation::of_token(token(number), None).retained(end)];
                store.revoke(&revocation).await.unwrap();
                self.model.revoke(&revocation).await.unwrap();
            }
            Op::Lift(number) => {
                let lift = Lift::new(token(number)).at(NOW);
                let told = store.lift(&lift).await.unwrap();
                assert_eq!(told, self.model.lift(&lift).await.unwrap());
            }
            Op::Purge(before) => {
                self.follower.catch_up(&store).await;
                self.follower.purge(before);
                let dropped = store.purge(before).await.unwrap();
                assert_eq!(dropped, self.model.purge(before).await.unwrap());
            }
            Op::Advance(secs) => self.hand.advance(Duration::from_secs(secs)),
            Op::Flush => flush(&store),
            Op::Reopen => {
                drop(store);
                self.open();
            }
            Op::Crash => {
                let path = self.path();
                self.crashes += 1;
                copy(&path, &self.path());
                drop(store);
                self.open();
            }
            Op::Follow => drop(self.follower.turn(&store).await),
            Op::LoadAll => {
                let mut new = Follower::default();
                new.catch_up(&store).await;
                self.agrees(&new).await;
            }
        }
    }

    async fn answers_alike(&self) {
        let keys: Vec<_> = (0..TOKENS).map(key).collect();
        let told = self.store.as_ref().unwrap().look_up(&keys).await.unwrap();
        assert_eq!(told, self.model.look_up(&keys).await.unwrap());
        let weight = self.store.as_ref().unwrap().shared().entries();
        assert_eq!(weight, self.model.len());
    }

    async fn agrees(&self, follower: &Follower) {
        for number in 0..TOKENS {
            let expected = self.model.look_up(&[key(number)]).await.unwrap()[0];
            assert_eq!(follower.listed(&key(number)), expected, "token {number}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_history_is_answered_as_from_memory(ops in prop::collection::vec(op(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let mut pair = Pair::new();
            for op in ops {
                pair.act(op).await;
                pair.answers_alike().await;
            }
            let store = pair.store.clone().unwrap();
            pair.follower.catch_up(&store).await;
            pair.agrees(&pair.follower).await;
            pair.act(Op::LoadAll).await;
        });
    }
}
