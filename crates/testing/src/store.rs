//! A store that works, fails, hangs or answers late, as a test tells it to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Cursor, IssuedToken, IssuedTokenPage, IssuedTokenStore,
    KeyDigest, Lift, Listed, Records, Revocation, Store, StoreError, TokenHash, UnixTime, Use,
    UseOutcome,
};

/// An operation of a store, to be scripted and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreOp {
    /// [`Store::revoke`].
    Revoke,
    /// [`Store::lift`].
    Lift,
    /// [`Store::look_up`].
    LookUp,
    /// [`Store::take_use`].
    TakeUse,
    /// [`Store::return_use`].
    ReturnUse,
    /// [`ChangeFeed::changes`] and [`ChangeFeed::listed`].
    Changes,
    /// [`ChangeFeed::restore`].
    Restore,
    /// [`Store::purge`].
    Purge,
    /// [`IssuedTokenStore::insert`].
    InsertIssuedToken,
    /// [`IssuedTokenStore::find`] and [`IssuedTokenStore::page_of`].
    FindIssuedToken,
}

/// How a [`ScriptedStore`] behaves when an operation is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// Passes the call to the inner store.
    Works,
    /// Fails at once with [`StoreError::Unavailable`], without calling the inner store.
    Fails,
    /// Calls the inner store and then fails with [`StoreError::Unavailable`].
    ///
    /// The operation has happened but the caller can't know, as when the connection breaks before
    /// the answer arrives.
    LosesTheAnswer,
    /// Never resolves, and never calls the inner store.
    Frozen,
    /// Calls the inner store after a delay, in tokio's time.
    Slow(Duration),
}

/// A store whose operations a test can make fail, hang or answer late.
///
/// It wraps another store. Every operation [works](Behavior::Works) until
/// [`StoreScript::set`] changes that. [`Store::records`] and
/// [`ChangeFeed::changed`] always go to the inner store.
///
/// # Examples
/// ```
/// use tower_revoke_core::Store;
/// use tower_revoke_testing::{Behavior, ScriptedStore, StoreOp};
///
/// # async fn example(memory: impl Store) {
/// let (store, script) = ScriptedStore::over(memory);
/// script.set(StoreOp::LookUp, Behavior::Fails);
/// assert!(store.look_up(&[]).await.is_err());
/// assert_eq!(script.calls(StoreOp::LookUp), 1);
/// # }
/// ```
#[derive(Debug)]
pub struct ScriptedStore<S> {
    store: S,
    script: StoreScript,
}

/// Controls a [`ScriptedStore`] and counts its calls. Clones control the same store.
#[derive(Clone, Debug)]
pub struct StoreScript(Arc<Script>);

#[derive(Debug)]
struct Script {
    behaviors: Mutex<Behaviors>,
    calls: watch::Sender<HashMap<StoreOp, u64>>,
}

/// The behavior of all operations but those that have one of their own.
#[derive(Debug)]
struct Behaviors {
    of_all: Behavior,
    of_one: HashMap<StoreOp, Behavior>,
}

impl Behaviors {
    fn of_all(behavior: Behavior) -> Self {
        Self {
            of_all: behavior,
            of_one: HashMap::new(),
        }
    }
}

impl<S: Store> ScriptedStore<S> {
    /// Wraps `store`, and returns the wrapper with the script that controls it.
    pub fn over(store: S) -> (Self, StoreScript) {
        let script = StoreScript(Arc::new(Script {
            behaviors: Mutex::new(Behaviors::of_all(Behavior::Works)),
            calls: watch::Sender::default(),
        }));
        let scripted = Self {
            store,
            script: script.clone(),
        };
        (scripted, script)
    }

    fn inner_feed(&self) -> &dyn ChangeFeed {
        let feed = self.store.feed();
        feed.expect("it is asked for its feed only if the store behind has one")
    }

    fn inner_issued_tokens(&self) -> &dyn IssuedTokenStore {
        let issued = self.store.issued_tokens();
        issued.expect("it is asked for its tokens only if the store behind keeps some")
    }

