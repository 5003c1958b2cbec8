//! Runs the memory store's own source over shuttle's locks, in every order in which uses can meet.
//!
//! This explores every order of the locks that the store takes. Its clock and its hash maps are not
//! shuttle's, but don't affect who wins.
//!
//! In a separate test binary, because the store's source finds its locks at `crate::sync`, which
//! only a crate root has.

#[allow(
    dead_code,
    unreachable_pub,
    reason = "the store is used in part, and its module is private here"
)]
#[path = "../src/memory/mod.rs"]
mod memory;

mod sync {
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};

    pub(crate) const SHARDS: usize = 2;
}

use std::{
    collections::HashSet,
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use shuttle::{
    Config, Runner,
    future::block_on,
    scheduler::{DfsScheduler, RandomScheduler},
    thread,
};
use tower_revoke_core::{
    Change, ChangeFeed, KeyDigest, Lift, Listed, Revocation, Store, TokenId, UnixTime, Use, UseId,
    UseOutcome,
};

use self::memory::MemoryStore;

fn token() -> TokenId {
    TokenId::from_bytes([7; 16])
}

fn new_use(id: usize, limit: u32) -> Use {
    Use::new(
        token(),
        UseId::from_bytes([u8::try_from(id).expect("few uses"); 16]),
        NonZeroU32::new(limit).expect("not zero"),
        None,
    )
}

fn exhaustively(run: impl Fn() + Send + Sync + 'static) -> usize {
    let mut config = Config::new();
    config.stack_size = 0x4_0000;
    Runner::new(DfsScheduler::new(None, false), config).run(run)
}

fn at_random(run: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = 0x4_0000;
    Runner::new(RandomScheduler::new(3_000), config).run(run);
}

/// Runs `takers` threads concurrently, including this one; returns how many won.
fn winners(takers: usize, take_one: impl Fn(usize) -> bool + Clone + Send + 'static) -> usize {
    let others: Vec<_> = (1..takers)
        .map(|id| {
            let take_one = take_one.clone();
            thread::spawn(move || take_one(id))
        })
        .collect();
    let own = take_one(0);
    let won = |taker: thread::JoinHandle<bool>| taker.join().expect("no taker fails");
    let won = others.into_iter().map(won).chain([own]);
    won.filter(|won| *won).count()
}

fn exactly_as_many_win(takers: usize, limit: u32) {
    let store = MemoryStore::new();
    let taken = store.clone();
    let won = winners(takers, move |id| {
        let outcome = block_on(taken.take_use(&new_use(id, limit), UnixTime::EPOCH));
        matches!(outcome.expect("an answer"), UseOutcome::Taken { .. })
    });
    assert_eq!(won, takers.min(limit as usize), "winners");
    let listed = block_on(store.look_up(&[KeyDigest::of_token(token())])).expect("an answer")[0];
    let spent = takers >= limit as usize;
    assert_eq!(matches!(listed, Some(Listed::Spent { .. })), spent);
}

#[test]
fn trap_01_two_takers_of_one_use_have_one_winner_in_every_schedule() {
    let walked = exhaustively(|| exactly_as_many_win(2, 1));
    assert!(walked >= 12, "all of {walked} schedules");
}

#[test]
fn trap_01_three_takers_of_two_uses_have_two_winners_in_every_schedule() {
    let walked = exhaustively(|| exactly_as_many_win(3, 2));
    assert!(walked > 2_000, "all of {walked} schedules");
}

#[test]
fn trap_01_many_takers_at_random_have_as_many_winners_as_uses() {
    at_random(|| exactly_as_many_win(8, 3));
}

/// A use that is requested twice concurrently, as after a lost answer, is one use.
#[test]
fn a_use_requested_twice_is_taken_once_in_every_schedule() {
    exhaustively(|| {
        let store = MemoryStore::new();
        let taken = store.clone();
        let won = winners(2, move |_| {
            let outcome = block_on(taken.take_use(&new_use(1, 2), UnixTime::EPOCH));
            matches!(outcome.expect("an answer"), UseOutcome::Taken { left: 1 })
        });
        assert_eq!(won, 2);
        assert_eq!(store.len(), 1);
    });
}

/// A returned use is won at most once afterwards.
#[test]
fn a_returned_use_is_never_won_twice_in_any_schedule() {
    exhaustively(|| {
        let store = MemoryStore::new();
        block_on(store.take_use(&new_use(0, 1), UnixTime::EPOCH)).expect("taken");
        let taken = store.clone();
        let won = winners(3, move |id| match id {
            0 => {
                let released = block_on(taken.return_use(&new_use(0, 1)));
                assert!(released.expect("an answer"));
                false
            }
            _ => {
                let outcome = block_on(taken.take_use(&new_use(id, 1), UnixTime::EPOCH));
                matches!(outcome.expect("an answer"), UseOutcome::Taken { .. })
            }
        });
        assert!(won <= 1, "{won} winners of one use");
        assert_eq!(store.len(), 1);
    });
}

/// The last free entry of a full store is filled once.
#[test]
fn the_last_free_entry_is_taken_once_in_every_schedule() {
    exhaustively(|| {
        let store = MemoryStore::new().capacity(1);
        let filled = store.clone();
        let kept = winners(2, move |id| {
            let token = TokenId::from_bytes([u8::try_from(id).expect("few tokens"); 16]);
            block_on(filled.revoke(&[Revocation::of_token(token, None)])).is_ok()
        });
        assert_eq!((kept, store.len()), (1, 1));
    });
}

/// A mirror that loads and then follows the feed agrees with the store, whatever is written during
/// the load.
#[test]
fn a_mirror_misses_nothing_in_every_schedule() {
    exhaustively(|| {
        let store = MemoryStore::new();
        let revocation = Revocation::of_token(token(), None);
        block_on(store.revoke(&[revocation])).expect("revoked");
        let writer = {
            let store = store.clone();
            thread::spawn(move || {
                let lift = Lift::new(token())
                    .at(UnixTime::from_secs(1))
                    .by("ann")
                    .because("found again");
                block_on(store.lift(&lift)).expect("lifted");
                block_on(store.take_use(&new_use(1, 1), UnixTime::EPOCH)).expect("taken");
            })
        };
        let all = block_on(store.changes(None)).expect("all");
        writer.join().expect("the writer does not fail");
        let since = block_on(store.changes(Some(&all.next))).expect("changes");
        let (mut revoked, mut spent) = (HashSet::new(), HashSet::new());
        for change in all.changes.into_iter().chain(since.changes) {
            match change {
                Change::Listed { key, .. } => revoked.insert(key),
                Change::UsedUp { key, .. } => spent.insert(key),
                Change::Lifted { key, .. } => revoked.remove(&key),
                Change::Returned { key } => spent.remove(&key),
                _ => false,
            };
        }
        let key = KeyDigest::of_token(token());
        assert_eq!((revoked, spent), (HashSet::new(), HashSet::from([key])));
    });
}

/// Known bad: it checks under one lock and writes under the next. The exploration must find it.
#[test]
fn trap_01_check_then_insert_is_caught() {
    let explored = catch_unwind(AssertUnwindSafe(|| {
        exhaustively(|| {
            let uses = Arc::new(shuttle::sync::Mutex::new(Vec::new()));
            let won = winners(2, move |id| {
                let is_free = uses.lock().expect("no taker fails").is_empty();
                if is_free {
                    uses.lock().expect("no taker fails").push(id);
                }
                is_free
            });
            assert_eq!(won, 1, "winners");
        })
    }));
    let panic = explored.expect_err("two winners are found");
    let said = panic.downcast_ref::<String>().expect("words");
    assert!(said.contains("winners"), "it failed otherwise: {said}");
}
