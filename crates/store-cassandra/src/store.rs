//! The store: what the contract asks, as questions to the cluster.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use scylla::statement::SerialConsistency;
use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Clock, Cursor, KeyDigest, Lift, Listed, Records,
    Revocation, Store, StoreError, UnixTime, Use, UseOutcome, retention,
};

use crate::{
    error::Failure,
    link::{Deadline, Link},
    log::{Log, Table},
    said::{Key, Order, Row},
    statements::Statements,
    turns::{Shared, Turns},
    uses,
};

/// Keys in one question; the cluster asks all their replicas.
const KEYS: usize = 16;

/// Keys that are written at once under one time limit.
const WRITTEN_AT_ONCE: usize = 128;

/// Questions at the same time for one call.
pub(crate) const AT_ONCE: usize = 64;

/// A [`Store`] in Apache Cassandra.
///
/// Clones share connections. What it promises and what it does not: see the
/// [crate's documentation](crate).
#[derive(Clone)]
pub struct CassandraStore(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) link: Arc<Link>,
    pub(crate) statements: Arc<Statements>,
    pub(crate) log: Log,
    /// Tells the cursors of this store from those of any other.
    pub(crate) id: [u8; 16],
    pub(crate) keyspace: String,
    pub(crate) clock: Clock,
    pub(crate) keep: Duration,
    pub(crate) turns: Turns,
    /// When everything before it was purged.
    pub(crate) purged: Shared<Option<i64>>,
}

impl Store for CassandraStore {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        let orders = revocations.iter().map(Order::revoke).collect();
        self.write(orders).await.map(drop)
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let orders = vec![(lift.key.digest(), Order::lift(lift))];
        self.write(orders).await
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        let inner = &self.0;
        let deadline = inner.link.deadline();
        let mut asked = keys.to_vec();
        asked.sort_unstable();
        asked.dedup();
        let (said, used) =
            tokio::try_join!(inner.said(deadline, &asked), inner.used(deadline, &asked))?;
        // A revocation hides the uses.
        let mut found: HashMap<_, _> = used.into_iter().collect();
        for (key, stands) in said {
            if let Some(listed) = stands.listed() {
                found.insert(key, Some(listed));
            }
        }
        Ok(keys
            .iter()
            .map(|key| found.get(key).copied().flatten())
            .collect())
    }

    async fn take_use(&self, use_: &Use) -> Result<UseOutcome, StoreError> {
        let inner = &self.0;
        if retention::has_ended(use_.until, inner.clock.now()) {
            return Err(StoreError::Expired);
        }
        let (inner, use_) = (Arc::clone(inner), *use_);
        self.to_the_end(async move { inner.take_use(&use_).await })
            .await
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        let (inner, use_) = (Arc::clone(&self.0), *use_);
        self.to_the_end(async move { inner.return_use(&use_).await })
            .await
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        self.0.purge(before).await
    }

    /// `None` where each data centre answers for itself: an entry of another data centre's log may
    /// come before what it tells of.
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        let is_local = self.0.link.serial == SerialConsistency::LocalSerial;
        (!is_local).then_some(self)
    }

    fn records(&self) -> Option<&dyn Records> {
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

    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let orders = known.iter().filter_map(Order::restore).collect();
            self.write(orders).await.map(drop)
        })
    }
}

impl CassandraStore {
    /// What was begun is done to its end, also where nobody waits any more: a write that nobody is
    /// told of would be missed by those who follow the feed.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = tokio::spawn(work).await;
        done.unwrap_or_else(|_| Err(Failure::Ended.into()))
    }

    /// Whether one of the orders, a lift, has lifted something.
    async fn write(&self, orders: Vec<(KeyDigest, Order)>) -> Result<bool, StoreError> {
        if orders.is_empty() {
            return Ok(false);
        }
        let mut by_key: Vec<(KeyDigest, Vec<Order>)> = Vec::new();
        let mut places = HashMap::new();
        for (key, order) in orders {
            let place = *places.entry(key).or_insert_with(|| {
                by_key.push((key, Vec::new()));
                by_key.len() - 1
            });
            by_key[place].1.push(order);
        }
        let inner = Arc::clone(&self.0);
        self.to_the_end(async move {
            let mut lifted = false;
            for some in by_key.chunks(WRITTEN_AT_ONCE) {
                let deadline = inner.link.deadline();
                let keys = some.iter().map(|(key, _)| (Table::Said, *key)).collect();
                let write = inner.say(deadline, some);
                lifted |= inner
                    .log
                    .telling(keys, deadline, write, Result::is_err)
                    .await??;
            }
            Ok(lifted)
        })
        .await
    }
}

