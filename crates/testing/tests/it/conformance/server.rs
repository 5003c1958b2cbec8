//! A simulated store server: data that outlive the handles, pages, wake-ups, and every fault of the
//! suite.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Cursor, IssuedToken, IssuedTokenStore, KeyDigest, Lift,
    LiftRecord, Listed, Records, Revocation, Store, StoreError, UnixTime, Use, UseOutcome,
};
use tower_revoke_list::MemoryStore;
use tower_revoke_testing::conformance::Fault;

/// Small, so that there are many page boundaries.
pub(crate) const PAGE: usize = 500;
const ANSWER_WITHIN: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Down,
    Frozen,
}

pub(crate) struct Server {
    inner: Mutex<Inner>,
    /// Changed by every write.
    writes: watch::Sender<u64>,
}

struct Inner {
    state: State,
    store: MemoryStore,
    /// Histories that were dropped.
    past: Vec<MemoryStore>,
    journal: Vec<Op>,
    backup: usize,
    loads: HashMap<u64, Load>,
}

/// A full load in progress: its changes, and the position of the feed before it began.
#[derive(Clone)]
struct Load {
    changes: Arc<Vec<Change>>,
    feed: Cursor,
}

#[derive(Clone)]
pub(crate) enum Op {
    Revoke(Vec<Revocation>),
    Lift(Lift),
    Use(Use, UnixTime),
    Release(Use),
    Restore(Vec<Change>),
    Purge(UnixTime),
    Issue(Box<IssuedToken>),
}

static LOADS: AtomicU64 = AtomicU64::new(1);

impl Server {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                state: State::Up,
                store: MemoryStore::new(),
                past: Vec::new(),
                journal: Vec::new(),
                backup: 0,
                loads: HashMap::new(),
            }),
            writes: watch::Sender::new(0),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Returns the underlying store, whatever state the server is in.
    pub(crate) fn store(&self) -> MemoryStore {
        self.inner().store.clone()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.inner().state == State::Up
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.inner().state == State::Frozen
    }

    pub(crate) async fn inject(&self, fault: Fault) {
        match fault {
            Fault::Stop => self.inner().state = State::Down,
            Fault::Freeze => self.inner().state = State::Frozen,
            Fault::Restart => {}
            Fault::Trim => {
                let _ = self.store().feed_capacity(0).feed_capacity(65_536);
            }
            Fault::Backup => {
                let mut inner = self.inner();
                inner.backup = inner.journal.len();
            }
            Fault::PlayBack => self.play_back().await,
            _ => self.inner().state = State::Up,
        }
    }

    async fn play_back(&self) {
        let store = MemoryStore::new();
        let journal = {
            let inner = self.inner();
            inner.journal[..inner.backup].to_vec()
        };
        for op in journal {
            // An operation that failed then fails again.
            match op {
                Op::Revoke(revocations) => drop(store.revoke(&revocations).await),
                Op::Lift(lift) => drop(store.lift(&lift).await),
                Op::Use(use_, now) => drop(store.take_use(&use_, now).await),
                Op::Release(use_) => drop(store.return_use(&use_).await),
                Op::Restore(known) => drop(store.restore(&known).await),
                Op::Purge(before) => drop(store.purge(before).await),
                Op::Issue(token) => drop(store.insert(&token).await),
            }
        }
        let mut inner = self.inner();
        let backup = inner.backup;
        inner.journal.truncate(backup);
        let past = std::mem::replace(&mut inner.store, store);
        inner.past.push(past);
        inner.loads.clear();
    }
}

/// A node's handle.
#[derive(Clone)]
pub(crate) struct Handle(pub(crate) Arc<Server>);

impl Handle {
    /// Returns the store if the server answers.
    pub(crate) async fn reach(&self) -> Result<MemoryStore, StoreError> {
        let state = self.0.inner().state;
        match state {
            State::Up => Ok(self.0.store()),
            State::Down => Err(StoreError::Unavailable("connection refused".into())),
            State::Frozen => {
                tokio::time::sleep(ANSWER_WITHIN).await;
                Err(StoreError::TimedOut(ANSWER_WITHIN))
            }
        }
    }

    pub(crate) async fn write(&self, op: Op) -> Result<MemoryStore, StoreError> {
        let store = self.reach().await?;
        self.0.inner().journal.push(op);
        Ok(store)
    }

    fn wrote(&self) {
        self.0.writes.send_modify(|writes| *writes += 1);
    }

    /// Returns one page of a load, whose cursor is `[1, id, from]`.
    pub(crate) fn load_page(&self, id: u64, from: usize) -> Result<Changes, StoreError> {
        let load = self.0.inner().loads.get(&id).cloned();
        let load = load.ok_or(StoreError::ForeignCursor)?;
        let to = load.changes.len().min(from + PAGE);
        let changes = load.changes.get(from..to);
        let more = to < load.changes.len();
        Ok(Changes {
            changes: changes.ok_or(StoreError::ForeignCursor)?.to_vec(),
            next: if more {
                load_cursor(id, to)
            } else {
                feed_cursor(&load.feed)
            },
            // Writes during the load are in the feed.
            more: more || from > 0,
        })
    }

    async fn load(&self, store: &MemoryStore) -> Result<Changes, StoreError> {
        let all = store.changes(None).await?;
        let id = LOADS.fetch_add(1, Ordering::SeqCst);
        let load = Load {
            changes: Arc::new(all.changes),
            feed: all.next,
        };
        self.0.inner().loads.insert(id, load);
        self.load_page(id, 0)
    }

