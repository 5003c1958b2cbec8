//! Tests that staged, moved and returned uses are answered like those in their final tables.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::future::join_all;
use proptest::prelude::*;
use tempfile::TempDir;
use tower_revoke_core::{
    Change, ChangeFeed, Clock, Cursor, KeyDigest, Lift, Listed, ManualClock, Revocation, Store,
    StoreError, TokenId, UnixTime, Use, UseId, UseOutcome,
};
use tower_revoke_list::MemoryStore;

use crate::{
    RedbStore, RedbStoreBuilder, cursor::FeedCursor, disk::tests::DiskFault, schema::STAGED,
};

const NOW: UnixTime = UnixTime::from_secs(1_000_000);

/// So few that a short history has uses that are staged, being moved, and moved.
const GATHERED: usize = 3;

const TOKENS: u32 = 16;

fn after(secs: u64) -> UnixTime {
    NOW.saturating_add(Duration::from_secs(secs))
}

fn token(number: u32) -> TokenId {
    TokenId::of_jwt("staging", &number.to_string())
}

fn key(number: u32) -> KeyDigest {
    KeyDigest::of_token(token(number))
}

fn new_use(number: u32, id: u8) -> Use {
    Use::new(
        token(number),
        UseId::from_bytes([id; 16]),
        NonZeroU32::MIN,
        None,
    )
}

fn open(path: &Path, clock: Clock) -> RedbStore {
    let builder = RedbStore::builder(path).clock(clock).gathered(GATHERED);
    builder.open().unwrap()
}

#[derive(Clone, Debug)]
enum Op {
    /// Taken or returned concurrently, so that they share a transaction.
    Uses(Vec<(PlannedUse, bool)>),
    Revoke(u32, Option<UnixTime>),
    Lift(u32),
    Purge(UnixTime),
    Advance(u64),
    Compact,
    Reopen,
    /// Opens a copy of the file as it is on disk while the store is open.
    Crash,
    /// Reads one page.
    Follow,
    LoadAll,
}

#[derive(Clone, Copy, Debug)]
struct PlannedUse {
    number: u32,
    id: u8,
    limit: u32,
    until: Option<UnixTime>,
}

impl PlannedUse {
    fn new_use(self) -> Use {
        let mut use_ = new_use(self.number, self.id);
        use_.limit = NonZeroU32::new(self.limit).unwrap();
        use_.until = self.until;
        use_
    }
}

fn time() -> impl Strategy<Value = UnixTime> {
    (0..200_u64).prop_map(after)
}

fn end() -> impl Strategy<Value = Option<UnixTime>> {
    prop::option::weighted(0.8, time())
}