    async fn run<T>(
        &self,
        op: StoreOp,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        match self.script.begin(op) {
            Behavior::Works => call.await,
            Behavior::Fails => Err(StoreError::Unavailable("told to fail".into())),
            Behavior::LosesTheAnswer => {
                call.await?;
                Err(StoreError::Unavailable("told to lose the answer".into()))
            }
            Behavior::Frozen => std::future::pending().await,
            Behavior::Slow(after) => {
                tokio::time::sleep(after).await;
                call.await
            }
        }
    }
}

impl StoreScript {
    /// Sets the behavior of `op`, for calls that begin from now on.
    pub fn set(&self, op: StoreOp, behavior: Behavior) {
        self.behaviors().of_one.insert(op, behavior);
    }

    /// Sets the behavior of all operations, for calls that begin from now on.
    pub fn set_all(&self, behavior: Behavior) {
        *self.behaviors() = Behaviors::of_all(behavior);
    }

    /// Returns how often `op` was called, whatever came of the calls.
    pub fn calls(&self, op: StoreOp) -> u64 {
        self.0.calls.borrow().get(&op).copied().unwrap_or_default()
    }

    /// Waits until `op` was called at least `times` times.
    pub async fn called(&self, op: StoreOp, times: u64) {
        let mut calls = self.0.calls.subscribe();
        let enough = |calls: &HashMap<StoreOp, u64>| calls.get(&op).is_some_and(|n| *n >= times);
        // The sender lives in `self`, so this can't fail.
        let _ = calls.wait_for(enough).await;
    }

    fn begin(&self, op: StoreOp) -> Behavior {
        self.0
            .calls
            .send_modify(|calls| *calls.entry(op).or_default() += 1);
        let behaviors = self.behaviors();
        *behaviors.of_one.get(&op).unwrap_or(&behaviors.of_all)
    }

    fn behaviors(&self) -> MutexGuard<'_, Behaviors> {
        let behaviors = self.0.behaviors.lock();
        behaviors.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> Store for ScriptedStore<S> {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        self.run(StoreOp::Revoke, self.store.revoke(revocations))
            .await
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        self.run(StoreOp::Lift, self.store.lift(lift)).await
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        self.run(StoreOp::LookUp, self.store.look_up(keys)).await
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        self.run(StoreOp::TakeUse, self.store.take_use(use_, now))
            .await
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        self.run(StoreOp::ReturnUse, self.store.return_use(use_))
            .await
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        self.run(StoreOp::Purge, self.store.purge(before)).await
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        self.store.feed().map(|_| self as &dyn ChangeFeed)
    }

    /// Not scripted.
    fn records(&self) -> Option<&dyn Records> {
        self.store.records()
    }

    fn issued_tokens(&self) -> Option<&dyn IssuedTokenStore> {
        self.store
            .issued_tokens()
            .map(|_| self as &dyn IssuedTokenStore)
    }
}

impl<S: Store> IssuedTokenStore for ScriptedStore<S> {
    fn insert<'a>(&'a self, token: &'a IssuedToken) -> BoxFuture<'a, Result<(), StoreError>> {
        let insert = self.inner_issued_tokens().insert(token);
        Box::pin(self.run(StoreOp::InsertIssuedToken, insert))
    }

    fn find<'a>(
        &'a self,
        hash: &'a TokenHash,
    ) -> BoxFuture<'a, Result<Option<IssuedToken>, StoreError>> {
        let find = self.inner_issued_tokens().find(hash);
        Box::pin(self.run(StoreOp::FindIssuedToken, find))
    }

    fn page_of<'a>(
        &'a self,
        holder: &'a KeyDigest,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<IssuedTokenPage, StoreError>> {
        let page = self.inner_issued_tokens().page_of(holder, after, at_most);
        Box::pin(self.run(StoreOp::FindIssuedToken, page))
    }
}

impl<S: Store> ChangeFeed for ScriptedStore<S> {
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            self.run(StoreOp::Changes, self.inner_feed().changes(since))
                .await
        })
    }

    /// Not scripted.
    fn end(&self) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        self.inner_feed().end()
    }

    fn listed<'a>(
        &'a self,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            self.run(StoreOp::Changes, self.inner_feed().listed(after))
                .await
        })
    }

    fn changed<'a>(&'a self, since: &'a Cursor) -> BoxFuture<'a, Option<Changes>> {
        self.inner_feed().changed(since)
    }

    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.run(StoreOp::Restore, self.inner_feed().restore(known))
                .await
        })
    }
}