    /// Returns one page of the feed, whose cursor is `[0, …the cursor of the store…]`.
    async fn follow(&self, store: &MemoryStore, since: &[u8]) -> Result<Changes, StoreError> {
        let since = Cursor::new(since);
        let all = match store.changes(Some(&since)).await {
            Err(StoreError::ForeignCursor) => {
                let past = self.0.inner().past.clone();
                for store in past {
                    if store.changes(Some(&since)).await.is_ok() {
                        return Err(StoreError::HistoryWentBack);
                    }
                }
                return Err(StoreError::ForeignCursor);
            }
            all => all?,
        };
        let page = all.changes.len().min(PAGE);
        Ok(Changes {
            changes: all.changes[..page].to_vec(),
            next: feed_cursor(&moved(&since, page as u64)),
            more: page < all.changes.len(),
        })
    }
}

fn feed_cursor(of_store: &Cursor) -> Cursor {
    Cursor::new([&[0], of_store.as_bytes()].concat())
}

fn load_cursor(id: u64, from: usize) -> Cursor {
    let from = (from as u64).to_be_bytes();
    Cursor::new([&[1], &id.to_be_bytes()[..], &from].concat())
}

/// Returns the id and the position of a load, if the cursor is within one.
pub(crate) fn in_load(cursor: &Cursor) -> Option<(u64, usize)> {
    let (1, rest) = cursor.as_bytes().split_first()? else {
        return None;
    };
    let (id, from) = rest.split_first_chunk()?;
    let from = u64::from_be_bytes(from.try_into().ok()?);
    Some((u64::from_be_bytes(*id), usize::try_from(from).ok()?))
}

/// Advances the memory store's cursor: its last eight bytes count the changes.
fn moved(cursor: &Cursor, by: u64) -> Cursor {
    let (store, at) = cursor.as_bytes().split_at(8);
    let at = u64::from_be_bytes(at.try_into().unwrap()) + by;
    Cursor::new([store, &at.to_be_bytes()].concat())
}

impl Store for Handle {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        let store = self.write(Op::Revoke(revocations.to_vec())).await?;
        store.revoke(revocations).await?;
        self.wrote();
        Ok(())
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let store = self.write(Op::Lift(lift.clone())).await?;
        let lifted = store.lift(lift).await?;
        self.wrote();
        Ok(lifted)
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        self.reach().await?.look_up(keys).await
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        let store = self.write(Op::Use(*use_, now)).await?;
        // Lets other calls interleave, as with a real server.
        tokio::task::yield_now().await;
        let outcome = store.take_use(use_, now).await?;
        self.wrote();
        Ok(outcome)
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        let store = self.write(Op::Release(*use_)).await?;
        let released = store.return_use(use_).await?;
        self.wrote();
        Ok(released)
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        let store = self.write(Op::Purge(before)).await?;
        store.purge(before).await
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        Some(self)
    }

    fn records(&self) -> Option<&dyn Records> {
        Some(self)
    }

    fn issued_tokens(&self) -> Option<&dyn IssuedTokenStore> {
        Some(self)
    }
}

impl ChangeFeed for Handle {
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            let store = self.reach().await?;
            let Some(cursor) = since else {
                return self.load(&store).await;
            };
            match cursor.as_bytes().split_first() {
                Some((0, since)) => self.follow(&store, since).await,
                Some((1, _)) => {
                    let (id, from) = in_load(cursor).ok_or(StoreError::ForeignCursor)?;
                    self.load_page(id, from)
                }
                _ => Err(StoreError::ForeignCursor),
            }
        })
    }

    fn end(&self) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        Box::pin(async move {
            let store = self.reach().await?;
            Ok(Some(feed_cursor(&store.changes(None).await?.next)))
        })
    }

    fn listed<'a>(
        &'a self,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            let store = self.reach().await?;
            let page = match after {
                None => self.load(&store).await?,
                Some(after) => {
                    let (id, from) = in_load(after).ok_or(StoreError::ForeignCursor)?;
                    self.load_page(id, from)?
                }
            };
            let more = in_load(&page.next).is_some();
            Ok(Changes { more, ..page })
        })
    }

    fn changed<'a>(&'a self, since: &'a Cursor) -> BoxFuture<'a, Option<Changes>> {
        Box::pin(async move {
            let mut writes = self.0.writes.subscribe();
            loop {
                let news = self.changes(Some(since)).await;
                if let Ok(news) = news
                    && !news.changes.is_empty()
                {
                    return Some(news);
                }
                // The sender lives in the server: this can't fail.
                let _ = writes.changed().await;
            }
        })
    }

    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let store = self.write(Op::Restore(known.to_vec())).await?;
            store.restore(known).await?;
            self.wrote();
            Ok(())
        })
    }
}

impl Records for Handle {
    fn page<'a>(
        &'a self,
        wanted: &'a tower_revoke_core::RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<tower_revoke_core::RecordPage, StoreError>> {
        Box::pin(async move {
            let store = self.reach().await?;
            store.page(wanted, after, at_most).await
        })
    }

    fn last_lift<'a>(
        &'a self,
        key: &'a KeyDigest,
    ) -> BoxFuture<'a, Result<Option<LiftRecord>, StoreError>> {
        Box::pin(async move { self.reach().await?.last_lift(key).await })
    }
}
