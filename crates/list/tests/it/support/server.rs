//! A store that many nodes share, with a paged feed that the test can hold, and a history that can
//! be set back.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::watch;
use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Cursor, KeyDigest, Lift, Listed, Records, Revocation,
    Store, StoreError, UnixTime, Use, UseOutcome,
};
use tower_revoke_list::MemoryStore;

/// A write that the server received, so that it can be replayed.
#[derive(Clone, Debug)]
enum Said {
    Revoke(Vec<Revocation>),
    Lift(Lift),
    Use(Use, UnixTime),
    Release(Use),
    Restore(Vec<Change>),
}

pub type Lie = fn(Option<&Cursor>, Changes) -> Result<Changes, StoreError>;

/// Returns empty pages without end.
pub const ENDLESS: Lie = |_, page| {
    Ok(Changes {
        changes: vec![],
        more: true,
        ..page
    })
};

#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    store: Mutex<MemoryStore>,
    said: Mutex<Vec<Said>>,
    /// The id of the database, as in its cursors.
    database: AtomicUsize,
    /// The number of times its history was set back, as in its cursors.
    epoch: AtomicUsize,
    page: AtomicUsize,
    pushes: AtomicBool,
    hands_over: AtomicBool,
    hides_feed: AtomicBool,
    lie: Mutex<Option<Lie>>,
    /// Pages that were read wait here before they are returned.
    open: watch::Sender<bool>,
    /// The number of pages that have waited there.
    held: watch::Sender<usize>,
    wrote: watch::Sender<u64>,
}

