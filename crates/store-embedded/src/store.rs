//! The store: hands calls to the threads, and limits how long they may take.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use tokio::runtime::Handle;
use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Cursor, IssuedTokenStore, KeyDigest, Lift, LiftRecord,
    Listed, RecordFilter, RecordPage, Records, Revocation, Store, StoreError, UnixTime, Use,
    UseOutcome,
};

use crate::{
    EmbeddedStoreBuilder, EmbeddedStoreError,
    cursor::{self, FeedCursor, Load, RecordsCursor},
    group::Group,
    reading,
    shared::{Open, Shared},
    threads::Threads,
};

/// The maximum number of revocations in one group. More are split.
const AT_ONCE: usize = 4_096;

/// A [`Store`] in one local folder. Clones share it and are cheap.
///
/// The [crate docs](crate) state its guarantees. Dropping the last handle blocks until pending
/// writes are done and the folder is closed.
#[derive(Clone)]
pub struct EmbeddedStore(Arc<Inner>);

struct Inner {
    // Dropped first, because the threads hold the file open.
    threads: Threads,
    shared: Arc<Shared>,
    request_timeout: Duration,
}

impl EmbeddedStore {
    /// Opens the store in a folder, or creates it, with the default settings.
    ///
    /// # Errors
    /// As [`EmbeddedStoreBuilder::open`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, EmbeddedStoreError> {
        Self::builder(path).open()
    }

    /// Returns a builder for the store in a folder.
    pub fn builder(path: impl Into<PathBuf>) -> EmbeddedStoreBuilder {
        EmbeddedStoreBuilder::new(path.into())
    }

    pub(crate) fn new(shared: Arc<Shared>, threads: Threads, request_timeout: Duration) -> Self {
        Self(Arc::new(Inner {
            threads,
            shared,
            request_timeout,
        }))
    }

    pub(crate) fn id(&self) -> [u8; 16] {
        self.0.shared.folder.store
    }

    /// Executes a call on the writing thread.
    pub(crate) async fn write<T: Send + 'static, E: Into<StoreError>>(
        &self,
        act: impl FnOnce(&mut Group<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.in_time(self.0.threads.write(act)).await
    }

    /// Executes a call on the writing thread, however long that takes.
    #[cfg(feature = "outbox")]
    pub(crate) async fn write_without_timeout<T: Send + 'static, E: Into<StoreError>>(
        &self,
        act: impl FnOnce(&mut Group<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0.threads.write(act).await
    }

    /// Executes a call on a reading thread.
    pub(crate) async fn read<T: Send + 'static, E: Into<StoreError>>(
        &self,
        act: impl FnOnce(&Shared, &Open) -> Result<T, E> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.in_time(self.0.threads.read(act)).await
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

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// Works on a group, without a timeout.
    #[cfg(test)]
    pub(crate) async fn alone(&self, work: impl FnOnce(&mut Group<'_>) + Send + 'static) {
        let work = move |group: &mut Group<'_>| -> Result<(), StoreError> {
            work(group);
            group.must_commit = true;
            Ok(())
        };
        self.0.threads.write(work).await.expect("a commit");
    }
}

impl Store for EmbeddedStore {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        for some in revocations.chunks(AT_ONCE) {
            let some = some.to_vec();
            self.write(move |group| some.iter().try_for_each(|one| group.revoke(one)))
                .await?;
        }
        Ok(())
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let lift = lift.clone();
        self.write(move |group| group.lift(&lift)).await
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        let keys = keys.to_vec();
        self.read(move |_, open| reading::look_up(open, &keys))
            .await
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        let use_ = *use_;
        self.write(move |group| group.take_use(&use_, now)).await
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        let use_ = *use_;
        self.write(move |group| group.return_use(&use_)).await
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        let (mut dropped, mut after) = (0, None);
        loop {
            let step = move |group: &mut Group<'_>| group.purge(before, after);
            let (some, last) = self.0.threads.write(step).await?;
            dropped += some;
            if last.is_none() {
                break;
            }
            after = last;
        }
        loop {
            let step = move |group: &mut Group<'_>| group.purge_issued(before);
            let (some, has_more) = self.0.threads.write(step).await?;
            dropped += some;
            if !has_more {
                break;
            }
        }
        #[cfg(feature = "outbox")]
        {
            dropped += self.purge_owed(before).await?;
        }
        let compact = move |shared: &Shared, open: &Open| shared.compact_if_worth_it(open, dropped);
        self.0.threads.read(compact).await?;
        Ok(dropped)
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

impl ChangeFeed for EmbeddedStore {
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            let since = since.map(|cursor| cursor::read(cursor::FEED, self.id(), cursor));
            let since = since.transpose()?;
            self.read(move |shared, open| reading::changes(shared, open, since))
                .await
        })
    }

    fn end(&self) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        Box::pin(async move { self.read(reading::end).await.map(Some) })
    }

    fn listed<'a>(
        &'a self,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            let after = after.map(|cursor| cursor::read(cursor::LISTED, self.id(), cursor));
            let after: Load = after.transpose()?.flatten();
            self.read(move |shared, open| reading::listed(shared, open, after))
                .await
        })
    }

    fn changed<'a>(&'a self, since: &'a Cursor) -> BoxFuture<'a, Option<Changes>> {
        Box::pin(async move {
            let cursor = cursor::read::<FeedCursor>(cursor::FEED, self.id(), since);
            // If the cursor is foreign, invalid or within a full load, `changes` has an answer at
            // once.
            if let Ok(cursor) = cursor
                && cursor.load.is_none()
            {
                let mut news = self.0.shared.news.subscribe();
                // Fails only once the sender is dropped, and this handle keeps it.
                let _ = news.wait_for(|last| *last > cursor.group).await;
            }
            None
        })
    }

    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            for some in known.chunks(AT_ONCE) {
                let some = some.to_vec();
                self.write(move |group| some.iter().try_for_each(|one| group.restore(one)))
                    .await?;
            }
            Ok(())
        })
    }
}

/// Pages are in the order of the digests.
impl Records for EmbeddedStore {
    fn page<'a>(
        &'a self,
        wanted: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        Box::pin(async move {
            let after = after.map(|cursor| cursor::read(cursor::RECORDS, self.id(), cursor));
            let mut after: Option<RecordsCursor> = after.transpose()?;
            let at_most = at_most.max(1);
            let mut page = RecordPage::default();
            loop {
                let (wanted, room) = (wanted.clone(), at_most - page.records.len());
                let read = move |shared: &Shared, open: &Open| {
                    reading::records(shared, open, &wanted, after, room)
                };
                let (more, last) = self.read(read).await?;
                page.records.extend(more.records);
                page.next = more.next;
                if last.is_none() {
                    return Ok(page);
                }
                after = last;
            }
        })
    }

    fn last_lift<'a>(
        &'a self,
        key: &'a KeyDigest,
    ) -> BoxFuture<'a, Result<Option<LiftRecord>, StoreError>> {
        let key = *key;
        Box::pin(self.read(move |_: &Shared, open: &Open| reading::last_lift(open, key)))
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("path", &self.0.shared.folder.path)
            .finish_non_exhaustive()
    }
}
