//! The store over any database: queues writes, reads, and bounds both by the request timeout.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
};
use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Cursor, IssuedTokenStore, KeyDigest, Lift, LiftRecord,
    Listed, RecordFilter, RecordPage, Records, Revocation, Store, StoreError, UnixTime, Use,
    UseOutcome, retention,
};

use crate::{
    backend::{Backend, Digest},
    cursor::{FeedCursor, RecordsCursor},
    error::{Failure, Kind},
    feed,
    op::{Answer, Op},
    queue::{Queue, Request},
    settings::Settings,
};

/// The maximum number of revocations in one request to the writing task; longer slices take
/// several.
const AT_ONCE: usize = 1_000;

/// The capacity of the channel to the writing task; further callers wait for room.
const WAITING: usize = 1_024;

/// How many rows of a table one step of a purge removes. Other writers can take the lock between
/// two steps.
const PURGED_AT_ONCE: i64 = 2_048;

/// A [`Store`] in one kind of database. Cheap to clone; clones are handles of the same store.
pub(crate) struct SqlStore<D>(Arc<Inner<D>>);

pub(crate) struct Inner<D> {
    /// The id of the store in the database, by which cursors of another store are rejected.
    pub(crate) id: Digest,
    pub(crate) backend: Arc<D>,
    /// The request timeout.
    within: Duration,
    writer: mpsc::Sender<Request>,
    /// The number of the last event, sent by the listener.
    news: watch::Sender<i64>,
    runtime: Handle,
    /// Started by the first call that waits for changes.
    listener: Mutex<Option<AbortHandle>>,
}

impl<D: Backend> Inner<D> {
    /// Starts the task that listens for changes, unless it runs.
    fn listen(&self) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.as_ref().is_none_or(AbortHandle::is_finished) {
            let (backend, news) = (Arc::clone(&self.backend), self.news.clone());
            let task = self
                .runtime
                .spawn(async move { backend.listen(&news).await });
            *listener = Some(task.abort_handle());
        }
    }

    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        let in_time = tokio::time::timeout(self.within, call).await;
        Ok(in_time.unwrap_or(Err(Failure::TimedOut(self.within)))?)
    }

    /// Sends a request to the writing task, and waits for its answer.
    pub(crate) async fn write(&self, ops: Vec<Op>) -> Result<Answer, StoreError> {
        // Checked before it is queued: in a batch it would fail the writes of other callers too.
        if ops.iter().any(|op| op.words() > self.backend.longest()) {
            return Err(Failure::TooLong.into());
        }
        self.in_time(async {
            let (reply, answer) = oneshot::channel();
            let request = Request { ops, reply };
            let sent = self.writer.send(request).await;
            sent.map_err(|_| Failure::Ended)?;
            answer.await.map_err(|_| Failure::Ended)?
        })
        .await
    }

    /// Reads, and retries after a serialization conflict or a broken connection. A restart of the
    /// server breaks every idle connection of the pool at once, so there are as many retries as the
    /// pool has connections.
    pub(crate) async fn read<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        self.in_time(async {
            let mut attempts = 0;
            loop {
                let failure = match ask().await {
                    Err(failure) => failure,
                    answer => return answer,
                };
                let kind = match &failure {
                    Failure::Database(error) => D::kind(error),
                    Failure::Undone(_) => Kind::Broken,
                    _ => return Err(failure),
                };
                match kind {
                    Kind::TimedOut => return Err(Failure::TimedOut(self.within)),
                    Kind::Broken | Kind::Again if attempts < self.backend.readers() => {
                        attempts += 1;
                    }
                    _ => return Err(failure),
                }
            }
        })
        .await
    }
}

