//! The store: the traits of core as requests to the cluster.

use std::{collections::HashMap, fmt, sync::Arc};

use scylla::statement::SerialConsistency;
use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Cursor, IssuedToken, IssuedTokenPage, IssuedTokenStore,
    KeyDigest, Lift, LiftRecord, Listed, RecordFilter, RecordPage, Records, Revocation, Store,
    StoreError, TokenHash, UnixTime, Use, UseOutcome, internal::merge, retention,
};

use crate::{error::Failure, inner::Inner, log::Table, revocations::Order};

/// Keys that are written together under one deadline.
const WRITTEN_AT_ONCE: usize = 128;

/// A [`Store`] in Apache Cassandra.
///
/// Clones share connections. The [documentation of the crate](crate) states its guarantees.
#[derive(Clone)]
pub struct CassandraStore(pub(crate) Arc<Inner>);

impl Store for CassandraStore {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        let orders = revocations.iter().map(Order::revoke).collect();
        self.write(orders).await.map(drop)
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let orders = vec![(lift.key().digest(), Order::lift(lift))];
        self.write(orders).await
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        let inner = &self.0;
        let deadline = inner.client.deadline();
        let mut asked = keys.to_vec();
        asked.sort_unstable();
        asked.dedup();
        let (revoked, used) = tokio::try_join!(
            inner.revoked(deadline, &asked),
            inner.uses_of(deadline, &asked)
        )?;
        let used = used.into_iter();
        let mut found: HashMap<_, _> = used
            .map(|(key, used_up)| (key, used_up.map(|until| Listed::Spent { until })))
            .collect();
        for (key, state) in revoked {
            let listed = found.entry(key).or_default();
            *listed = merge::listed(state.listed(), *listed);
        }
        Ok(keys
            .iter()
            .map(|key| found.get(key).copied().flatten())
            .collect())
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        let inner = &self.0;
        if retention::has_ended(use_.until, now) {
            return Err(StoreError::Expired);
        }
        let (inner, use_) = (Arc::clone(inner), *use_);
        to_the_end(async move { inner.take_use(&use_).await }).await
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        let (inner, use_) = (Arc::clone(&self.0), *use_);
        to_the_end(async move { inner.return_use(&use_).await }).await
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        self.0.purge(before).await
    }

    /// `None` where each data centre answers for itself: an entry of another data centre's log may
    /// come before what it tells of.
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        let is_local = self.0.client.serial == SerialConsistency::LocalSerial;
        (!is_local).then_some(self)
    }

    fn records(&self) -> Option<&dyn Records> {
        Some(self)
    }

    fn issued_tokens(&self) -> Option<&dyn IssuedTokenStore> {
        Some(self)
    }
}

impl ChangeFeed for CassandraStore {
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move { self.0.changes(since).await })
    }

    fn end(&self) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        Box::pin(async move { self.0.end().await.map(Some) })
    }

    fn listed<'a>(
        &'a self,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(self.0.listed(after))
    }

    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let orders = known.iter().filter_map(Order::restore).collect();
            self.write(orders).await.map(drop)
        })
    }
}

/// In the order of the partitioner.
impl Records for CassandraStore {
    fn page<'a>(
        &'a self,
        wanted: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        Box::pin(self.0.records(wanted, after, at_most.clamp(1, 10_000)))
    }

    fn last_lift<'a>(
        &'a self,
        key: &'a KeyDigest,
    ) -> BoxFuture<'a, Result<Option<LiftRecord>, StoreError>> {
        Box::pin(self.0.last_lift(key))
    }
}

/// In the order of the hashes.
impl IssuedTokenStore for CassandraStore {
    fn insert<'a>(&'a self, token: &'a IssuedToken) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.0.issue(token))
    }

    fn find<'a>(
        &'a self,
        hash: &'a TokenHash,
    ) -> BoxFuture<'a, Result<Option<IssuedToken>, StoreError>> {
        Box::pin(async move {
            let found = self.0.issued(&[*hash]).await?;
            Ok(found.into_iter().next().flatten())
        })
    }

    fn page_of<'a>(
        &'a self,
        holder: &'a KeyDigest,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<IssuedTokenPage, StoreError>> {
        Box::pin(self.0.issued_to(holder, after, at_most.max(1)))
    }
}

/// Completes work in a task, even if the caller leaves: followers of the feed would miss a write
/// that is not logged.
///
/// Not an `async fn`: its future would contain the work, 13 kB for a use, and so would all futures
/// around it.
fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> impl Future<Output = Result<T, StoreError>> + Send {
    let task = tokio::spawn(work);
    async move { task.await.unwrap_or_else(|_| Err(Failure::Ended.into())) }
}

impl CassandraStore {
    /// Whether one of the orders, a lift, has lifted something.
    async fn write(&self, orders: Vec<(KeyDigest, Order)>) -> Result<bool, StoreError> {
        if orders.is_empty() {
            return Ok(false);
        }
        let mut by_key: HashMap<KeyDigest, Vec<Order>> = HashMap::new();
        for (key, order) in orders {
            by_key.entry(key).or_default().push(order);
        }
        let by_key: Vec<_> = by_key.into_iter().collect();
        let inner = Arc::clone(&self.0);
        to_the_end(async move {
            let mut lifted = false;
            for some in by_key.chunks(WRITTEN_AT_ONCE) {
                let deadline = inner.client.deadline();
                let keys = some.iter().map(|(key, _)| (Table::Revoked, *key)).collect();
                let write = inner.apply(deadline, some);
                lifted |= inner
                    .log
                    .logged(keys, deadline, write, Result::is_err)
                    .await??;
            }
            Ok(lifted)
        })
        .await
    }
}

impl fmt::Debug for CassandraStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CassandraStore")
            .field("keyspace", &self.0.keyspace)
            .finish_non_exhaustive()
    }
}
