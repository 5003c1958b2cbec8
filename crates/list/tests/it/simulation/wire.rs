//! The simulated network between a node and the store: delays and losses.

use std::{
    cell::RefCell,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::{sync::oneshot, time::sleep};
use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Cursor, KeyDigest, Lift, Listed, Revocation, Store,
    StoreError, UnixTime, Use, UseOutcome,
};
use tower_revoke_list::MemoryStore;

use crate::support::server::Server;

thread_local! {
    /// The random numbers of a history.
    static CHANCE: RefCell<Rng> = const { RefCell::new(Rng::with_seed(0)) };
}

/// Seeds the random numbers.
pub fn seed(seed: u64) {
    CHANCE.with_borrow_mut(|rng| *rng = Rng::with_seed(seed));
}

pub fn chance<R>(draw: impl FnOnce(&mut Rng) -> R) -> R {
    CHANCE.with_borrow_mut(draw)
}

/// The state of a network path, shared by a node's wire and the fault injection.
#[derive(Default)]
pub struct Way {
    pub cut: AtomicBool,
}

/// The state of the store itself.
#[derive(Default)]
pub struct Health {
    pub rejects: AtomicBool,
    pub frozen: AtomicBool,
}

/// A node's connection. A request that was sent may take effect even if its caller is gone.
#[derive(Clone)]
pub struct Wire {
    pub server: Server,
    pub way: Arc<Way>,
    pub health: Arc<Health>,
    /// Counts this node's uses instead of the server.
    pub alone: Option<MemoryStore>,
}

impl Wire {
    async fn ask<T, F>(
        &self,
        act: impl FnOnce(Server) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let (answer, answered) = oneshot::channel();
        let Self {
            server,
            way,
            health,
            ..
        } = self.clone();
        tokio::spawn(async move {
            sleep(delay()).await;
            if way.cut.load(Ordering::SeqCst) || health.frozen.load(Ordering::SeqCst) {
                // The request is lost: the caller never gets an answer.
                return pending().await;
            }
            if health.rejects.load(Ordering::SeqCst) {
                let rejected = StoreError::Unavailable("the store is down".into());
                return drop(answer.send(Err(rejected)));
            }
            let done = act(server).await;
            sleep(delay()).await;
            if way.cut.load(Ordering::SeqCst) || chance(|rng| rng.u8(..) < 8) {
                // The answer is lost, but the request took effect.
                return pending().await;
            }
            let _ = answer.send(done);
        });
        let gone = |_| StoreError::Unavailable("the world has ended".into());
        answered.await.map_err(gone)?
    }
}

/// The longest delay of a request to the store.
pub const LONGEST: Duration = Duration::from_millis(900);

/// Mostly short, sometimes long enough to be overtaken by everything else.
fn delay() -> Duration {
    let longest = LONGEST.as_millis() as u64;
    Duration::from_millis(chance(|rng| match rng.u8(..) {
        0..8 => rng.u64(0..longest),
        _ => rng.u64(0..20),
    }))
}

impl Store for Wire {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        let revocations = revocations.to_vec();
        self.ask(|server| async move { server.revoke(&revocations).await })
            .await
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let lift = lift.clone();
        self.ask(|server| async move { server.lift(&lift).await })
            .await
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        let keys = keys.to_vec();
        self.ask(|server| async move { server.look_up(&keys).await })
            .await
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        if let Some(alone) = &self.alone {
            return alone.take_use(use_, now).await;
        }
        let use_ = *use_;
        self.ask(move |server| async move { server.take_use(&use_, now).await })
            .await
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        if let Some(alone) = &self.alone {
            return alone.return_use(use_).await;
        }
        let use_ = *use_;
        self.ask(move |server| async move { server.return_use(&use_).await })
            .await
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        self.ask(move |server| async move { server.purge(before).await })
            .await
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        Some(self)
    }
}

impl ChangeFeed for Wire {
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            let since = since.cloned();
            self.ask(|server| async move { server.changes(since.as_ref()).await })
                .await
        })
    }

    fn changed<'a>(&'a self, since: &'a Cursor) -> BoxFuture<'a, Option<Changes>> {
        Box::pin(async move {
            self.server.changed(since).await;
            sleep(delay()).await;
            // Some of the hints bring what has changed by now, which arrives later. It has not asked
            // whether the store takes writes, and is not the whole page.
            let is_up =
                !self.way.cut.load(Ordering::SeqCst) && !self.health.frozen.load(Ordering::SeqCst);
            let hands_over = is_up && chance(|rng| rng.bool());
            let page = self.server.changes(Some(since)).await;
            let mut page = page.ok().filter(|_| hands_over)?;
            sleep(delay()).await;
            page.more = chance(|rng| rng.bool());
            Some(page)
        })
    }

    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let known = known.to_vec();
            self.ask(|server| async move { server.restore(&known).await })
                .await
        })
    }
}
