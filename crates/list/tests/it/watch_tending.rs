//! Tests who tends the watches of a list, and what that costs.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Builder;
use tower_revoke_core::{
    ChangeFeed, Clock, KeyDigest, Lift, Listed, Revocation, Revocations, Store, StoreError,
    TokenEnd, UnixTime, Use, UseOutcome, WatchToken,
};
use tower_revoke_list::{MemoryStore, RevocationList};

use crate::support::{ISSUED, end_of, lift, token};

/// A store in memory that counts its look-ups.
#[derive(Clone, Default)]
struct Counting {
    store: MemoryStore,
    asked: Arc<AtomicU64>,
}

impl Counting {
    /// Returns the number of look-ups since the last call.
    fn asked(&self) -> u64 {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

impl Store for Counting {
    const ANSWERS_AT_ONCE: bool = true;

    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        self.store.revoke(revocations).await
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        self.store.lift(lift).await
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.store.look_up(keys).await
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        self.store.take_use(use_, now).await
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        self.store.return_use(use_).await
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        self.store.purge(before).await
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        self.store.feed()
    }
}

fn watch(list: &RevocationList, jti: &str) -> Box<dyn WatchToken> {
    let list: Arc<dyn Revocations> = list.clone().into();
    list.watch(&token(jti), Some(Duration::from_secs(60)))
}

#[tokio::test(start_paused = true)]
async fn a_store_in_memory_is_asked_about_watches_only_once_it_has_changed() {
    const MAX_STALENESS: Duration = Duration::from_secs(5);
    let (clock, hand) = Clock::manual(ISSUED);
    let pass = async || {
        for _ in 0..20 {
            hand.advance(MAX_STALENESS / 20);
            tokio::time::sleep(MAX_STALENESS / 20).await;
        }
    };
    let store = Counting::default();
    let list = RevocationList::builder(store.clone()).max_staleness(MAX_STALENESS);
    let list = list.clock(clock).build().expect("a list");
    let watches: Vec<_> = (0..100).map(|jti| watch(&list, &jti.to_string())).collect();
    pass().await;
    assert_ne!(store.asked(), 0);
    for _ in 0..10 {
        pass().await;
    }
    assert_eq!(store.asked(), 0);

    // By another list over the same store.
    store
        .store
        .revoke(&[end_of(&token("7"))])
        .await
        .expect("revoked");
    pass().await;
    assert_ne!(store.asked(), 0);
    let ended = || watches.iter().filter(|watch| watch.end().is_some()).count();
    assert_eq!(ended(), 1);
    assert_eq!(watches[7].end(), Some(TokenEnd::Revoked));
    let lift = lift(token("7").id());
    assert!(store.store.lift(&lift).await.expect("lifted"));
    pass().await;
    assert_eq!(ended(), 0);
    store.asked();
    pass().await;
    assert_eq!(store.asked(), 0);
}

#[test]
fn watches_are_tended_after_the_runtime_in_which_they_began() {
    let runtime = || {
        Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
    };
    let (first, second) = (runtime().expect("a runtime"), runtime().expect("a runtime"));
    let store = MemoryStore::new();
    let list = RevocationList::builder(store.clone()).max_staleness(Duration::from_millis(100));
    let list = list.clock(Clock::manual(ISSUED).0).build().expect("a list");
    let watch = {
        let _entered = first.enter();
        watch(&list, "1")
    };
    let (polled, is_polled) = std::sync::mpsc::channel();
    let stream = second.spawn(poll_fn(move |cx| {
        let end = watch.poll_end(cx);
        let _ = polled.send(());
        end
    }));
    is_polled.recv().expect("it waits");
    first.shutdown_timeout(Duration::from_secs(60));
    second.block_on(async {
        store.revoke(&[end_of(&token("1"))]).await.expect("revoked");
        let end = tokio::time::timeout(Duration::from_secs(60), stream).await;
        let end = end.expect("somebody tends it").expect("no panic");
        assert_eq!(end, TokenEnd::Revoked);
    });
}