impl<D> Drop for Inner<D> {
    fn drop(&mut self) {
        let listener = self.listener.get_mut();
        if let Some(task) = listener.unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl<D> SqlStore<D> {
    pub(crate) fn inner(&self) -> &Inner<D> {
        &self.0
    }
}

impl<D: Backend> SqlStore<D> {
    /// Starts the writing task over an open database. Must be called in a tokio runtime.
    pub(crate) fn start(id: Digest, backend: D, settings: &Settings) -> Self {
        let (writer, asked) = mpsc::channel(WAITING);
        let backend = Arc::new(backend);
        let queue = Queue {
            backend: Arc::clone(&backend),
            within: settings.request_timeout,
            feed_capacity: i64::try_from(settings.feed_capacity).unwrap_or(i64::MAX),
            // Bounded, so that no database overflows when it subtracts it from the time.
            feed_retention: settings.feed_retention.as_secs().min(1 << 40).cast_signed(),
            not_trimmed: Default::default(),
        };
        let runtime = Handle::current();
        runtime.spawn(queue.run(asked));
        Self(Arc::new(Inner {
            id,
            backend,
            within: settings.request_timeout,
            writer,
            news: watch::Sender::new(0),
            runtime,
            listener: Mutex::new(None),
        }))
    }
}

impl<D> Clone for SqlStore<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D: Backend> Store for SqlStore<D> {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        for some in revocations.chunks(AT_ONCE) {
            self.0.write(some.iter().map(Op::revoke).collect()).await?;
        }
        Ok(())
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let answer = self.0.write(vec![Op::lift(lift)]).await?;
        Ok(answer == Answer::Found(true))
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let inner = &*self.0;
        inner.read(|| inner.backend.look_up(keys)).await
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        if retention::has_ended(use_.until, now) {
            return Err(StoreError::Expired);
        }
        match self.0.write(vec![Op::take_use(use_)]).await? {
            Answer::Use(outcome) => Ok(outcome),
            Answer::LimitMismatch(stored) => Err(StoreError::LimitMismatch {
                stored,
                asked: use_.limit.get(),
            }),
            Answer::Expired => Err(StoreError::Expired),
            _ => Err(Failure::Garbled("an answer").into()),
        }
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        let answer = self.0.write(vec![Op::return_use(use_)]).await?;
        Ok(answer == Answer::Found(true))
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        let inner = &*self.0;
        let mut dropped = 0;
        loop {
            let (some, has_more) = inner
                .read(|| inner.backend.purge(before, PURGED_AT_ONCE))
                .await?;
            dropped += some;
            if !has_more {
                return Ok(dropped);
            }
        }
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

impl<D: Backend> ChangeFeed for SqlStore<D> {
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            let since = since.map(FeedCursor::read).transpose()?;
            let inner = &*self.0;
            inner
                .read(|| feed::changes(&*inner.backend, since.as_ref()))
                .await?
        })
    }

    fn end(&self) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        Box::pin(async move {
            let inner = &*self.0;
            let feed = inner.read(|| inner.backend.feed(i64::MAX, 0)).await?;
            Ok(Some(feed::end(&feed).write()))
        })
    }

    fn listed<'a>(
        &'a self,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            let inner = &*self.0;
            // Only the scan has a position; the caller follows the feed apart from it.
            let start = FeedCursor {
                store: inner.id,
                position: 0,
                mark: 0,
                load: None,
            };
            let cursor = after.map(FeedCursor::read).transpose()?.unwrap_or(start);
            if cursor.store != inner.id {
                return Err(StoreError::ForeignCursor);
            }
            inner.read(|| feed::listed(&*inner.backend, cursor)).await
        })
    }

    fn changed<'a>(&'a self, since: &'a Cursor) -> BoxFuture<'a, Option<Changes>> {
        Box::pin(async move {
            match FeedCursor::read(since) {
                Ok(FeedCursor {
                    store,
                    position,
                    load: None,
                    ..
                }) if store == self.0.id => {
                    let mut news = self.0.news.subscribe();
                    self.0.listen();
                    // The sender belongs to this handle, so it is not dropped while a caller waits.
                    let _ = news.wait_for(|last| *last > position).await;
                }
                // A load has a next page, and any other cursor an error: `changes` returns at once.
                _ => {}
            }
            None
        })
    }

    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            for some in known.chunks(AT_ONCE) {
                let ops: Vec<_> = some.iter().filter_map(Op::restore).collect();
                if !ops.is_empty() {
                    self.0.write(ops).await?;
                }
            }
            Ok(())
        })
    }
}

/// Pages are ordered by digest.
impl<D: Backend> Records for SqlStore<D> {
    fn page<'a>(
        &'a self,
        wanted: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        Box::pin(async move {
            let inner = &*self.0;
            let store = inner.id;
            let mut after = match after.map(RecordsCursor::read).transpose()? {
                Some(cursor) if cursor.store != store => return Err(StoreError::ForeignCursor),
                cursor => cursor.map(|cursor| cursor.last),
            };
            let at_most = at_most.clamp(1, 10_000);
            let mut page = RecordPage::default();
            loop {
                // Reads one record more than the page holds, to know whether another page follows.
                let room = at_most + 1 - page.records.len();
                let (more, last) = inner
                    .read(|| feed::records(&*inner.backend, wanted, after, room))
                    .await?;
                page.records.extend(more);
                if page.records.len() > at_most {
                    page.records.truncate(at_most);
                    let last = page.records.last();
                    let last = last.map(|last| *last.digest.as_bytes());
                    page.next = last.map(|last| RecordsCursor { store, last }.write());
                    return Ok(page);
                }
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
        Box::pin(async move {
            let inner = &*self.0;
            let lifted = inner.read(|| inner.backend.last_lift(key)).await?;
            Ok(lifted.map(LiftRecord::from))
        })
    }
}

impl<D: Backend> fmt::Debug for SqlStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.backend.fmt(f)
    }
}