/// Uses of a few tokens.
fn uses() -> impl Strategy<Value = Vec<(PlannedUse, bool)>> {
    let (id, limit) = (
        prop_oneof![3 => Just(0), 1 => Just(1)],
        prop_oneof![9 => Just(1), 1 => Just(2)],
    );
    let some = prop::collection::vec(
        (0..3_u32, id, limit, end(), prop::bool::weighted(0.3)),
        1..5,
    );
    (0..TOKENS, some).prop_map(|(first, some)| {
        let of_one = |(next, id, limit, until, is_release)| {
            let number = (first + next) % TOKENS;
            let one = PlannedUse {
                number,
                id,
                limit,
                until,
            };
            (one, is_release)
        };
        some.into_iter().map(of_one).collect()
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => uses().prop_map(Op::Uses),
        1 => (0..TOKENS, end()).prop_map(|(number, end)| Op::Revoke(number, end)),
        1 => (0..TOKENS).prop_map(Op::Lift),
        1 => time().prop_map(Op::Purge),
        1 => (0..40_u64).prop_map(Op::Advance),
        1 => Just(Op::Compact),
        2 => Just(Op::Reopen),
        2 => Just(Op::Crash),
        2 => Just(Op::Follow),
        1 => Just(Op::LoadAll),
    ]
}

/// Knows only what the feed contains.
#[derive(Default)]
struct Follower {
    cursor: Option<Cursor>,
    revoked: BTreeMap<KeyDigest, Listed>,
    spent: BTreeMap<KeyDigest, Listed>,
}

impl Follower {
    /// Reads a page; returns whether there are more.
    async fn turn(&mut self, store: &RedbStore) -> bool {
        let page = store.changes(self.cursor.as_ref()).await.unwrap();
        self.cursor = Some(page.next);
        for change in page.changes {
            match change {
                Change::Listed { key, listed, .. } => drop(match listed {
                    Listed::Spent { .. } => self.spent.insert(key, listed),
                    _ => self.revoked.insert(key, listed),
                }),
                Change::Lifted { key, .. } => drop(self.revoked.remove(&key)),
                Change::Returned { key } => drop(self.spent.remove(&key)),
                other => panic!("{other:?}"),
            }
        }
        page.more
    }

    async fn catch_up(&mut self, store: &RedbStore) {
        while self.turn(store).await {}
    }

    /// Forgets expired entries, as every follower does.
    fn purge(&mut self, before: UnixTime) {
        for listed in [&mut self.revoked, &mut self.spent] {
            listed.retain(|_, listed| listed.until().is_none_or(|until| until >= before));
        }
    }

    fn listed(&self, key: &KeyDigest) -> Option<Listed> {
        let listed = self.revoked.get(key).or_else(|| self.spent.get(key));
        listed.copied()
    }
}

/// Returns a store's answer to a use, or to its return.
async fn used(store: &impl Store, (one, is_release): (PlannedUse, bool), now: UnixTime) -> String {
    match is_release {
        true => format!("{:?}", store.return_use(&one.new_use()).await),
        false => format!("{:?}", store.take_use(&one.new_use(), now).await),
    }
}

/// The store, and a memory store that gets the same operations.
struct Pair {
    folder: TempDir,
    crashes: u32,
    clock: Clock,
    hand: ManualClock,
    store: Option<RedbStore>,
    model: MemoryStore,
    follower: Follower,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(NOW);
        let store = open(&folder.path().join("0"), clock.clone());
        Self {
            folder,
            crashes: 0,
            clock,
            hand,
            store: Some(store),
            model: MemoryStore::new(),
            follower: Follower::default(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(self.crashes.to_string())
    }

    fn store(&self) -> &RedbStore {
        self.store.as_ref().unwrap()
    }

    async fn act(&mut self, op: Op) {
        match op {
            Op::Uses(uses) => {
                let (store, model, now) = (self.store(), &self.model, self.clock.now());
                let told = uses.iter().map(|one| used(store, *one, now));
                for (told, one) in join_all(told).await.into_iter().zip(&uses) {
                    assert_eq!(told, used(model, *one, now).await, "{one:?}");
                }
            }
            Op::Revoke(number, end) => {
                let revocation = [Revocation::of_token(token(number), None).retained(end)];
                self.store().revoke(&revocation).await.unwrap();
                self.model.revoke(&revocation).await.unwrap();
            }
            Op::Lift(number) => {
                let lift = Lift {
                    key: token(number).into(),
                    at: NOW,
                    by: String::new(),
                    reason: String::new(),
                };
                let told = self.store().lift(&lift).await.unwrap();
                assert_eq!(told, self.model.lift(&lift).await.unwrap());
            }
            Op::Purge(before) => {
                let store = self.store.clone().unwrap();
                self.follower.catch_up(&store).await;
                self.follower.purge(before);
                let dropped = store.purge(before).await.unwrap();
                assert_eq!(dropped, self.model.purge(before).await.unwrap());
            }
            Op::Advance(secs) => self.hand.advance(Duration::from_secs(secs)),
            Op::Compact => drop(self.store().compact().await.unwrap()),
            Op::Reopen => {
                self.store = None;
                self.store = Some(open(&self.path(), self.clock.clone()));
            }
            Op::Crash => {
                let path = self.path();
                self.crashes += 1;
                fs::copy(&path, self.path()).unwrap();
                self.store = Some(open(&self.path(), self.clock.clone()));
            }
            Op::Follow => {
                let store = self.store.clone().unwrap();
                self.follower.turn(&store).await;
            }
            Op::LoadAll => {
                let mut new = Follower::default();
                new.catch_up(self.store()).await;
                self.agrees(&new).await;
            }
        }
    }

    async fn answers_alike(&self) {
        let keys: Vec<_> = (0..TOKENS).map(key).collect();
        let told = self.store().look_up(&keys).await.unwrap();
        assert_eq!(told, self.model.look_up(&keys).await.unwrap());
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

/// With a long timeout, because large batches take long.
fn patient(path: &Path) -> RedbStoreBuilder {
    RedbStore::builder(path).request_timeout(Duration::from_secs(600))
}

async fn take_all(store: &RedbStore, numbers: std::ops::Range<u32>) {
    let uses: Vec<_> = numbers.map(|number| new_use(number, 1)).collect();
    for won in join_all(uses.iter().map(|use_| store.take_use(use_, NOW))).await {
        assert_eq!(won.unwrap(), UseOutcome::Taken { left: 0 });
    }
}

/// Returns how many uses are staged, and in how many rows.
async fn staged(store: &RedbStore) -> (usize, u64) {
    use redb::ReadableTableMetadata;
    let rows = store
        .shared()
        .read(|txn| Ok(txn.open_table(STAGED)?.len()?));
    (store.shared().staged().len(), rows.unwrap())
}

#[tokio::test]
async fn a_full_load_misses_no_use_that_is_moved_meanwhile() {
    const CLAIMED: u32 = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let builder = patient(&folder.path().join("a")).gathered(CLAIMED as usize);
    let store = builder.open().unwrap();
    // Each use from the next one on moves two of the first ones.
    take_all(&store, 0..CLAIMED).await;
    take_all(&store, CLAIMED..CLAIMED + 1).await;
    let mut follower = Follower::default();
    assert!(follower.turn(&store).await);
    let mut pages = 1;
    loop {
        let next = CLAIMED + pages * 1_000;
        take_all(&store, next..next + 1_000).await;
        // Stops when the load is over: the feed must not make up for what it missed.
        let cursor = FeedCursor::read(follower.cursor.as_ref().unwrap());
        if cursor.unwrap().load.is_none() {
            break;
        }
        follower.turn(&store).await;
        pages += 1;
    }
    assert!(pages > 2, "{pages}");
    let missed = (0..CLAIMED).filter(|number| follower.listed(&key(*number)).is_none());
    assert_eq!(missed.count(), 0);
}

#[tokio::test]
async fn a_moved_and_returned_use_stays_returned_while_its_row_remains() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let open = || RedbStore::builder(&path).gathered(10).open().unwrap();
    let store = open();
    // The eleventh use makes the first ones old; from then on each use moves two.
    for number in 0..16 {
        take_all(&store, number..number + 1).await;
    }
    assert_eq!(staged(&store).await, (6, 16), "ten rows are obsolete");
    for number in 0..11 {
        assert!(store.return_use(&new_use(number, 1)).await.unwrap());
    }
    assert_eq!(staged(&store).await, (5, 15));
    drop(store);
    let store = open();
    assert_eq!(staged(&store).await, (5, 15));
    for number in 0..11 {
        assert_eq!(store.look_up(&[key(number)]).await.unwrap(), [None]);
        let won = store.take_use(&new_use(number, 2), NOW).await.unwrap();
        assert_eq!(won, UseOutcome::Taken { left: 0 });
    }
}

/// A backlog would grow for as long as the store runs.
#[tokio::test]
async fn the_number_of_staged_uses_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let builder = RedbStore::builder(folder.path().join("a")).gathered(100);
    let store = builder.open().unwrap();
    for tens in 0..100 {
        take_all(&store, 10 * tens..10 * tens + 10).await;
        let (staged, rows) = staged(&store).await;
        assert!(
            staged <= 130 && rows <= 190,
            "{staged} uses are staged in {rows} rows"
        );
    }
    // Repeated uses, returned uses and uses by others: no transaction is written if nothing
    // changes.
    let before = staged(&store).await;
    assert_eq!(
        store.take_use(&new_use(999, 1), NOW).await.unwrap(),
        UseOutcome::Taken { left: 0 }
    );
    assert_eq!(
        store.take_use(&new_use(999, 2), NOW).await.unwrap(),
        UseOutcome::Spent
    );
    assert!(!store.return_use(&new_use(999, 2)).await.unwrap());
    assert_eq!(staged(&store).await, before);
    assert!(store.return_use(&new_use(999, 1)).await.unwrap());
    assert_eq!(staged(&store).await, (before.0 - 1, before.1 - 1));
}

#[tokio::test]
async fn a_purge_of_many_staged_uses_removes_them_all() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _hand) = Clock::manual(NOW);
    let store = patient(&folder.path().join("a"))
        .clock(clock)
        .open()
        .unwrap();
    let until = |number: u32| {
        let mut use_ = new_use(number, 1);
        use_.until = Some(after(if number < 5_000 { 60 } else { 120 }));
        use_
    };
    let uses: Vec<_> = (0..6_000).map(until).collect();
    for won in join_all(uses.iter().map(|use_| store.take_use(use_, NOW))).await {
        won.unwrap();
    }
    assert_eq!(staged(&store).await, (6_000, 6_000));
    assert_eq!(store.purge(after(61)).await.unwrap(), 5_000);
    assert_eq!(staged(&store).await, (1_000, 1_000));
    let rejected = store.take_use(&uses[0], NOW).await;
    assert!(matches!(rejected, Err(StoreError::Expired)), "{rejected:?}");
}

