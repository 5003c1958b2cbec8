//! Tests with real threads, and with caches that are far too small.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    thread,
};

use crate::support::{ISSUED, Steered, end_of, new_use, token};
use futures_util::FutureExt;
use tokio::task::JoinSet;
use tower_revoke_core::{KeyDigest, Revocation, Store, TokenId, TokenStatus, UseId, UseOutcome};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::rounds;

/// TRAPS 3: a bounded cache that served as the list forgot live revocations.
#[tokio::test]
async fn trap_03_caches_that_overflow_un_revoke_nothing() {
    let list = RevocationList::builder(Steered::new(MemoryStore::new()))
        .cache_capacity(64)
        .build()
        .unwrap();
    let tokens: Vec<_> = (0..4_000).map(|jti| token(&jti.to_string())).collect();
    let (revoked, good) = tokens.split_at(2_000);
    for token in revoked {
        list.revoke(end_of(token)).await.unwrap();
    }
    for _ in 0..2 {
        for (revoked, good) in revoked.iter().zip(good) {
            assert_eq!(list.status(good).await.unwrap(), TokenStatus::Valid);
            assert_eq!(list.status(revoked).await.unwrap(), TokenStatus::Revoked);
            assert_eq!(list.known_status(revoked), None);
        }
    }
    assert!(list.stats().asked > 4_000, "the cache did not overflow");
}

/// TRAPS 22: a use by moka's `entry().or_insert(…).is_fresh()` had two winners.
#[test]
fn trap_22_threads_that_race_for_one_use_have_one_winner() {
    const THREADS: u8 = 8;
    const TOKENS: u8 = 250;
    for _ in 0..rounds(5, 20) {
        let store = MemoryStore::new();
        let tokens: Vec<_> = (0..TOKENS).map(|jti| token(&jti.to_string())).collect();
        let won: Vec<_> = (0..TOKENS).map(|_| AtomicU32::new(0)).collect();
        let start = Barrier::new(usize::from(THREADS));
        thread::scope(|scope| {
            for id in 0..THREADS {
                let (store, tokens, won, start) = (&store, &tokens, &won, &start);
                scope.spawn(move || {
                    start.wait();
                    for (token, won) in tokens.iter().zip(won) {
                        let mut use_ = new_use(token, id, 1);
                        use_.until = None;
                        let outcome = store
                            .take_use(&use_, ISSUED)
                            .now_or_never()
                            .expect("at once");
                        if matches!(outcome.unwrap(), UseOutcome::Taken { .. }) {
                            won.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        for won in won {
            assert_eq!(won.into_inner(), 1);
        }
    }
}

/// TRAPS 37: with two cores reading and writing concurrently, revoked tokens passed and revocations
/// were lost.
#[test]
fn trap_37_revoked_tokens_are_rejected_on_all_cores_while_more_are_added() {
    // A store that is looked up directly, and one with a cache of answers.
    on_all_cores(|store| store);
    on_all_cores(Steered::new);
}

fn on_all_cores<S: Store>(store_of: fn(MemoryStore) -> S) {
    const ADDED: usize = 100_000;
    let cores = thread::available_parallelism()
        .map_or(2, usize::from)
        .max(2);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = MemoryStore::new();
        // Far fewer cached answers than tokens, so that the cache evicts constantly.
        let list = RevocationList::builder(store_of(store.clone()))
            .cache_capacity(2_000)
            .build()
            .unwrap();
        let revoked: Arc<Vec<_>> =
            Arc::new((0..500).map(|jti| token(&format!("r{jti}"))).collect());
        for token in revoked.iter() {
            list.revoke(end_of(token)).await.unwrap();
        }
        // Each is valid until it is revoked, and never again.
        let turning: Vec<_> = (0..500)
            .map(|jti| (token(&format!("t{jti}")), AtomicBool::new(false)))
            .collect();
        let turning = Arc::new(turning);
        let adding = Arc::new(AtomicUsize::new(2));
        let mut tasks = JoinSet::new();
        for half in 0..2 {
            let (list, turning, adding) = (list.clone(), turning.clone(), adding.clone());
            tasks.spawn(async move {
                for number in (half..ADDED).step_by(2) {
                    let added = Revocation::of_token(numbered(number), None);
                    list.revoke(added).await.unwrap();
                    if number % 200 == half {
                        let (token, is_revoked) = &turning[number / 200];
                        list.revoke(end_of(token)).await.unwrap();
                        is_revoked.store(true, Ordering::SeqCst);
                    }
                }
                adding.fetch_sub(1, Ordering::SeqCst);
                0
            });
        }
        for reader in 0..cores {
            let list = list.clone();
            let (revoked, turning, adding) = (revoked.clone(), turning.clone(), adding.clone());
            tasks.spawn(async move {
                let mut checked = 0;
                while checked < 500 || adding.load(Ordering::SeqCst) > 0 {
                    let at = (checked * 7 + reader) % 500;
                    assert_ne!(list.known_status(&revoked[at]), Some(TokenStatus::Valid));
                    let status = list.status(&revoked[at]).await.unwrap();
                    assert_eq!(status, TokenStatus::Revoked);
                    let (token, is_revoked) = &turning[at];
                    let was_revoked = is_revoked.load(Ordering::SeqCst);
                    let known = list.known_status(token);
                    let status = list.status(token).await.unwrap();
                    if was_revoked {
                        assert_ne!(known, Some(TokenStatus::Valid));
                        assert_eq!(status, TokenStatus::Revoked);
                    }
                    checked += 1;
                    // The memory store never yields: leave a core to the writers.
                    tokio::task::yield_now().await;
                }
                checked
            });
        }
        while let Some(checked) = tasks.join_next().await {
            checked.unwrap();
        }
        assert_eq!(store.len(), 500 + 500 + ADDED as u64);
        for number in 0..ADDED {
            let id = numbered(number);
            let listed = store.look_up(&[KeyDigest::of_token(id)]).await;
            assert!(listed.unwrap()[0].is_some(), "revocation {number} was lost");
        }
        for (token, _) in turning.iter() {
            assert_eq!(list.status(token).await.unwrap(), TokenStatus::Revoked);
        }
    });
}

fn numbered(number: usize) -> TokenId {
    let mut bytes = [0; 16];
    for (at, chunk) in bytes.chunks_mut(8).enumerate() {
        let mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 + 2 * at as u64);
        chunk.copy_from_slice(&mixed.to_le_bytes());
    }
    TokenId::from_bytes(bytes)
}

/// Takes uses through the list from all threads at once: n uses have n winners.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn trap_01_as_many_takers_win_as_there_are_uses() {
    let list = RevocationList::in_memory();
    let token = Arc::new(token("1"));
    let mut uses = JoinSet::new();
    for id in 0..2_000_u32 {
        let (list, mut use_) = (list.clone(), new_use(&token, 0, 300));
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&id.to_le_bytes());
        use_.id = UseId::from_bytes(bytes);
        use_.until = None;
        uses.spawn(async move { list.take_use(use_).await.unwrap() });
    }
    let outcomes = uses.join_all().await;
    let won = |outcome: &&UseOutcome| matches!(outcome, UseOutcome::Taken { .. });
    assert_eq!(outcomes.iter().filter(won).count(), 300);
    assert_eq!(list.status(&token).await.unwrap(), TokenStatus::Spent);
}