impl Inner {
    async fn say(
        &self,
        deadline: Deadline,
        orders: &[(KeyDigest, Vec<Order>)],
    ) -> Result<bool, Failure> {
        let keys: Vec<_> = orders.iter().map(|(key, _)| *key).collect();
        let mut known: HashMap<_, _> = self.said(deadline, &keys).await?.into_iter().collect();
        let mut lifted = false;
        let mut writes = Vec::new();
        for (key, orders) in orders {
            let before = known.remove(key).unwrap_or_default();
            let mut after = before.clone();
            for order in orders {
                lifted |= after.apply(order.clone());
            }
            let (new, old) = after.changes(&before, key);
            if !new.is_empty() || !old.is_empty() {
                writes.push((new, old));
            }
        }
        stream::iter(writes)
            .map(|(mut new, old)| async move {
                if old.is_empty()
                    && new.len() == 1
                    && let Some(new) = new.pop()
                {
                    self.link.ask(deadline, &self.statements.say, new).await?;
                    return Ok::<_, Failure>(());
                }
                let say = new
                    .into_iter()
                    .map(|new| (self.statements.say.clone(), new));
                let unsay = old
                    .into_iter()
                    .map(|old| (self.statements.unsay.clone(), old));
                self.link
                    .ask_all(deadline, say.chain(unsay).collect())
                    .await?;
                Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(lifted)
    }

    /// What was said of each of these keys of which anything was.
    pub(crate) async fn said(
        &self,
        deadline: Deadline,
        keys: &[KeyDigest],
    ) -> Result<Vec<(KeyDigest, Key)>, Failure> {
        let rows: Vec<Vec<Row>> = stream::iter(chunks(keys))
            .map(|keys| async move {
                let rows = self
                    .link
                    .rows(deadline, &self.statements.look_up_said, (keys,));
                rows.await
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        by_key(rows.into_iter().flatten().collect())
    }

    /// How the uses of each of these tokens stand.
    pub(crate) async fn used(
        &self,
        deadline: Deadline,
        keys: &[KeyDigest],
    ) -> Result<Vec<(KeyDigest, Option<Listed>)>, Failure> {
        type Found = (Vec<u8>, Option<i64>, Option<i64>, Option<i64>);
        let rows: Vec<Vec<Found>> = stream::iter(chunks(keys))
            .map(|keys| async move {
                let rows = self
                    .link
                    .rows(deadline, &self.statements.look_up_uses, (keys,));
                rows.await
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let found = rows
            .into_iter()
            .flatten()
            .map(|(token, max_uses, held, until)| {
                Ok((key_of(&token)?, uses::spent(max_uses, held, until)))
            });
        let mut found: HashMap<_, _> = found.collect::<Result<_, Failure>>()?;
        Ok(keys
            .iter()
            .map(|key| (*key, found.remove(key).flatten()))
            .collect())
    }
}

fn chunks(keys: &[KeyDigest]) -> Vec<Vec<Vec<u8>>> {
    let chunk = |keys: &[KeyDigest]| keys.iter().map(|key| key.as_bytes().to_vec()).collect();
    keys.chunks(KEYS).map(chunk).collect()
}

pub(crate) fn key_of(bytes: &[u8]) -> Result<KeyDigest, Failure> {
    let bytes = bytes.try_into().map_err(|_| Failure::Garbled("a key"))?;
    Ok(KeyDigest::from_bytes(bytes))
}

/// Rows that stand together in the order of their keys.
pub(crate) fn by_key(rows: Vec<Row>) -> Result<Vec<(KeyDigest, Key)>, Failure> {
    let mut keys: Vec<(KeyDigest, Vec<Row>)> = Vec::new();
    for row in rows {
        let key = key_of(&row.digest)?;
        match keys.last_mut() {
            Some((last, rows)) if *last == key => rows.push(row),
            _ => keys.push((key, vec![row])),
        }
    }
    Ok(keys
        .into_iter()
        .map(|(key, rows)| (key, Key::of(rows)))
        .collect())
}

impl fmt::Debug for CassandraStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CassandraStore")
            .field("keyspace", &self.0.keyspace)
            .finish_non_exhaustive()
    }
}
