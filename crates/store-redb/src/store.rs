//! The store: hands calls to the threads, and limits how long they may take.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use tokio::runtime::Handle;
use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Cursor, KeyDigest, Lift, Listed, RecordFilter,
    RecordPage, Records, Revocation, Store, StoreError, UnixTime, Use, UseOutcome,
};

use crate::{
    RedbStoreBuilder, RedbStoreError,
    cursor::{FeedCursor, RecordsCursor},
    reading,
    shared::Shared,
    threads::Threads,
};

/// The maximum number of revocations in one transaction. More are split.
const AT_ONCE: usize = 4_096;

/// A [`Store`] in one local file, by redb. Clones share the file and are cheap.
///
/// The [crate docs](crate) state its guarantees. Dropping the last handle blocks until pending
/// writes are done and the file is closed.
#[derive(Clone)]
pub struct RedbStore(Arc<Inner>);

struct Inner {
    // Dropped first, because the threads hold the file open.
    threads: Threads,
    shared: Arc<Shared>,
    request_timeout: Duration,
}

impl RedbStore {
    /// Opens the store in a file, or creates it, with the default settings.
    ///
    /// # Errors
    /// As [`RedbStoreBuilder::open`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, RedbStoreError> {
        Self::builder(path).open()
    }

    /// Returns a builder for the store in a file.
    pub fn builder(path: impl Into<PathBuf>) -> RedbStoreBuilder {
        RedbStoreBuilder::new(path.into())
    }

    pub(crate) fn new(shared: Arc<Shared>, threads: Threads, request_timeout: Duration) -> Self {
        Self(Arc::new(Inner {
            threads,
            shared,
            request_timeout,
        }))
    }

    /// Shrinks the file as far as possible, and returns whether it got smaller.
    ///
    /// All other calls wait meanwhile, about a second per million entries, and may time out. Call
    /// it at a quiet time after many entries have expired. [`purge`](Store::purge) compacts by
    /// itself if that takes less than half a second and returns most of a large file. Otherwise the
    /// free space is reused for new entries.
    ///
    /// # Errors
    /// If the file can't be read or written. No entry is lost, and the file may have shrunk in
    /// part.
    pub async fn compact(&self) -> Result<bool, StoreError> {
        self.0.threads.alone(Shared::compact).await
    }

    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if Handle::try_current().is_err() {
            return call.await;
        }
        let limit = self.0.request_timeout;
        let in_time = tokio::time::timeout(limit, call).await;
        in_time.unwrap_or(Err(StoreError::TimedOut(limit)))
    }

    /// Trims the whole feed.
    #[cfg(test)]
    pub(crate) async fn trim_all(&self) {
        let trim = |tables: &mut crate::tables::Tables<'_>| {
            tables.trim_all()?;
            Ok(Ok(()))
        };
        self.0.threads.write(trim).await.expect("a feed");
    }

    /// Runs `work` on the writer thread, without a timeout.
    #[cfg(test)]
    pub(crate) async fn alone(
        &self,
        work: impl FnOnce(&Shared) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        self.0.threads.alone(work).await
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }
}

impl Store for RedbStore {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        for some in revocations.chunks(AT_ONCE) {
            let some = some.to_vec();
            let write = self.0.threads.write(move |tables| {
                some.iter().try_for_each(|one| tables.revoke(one))?;
                Ok(Ok(()))
            });
            self.in_time(write).await?;
        }
        Ok(())
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let lift = lift.clone();
        let write = self
            .0
            .threads
            .write(move |tables| Ok(Ok(tables.lift(&lift)?)));
        self.in_time(write).await
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        let keys = keys.to_vec();
        let read = move |shared: &Shared| reading::look_up(shared, &keys);
        self.in_time(self.0.threads.read(read)).await
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        let use_ = *use_;
        let write = self
            .0
            .threads
            .write(move |tables| tables.take_use(&use_, now));
        self.in_time(write).await
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        let use_ = *use_;
        let write = self
            .0
            .threads
            .write(move |tables| Ok(Ok(tables.return_use(&use_)?)));
        self.in_time(write).await
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        let mut dropped = 0;
        loop {
            let step = self
                .0
                .threads
                .write(move |tables| Ok(Ok(tables.purge(before)?)));
            let (some, has_more) = step.await?;
            dropped += some;
            if !has_more {
                break;
            }
        }
        if dropped > 0 {
            self.0.threads.alone(Shared::compact_if_worth_it).await?;
        }
        Ok(dropped)
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        Some(self)
    }

    fn records(&self) -> Option<&dyn Records> {
        Some(self)
    }
}

impl ChangeFeed for RedbStore {
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            let since = since.map(FeedCursor::read).transpose()?;
            let read = move |shared: &Shared| reading::changes(shared, since.as_ref());
            self.in_time(self.0.threads.read(read)).await
        })
    }

    fn changed<'a>(&'a self, since: &'a Cursor) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match FeedCursor::read(since) {
                Ok(FeedCursor {
                    store,
                    position,
                    load: None,
                    ..
                }) if store == self.0.shared.identity.store => {
                    let mut news = self.0.shared.news.subscribe();
                    // Fails only once the sender is dropped, and this handle keeps it.
                    let _ = news.wait_for(|end| *end > position).await;
                }
                // The cursor is foreign, invalid or within a full load: `changes` has an answer at
                // once.
                _ => {}
            }
        })
    }

    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            for some in known.chunks(AT_ONCE) {
                let some = some.to_vec();
                let write = self.0.threads.write(move |tables| {
                    some.iter().try_for_each(|one| tables.restore(one))?;
                    Ok(Ok(()))
                });
                self.in_time(write).await?;
            }
            Ok(())
        })
    }
}

/// Pages are in the order of the digests.
impl Records for RedbStore {
    fn page<'a>(
        &'a self,
        wanted: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        Box::pin(async move {
            let mut after = match after.map(RecordsCursor::read).transpose()? {
                Some(cursor) if cursor.store != self.0.shared.identity.store => {
                    return Err(StoreError::ForeignCursor);
                }
                cursor => cursor.map(|cursor| cursor.last),
            };
            let at_most = at_most.max(1);
            let mut page = RecordPage::default();
            loop {
                let (wanted, room) = (wanted.clone(), at_most - page.records.len());
                let read = move |shared: &Shared| {
                    let identity = &shared.identity;
                    shared.read(|txn| reading::records(txn, identity, &wanted, after, room))
                };
                let (more, last) = self.in_time(self.0.threads.read(read)).await?;
                page.records.extend(more.records);
                page.next = more.next;
                if last.is_none() {
                    return Ok(page);
                }
                after = last;
            }
        })
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore")
            .field("path", &self.0.shared.place.path)
            .finish_non_exhaustive()
    }
}