impl Server {
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            store: Mutex::new(MemoryStore::new()),
            said: Mutex::default(),
            database: AtomicUsize::new(0),
            epoch: AtomicUsize::new(0),
            page: AtomicUsize::new(usize::MAX),
            pushes: AtomicBool::new(false),
            hands_over: AtomicBool::new(false),
            hides_feed: AtomicBool::new(false),
            lie: Mutex::default(),
            open: watch::Sender::new(true),
            held: watch::Sender::new(0),
            wrote: watch::Sender::new(0),
        }))
    }

    /// Sets the number of changes in a page.
    pub fn page(&self, changes: usize) {
        self.0.page.store(changes, Ordering::SeqCst);
    }

    pub fn push(&self) {
        self.0.pushes.store(true, Ordering::SeqCst);
    }

    /// Pushes, with the changes themselves.
    pub fn hand_over(&self) {
        self.0.hands_over.store(true, Ordering::SeqCst);
        self.push();
    }

    /// Nodes that start from now on see no feed.
    pub fn hide_feed(&self) {
        self.0.hides_feed.store(true, Ordering::SeqCst);
    }

    /// Replaces the answers of the feed.
    pub fn lie(&self, lie: Option<Lie>) {
        *self.0.lie.lock().unwrap() = lie;
    }

    /// Holds pages after they were read, or releases them.
    pub fn hold(&self, hold: bool) {
        self.0.open.send_replace(!hold);
    }

    /// Waits until this many pages were held.
    pub async fn holds(&self, times: usize) {
        let mut held = self.0.held.subscribe();
        held.wait_for(|held| *held >= times).await.unwrap();
    }

    pub fn held(&self) -> usize {
        *self.0.held.borrow()
    }

    /// Returns the number of writes so far.
    pub fn history(&self) -> usize {
        self.0.said.lock().unwrap().len()
    }

    /// Drops the writes after `history`, as a replica that takes over does. With `noticed`, the
    /// server recognizes cursors that are ahead of it.
    pub async fn set_back(&self, history: usize, noticed: bool) {
        let said = {
            let mut said = self.0.said.lock().unwrap();
            said.truncate(history);
            said.clone()
        };
        let store = MemoryStore::new();
        for said in said {
            match said {
                Said::Revoke(revocations) => store.revoke(&revocations).await.unwrap(),
                Said::Lift(lift) => drop(store.lift(&lift).await.unwrap()),
                Said::Use(use_, now) => drop(store.take_use(&use_, now).await),
                Said::Release(use_) => drop(store.return_use(&use_).await.unwrap()),
                Said::Restore(known) => store.restore(&known).await.unwrap(),
            }
        }
        *self.0.store.lock().unwrap() = store;
        if noticed {
            self.0.epoch.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Replaces this database by another, empty one.
    pub async fn replace(&self) {
        self.set_back(0, false).await;
        self.0.database.fetch_add(1, Ordering::SeqCst);
    }

    /// Drops all changes from the feed.
    pub fn trim(&self) {
        self.keep_changes(0);
        self.keep_changes(65_536);
    }

    /// Sets the number of changes that the feed keeps from now on.
    pub fn keep_changes(&self, changes: usize) {
        let _ = self.store().feed_capacity(changes);
    }

    pub async fn lists(&self, key: KeyDigest) -> Option<Listed> {
        self.store().look_up(&[key]).await.unwrap()[0]
    }

    /// Returns the number of handles to it.
    pub fn shared(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    fn store(&self) -> MemoryStore {
        self.0.store.lock().unwrap().clone()
    }

    fn say(&self, said: Said) {
        self.0.said.lock().unwrap().push(said);
    }

    fn wrote(&self) {
        self.0.wrote.send_modify(|wrote| *wrote += 1);
    }

    /// Returns a cursor of the current memory store.
    async fn place(&self, position: u64) -> Cursor {
        let end = self.store().changes(None).await.unwrap().next;
        Cursor::new([&end.as_bytes()[..8], &position.to_be_bytes()].concat())
    }

    async fn position(&self) -> u64 {
        let end = self.store().changes(None).await.unwrap().next;
        u64::from_be_bytes(end.as_bytes()[8..].try_into().unwrap())
    }

    fn cursor(&self, position: u64, after: Option<KeyDigest>) -> Cursor {
        let database = self.0.database.load(Ordering::SeqCst) as u32;
        let epoch = self.0.epoch.load(Ordering::SeqCst) as u32;
        let mut bytes = database.to_be_bytes().to_vec();
        bytes.extend(epoch.to_be_bytes());
        bytes.extend(position.to_be_bytes());
        bytes.extend(after.iter().flat_map(|key| key.as_bytes()));
        Cursor::new(bytes)
    }

    async fn read(&self, since: Option<&Cursor>) -> Result<Changes, StoreError> {
        let database = self.0.database.load(Ordering::SeqCst) as u32;
        let epoch = self.0.epoch.load(Ordering::SeqCst) as u32;
        let page = self.0.page.load(Ordering::SeqCst);
        let (position, after) = match since {
            None => (self.position().await, Some(None)),
            Some(cursor) => {
                let (head, after) = cursor
                    .as_bytes()
                    .split_at_checked(16)
                    .ok_or(StoreError::ForeignCursor)?;
                if head[..4] != database.to_be_bytes() {
                    return Err(StoreError::ForeignCursor);
                }
                if head[4..8] != epoch.to_be_bytes() {
                    return Err(StoreError::HistoryWentBack);
                }
                let position = u64::from_be_bytes(head[8..].try_into().unwrap());
                let key: Option<[u8; 16]> = after.try_into().ok();
                (position, key.map(Some))
            }
        };
        if let Some(after) = after {
            // A load, in the order of the keys.
            let mut all = self.store().changes(None).await?.changes;
            all.sort_by_key(|change| *change.key());
            let after = after.map(KeyDigest::from_bytes);
            all.retain(|change| Some(*change.key()) > after);
            let mut some: Vec<_> = all.iter().take(page).copied().collect();
            let last = some.last().map(|change| *change.key());
            // The second change under the same key.
            let rest = all.iter().skip(some.len());
            some.extend(rest.take_while(|change| Some(*change.key()) == last));
            let more = some.len() < all.len();
            return Ok(Changes {
                changes: some,
                next: self.cursor(position, last.filter(|_| more)),
                more,
            });
        }
        let mut changes = self
            .store()
            .changes(Some(&self.place(position).await))
            .await?
            .changes;
        let more = changes.len() > page;
        changes.truncate(page);
        let next = position + changes.len() as u64;
        Ok(Changes {
            changes,
            next: self.cursor(next, None),
            more,
        })
    }
}

impl Store for Server {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        self.store().revoke(revocations).await?;
        self.say(Said::Revoke(revocations.to_vec()));
        self.wrote();
        Ok(())
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let lifted = self.store().lift(lift).await?;
        self.say(Said::Lift(lift.clone()));
        self.wrote();
        Ok(lifted)
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        self.store().look_up(keys).await
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        let outcome = self.store().take_use(use_, now).await?;
        self.say(Said::Use(*use_, now));
        self.wrote();
        Ok(outcome)
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        let released = self.store().return_use(use_).await?;
        self.say(Said::Release(*use_));
        self.wrote();
        Ok(released)
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        self.store().purge(before).await
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        let hides_feed = self.0.hides_feed.load(Ordering::SeqCst);
        (!hides_feed).then_some(self)
    }

    fn records(&self) -> Option<&dyn Records> {
        None
    }
}

impl ChangeFeed for Server {
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            let read = self.read(since).await;
            let mut open = self.0.open.subscribe();
            if !*open.borrow() {
                self.0.held.send_modify(|held| *held += 1);
                open.wait_for(|open| *open).await.unwrap();
            }
            let lie = *self.0.lie.lock().unwrap();
            match lie {
                Some(lie) => lie(since, read?),
                None => read,
            }
        })
    }

    fn end(&self) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        Box::pin(async move { Ok(Some(self.cursor(self.position().await, None))) })
    }

    fn changed<'a>(&'a self, since: &'a Cursor) -> BoxFuture<'a, Option<Changes>> {
        Box::pin(async move {
            let mut wrote = self.0.wrote.subscribe();
            let position = u64::from_be_bytes(since.as_bytes()[8..16].try_into().unwrap());
            while !self.0.pushes.load(Ordering::SeqCst) || self.position().await <= position {
                if wrote.changed().await.is_err() {
                    std::future::pending().await
                }
            }
            let read = self.read(Some(since)).await.ok();
            read.filter(|_| self.0.hands_over.load(Ordering::SeqCst))
        })
    }

    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.store().restore(known).await?;
            self.say(Said::Restore(known.to_vec()));
            self.wrote();
            Ok(())
        })
    }
}
