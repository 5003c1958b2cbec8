//! The purge: reads the tables in several ranges at once, and deletes what has ended.

use std::{convert::Infallible, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use scylla::value::CqlValue;
use tokio::time::Instant;
use tower_revoke_core::{KeyDigest, StoreError, UnixTime, internal::signed_time::secs};

use crate::{
    buckets::{bucket_of, drop_buckets},
    client::was_applied,
    cursor::ScanPosition,
    error::Failure,
    inner::{AT_ONCE, Inner},
    scan::Range,
    uses::NOTICE,
};

/// The ranges of a purge, of equal width, and how many of them it reads at once.
const RANGES: i64 = 64;
const RANGES_AT_ONCE: usize = 8;

/// How long a node may purge without renewing its lease, which is the TTL in the statement.
const LEASE: Duration = Duration::from_secs(60);

/// How long a silent writer may come back.
const DAY: Duration = Duration::from_secs(86_400);

impl Inner {
    /// Deletes what ended before a time, unless another node is doing so.
    pub(crate) async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        let lease = fastrand::u128(..).to_be_bytes();
        // The second attempt is applied if the first one was, with an unknown outcome.
        if !self.hold(&lease, None).await? && !self.hold(&lease, Some(&lease)).await? {
            tracing::debug!(target: "tower_revoke::store_cassandra", "another node is purging");
            return Ok(0);
        }
        let purged = tokio::select! {
            purged = self.purge_alone(before) => purged,
            never = self.renew(&lease) => match never {},
        };
        // It expires if this fails.
        let release = (lease.as_slice(),);
        let _ = self
            .client
            .execute(self.client.deadline(), &self.statements.release, release)
            .await;
        purged
    }

    async fn hold(&self, lease: &[u8; 16], known: Option<&[u8; 16]>) -> Result<bool, Failure> {
        let values = (lease.as_slice(), known.map(|known| known.as_slice()));
        let hold = &self.statements.hold;
        was_applied(
            self.client
                .execute(self.client.deadline(), hold, values)
                .await?,
        )
    }

    /// Renews a lease. If that fails, another purge may begin, which does no harm.
    async fn renew(&self, lease: &[u8; 16]) -> Infallible {
        loop {
            tokio::time::sleep(LEASE / 4).await;
            if let Err(error) = self.hold(lease, Some(lease)).await {
                tracing::debug!(
                    target: "tower_revoke::store_cassandra",
                    %error,
                    "the lease of a purge was not renewed"
                );
            }
        }
    }

    async fn purge_alone(&self, before: UnixTime) -> Result<u64, StoreError> {
        // Announced first, so that no use is taken that is then purged.
        self.announce(before).await?;
        let forgets = Instant::now() + NOTICE;
        let dropped = stream::iter(ranges())
            .map(|range| self.purge_range(range, before, forgets))
            .buffer_unordered(RANGES_AT_ONCE)
            .try_fold(0, async |sum, dropped| Ok(sum + dropped))
            .await?;
        self.retire_writers().await?;
        Ok(dropped)
    }

    async fn purge_range(
        &self,
        range: Range,
        before: UnixTime,
        forgets: Instant,
    ) -> Result<u64, Failure> {
        let mut dropped = 0;
        let mut position = Some(ScanPosition::default());
        while let Some(from) = position {
            let page = self.scan_revoked(self.client.deadline(), &range, &from);
            let (keys, next) = page.await?;
            let ended = keys
                .iter()
                .map(|(key, state)| (*key, state.ended(before)))
                .filter(|(_, ids)| !ids.is_empty());
            let ended: Vec<_> = ended.collect();
            dropped += ended.len() as u64;
            stream::iter(ended)
                .map(|(key, ids)| self.delete(key, ids))
                .buffer_unordered(AT_ONCE / RANGES_AT_ONCE)
                .try_collect::<()>()
                .await?;
            position = next;
        }
        let mut position = Some(ScanPosition::default());
        while let Some(from) = position {
            let page = self.scan_uses(self.client.deadline(), &range, &from);
            let (rows, next) = page.await?;
            let ended: Vec<_> = rows.into_iter().filter(|row| row.ended(before)).collect();
            if !ended.is_empty() {
                tokio::time::sleep_until(forgets).await;
            }
            dropped += stream::iter(ended)
                .map(|row| async move { self.forget(&row.digest, row.version, row.max_uses).await })
                .buffer_unordered((AT_ONCE / RANGES_AT_ONCE / 4).max(1))
                .try_fold(0, async |sum, forgotten| Ok(sum + u64::from(forgotten)))
                .await?;
            position = next;
        }
        let at_once = AT_ONCE / RANGES_AT_ONCE;
        dropped += self.purge_issued(&range, before, at_once).await?;
        Ok(dropped)
    }

    /// Deletes rows of a key.
    async fn delete(&self, key: KeyDigest, ids: Vec<Vec<u8>>) -> Result<(), Failure> {
        let delete = ids.into_iter().map(|id| {
            let key = CqlValue::Blob(key.as_bytes().to_vec());
            let values = vec![Some(key), Some(CqlValue::Blob(id))];
            (self.statements.delete_revocation.clone(), values)
        });
        let deadline = self.client.deadline();
        let deleted = self.client.execute_batch(deadline, delete.collect());
        deleted.await.map(drop)
    }

    async fn announce(&self, before: UnixTime) -> Result<(), Failure> {
        let deadline = self.client.deadline();
        let before = secs(before);
        loop {
            let known: Vec<(Option<i64>,)> = self
                .client
                .rows(deadline, &self.statements.purged_before, ())
                .await?;
            let known = known.first().and_then(|(known,)| *known);
            if known.is_some_and(|known| known >= before) {
                return Ok(());
            }
            let begins = &self.statements.purge_begins;
            if was_applied(
                self.client
                    .execute(deadline, begins, (before, known))
                    .await?,
            )? {
                return Ok(());
            }
        }
    }

    /// Removes the logs of writers that have been silent for long, and later their registration.
    ///
    /// Only the servers' clock counts: a node whose own is ahead must not remove the logs of others.
    async fn retire_writers(&self) -> Result<(), StoreError> {
        let deadline = self.client.deadline();
        let long = self.feed_retention.max(DAY);
        for (writer, registered) in self.register(deadline).await? {
            if registered.retired && registered.silent_for() > long.saturating_mul(2) {
                self.client
                    .execute(deadline, &self.statements.forget_writer, (writer,))
                    .await?;
            } else if !registered.retired && registered.silent_for() > long {
                self.client
                    .execute(deadline, &self.statements.retire, (writer,))
                    .await?;
                let (last, ..) = self.newest(deadline, &registered, 0).await?;
                let buckets = bucket_of(registered.trimmed)..=bucket_of(last) + 1;
                drop_buckets(&self.client, &self.statements, deadline, writer, buckets).await?;
            }
        }
        Ok(())
    }
}

/// Divides the ring.
fn ranges() -> impl Iterator<Item = Range> {
    const WIDTH: i64 = i64::MAX / (RANGES / 2) + 1;
    (-RANGES / 2..RANGES / 2).map(|range| range * WIDTH..=range * WIDTH + (WIDTH - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_cover_the_ring_without_overlapping() {
        let ranges: Vec<_> = ranges().collect();
        assert_eq!(ranges.len(), 64);
        assert_eq!(ranges[0].start(), &i64::MIN);
        assert_eq!(ranges[63].end(), &i64::MAX);
        for two in ranges.windows(2) {
            assert_eq!(two[0].end() + 1, *two[1].start());
        }
    }
}