#[tokio::test]
async fn a_failed_commit_stages_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = Clock::manual(NOW);
    let store = open(&folder.path().join("a"), clock);
    take_all(&store, 0..20).await;
    let full = DiskFault {
        write: Some(ErrorKind::StorageFull),
        ..DiskFault::default()
    };
    store.shared().place.health.set(full);
    let rejected = store.take_use(&new_use(20, 1), NOW).await;
    assert!(
        matches!(rejected, Err(StoreError::Full(20))),
        "{rejected:?}"
    );
    store.shared().place.health.set(DiskFault::default());
    hand.advance(Duration::from_secs(1));
    assert_eq!(store.look_up(&[key(20)]).await.unwrap(), [None]);
    let won = store.take_use(&new_use(20, 2), NOW).await.unwrap();
    assert_eq!(won, UseOutcome::Taken { left: 0 });
    let keys: Vec<_> = (0..21).map(key).collect();
    let spent = Some(Listed::Spent { until: None });
    assert_eq!(store.look_up(&keys).await.unwrap(), [spent; 21]);
}

/// A transaction that failed may be in the file nevertheless.
#[tokio::test]
async fn a_reopened_file_still_has_its_staged_uses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let (clock, hand) = Clock::manual(NOW);
    let builder = RedbStore::builder(&path).clock(clock).cache_bytes(0);
    let store = builder.open().unwrap();
    take_all(&store, 0..1).await;
    let broken = DiskFault {
        read: Some(ErrorKind::Other),
        ..DiskFault::default()
    };
    store.shared().place.health.set(broken);
    store.look_up(&[key(1)]).await.unwrap_err();
    let db = redb::Database::open(&path).unwrap();
    let txn = db.begin_write().unwrap();
    let row = crate::rows::write(&crate::rows::StagedUse {
        token: *token(1).as_bytes(),
        id: [1; 16],
        until: None,
    });
    let mut rows = txn.open_table(STAGED).unwrap();
    rows.insert(1, row.unwrap().as_slice()).unwrap();
    drop(rows);
    txn.commit().unwrap();
    drop(db);
    store.shared().place.health.set(DiskFault::default());
    hand.advance(Duration::from_secs(1));
    let rejected = store.take_use(&new_use(1, 2), NOW).await.unwrap();
    assert_eq!(rejected, UseOutcome::Spent);
    let spent = Some(Listed::Spent { until: None });
    assert_eq!(store.look_up(&[key(0), key(1)]).await.unwrap(), [spent; 2]);
}
