//! Scans of whole tables, page by page, in the order of the partitioner; and the purge.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use scylla::value::CqlValue;
use tokio::time::Instant;
use tower_revoke_core::{KeyDigest, StoreError, UnixTime, internal::signed_time::secs};

use crate::{
    client::{Deadline, was_applied},
    cursor::ScanPosition,
    error::Failure,
    inner::{AT_ONCE, Inner, by_key},
    log::{bucket_of, drop_buckets},
    revocations::Key,
    rows::{UsesRow, ended},
    uses::NOTICE,
};

/// How long a silent writer may come back.
const DAY: Duration = Duration::from_secs(86_400);

impl Inner {
    /// Reads a page of keys, and returns the position of the next page.
    pub(crate) async fn scan_revoked(
        &self,
        deadline: Deadline,
        from: &ScanPosition,
    ) -> Result<(Vec<(KeyDigest, Key)>, Option<ScanPosition>), Failure> {
        let scan = &self.statements.scan_revoked;
        let (rows, next) = self.client.page(deadline, scan, &from.page).await?;
        let mut keys = by_key(rows)?;
        let last = keys.last().map(|(key, _)| *key);
        if let (Some(_), Some(last)) = (&next, last) {
            // The page may have ended between two rows of one key.
            keys.pop();
            keys.extend(self.revoked(deadline, &[last]).await?);
        }
        if let Some(last) = from.last {
            let last = self.order_of(&last);
            let is_read = |key: &KeyDigest| self.order_of(key.as_bytes()) <= last;
            let read = keys.iter().take_while(|(key, _)| is_read(key)).count();
            keys.drain(..read);
        }
        let last = last.map(|last| *last.as_bytes()).or(from.last);
        Ok((keys, next.map(|page| ScanPosition { page, last })))
    }

    /// Reads a page of uses, one row per token, and returns the position of the next page.
    pub(crate) async fn scan_uses(
        &self,
        deadline: Deadline,
        from: &ScanPosition,
    ) -> Result<(Vec<UsesRow>, Option<ScanPosition>), Failure> {
        let scan = &self.statements.scan_uses;
        let (rows, next) = self.client.page(deadline, scan, &from.page).await?;
        Ok((rows, next.map(|page| ScanPosition { page, last: None })))
    }

    /// A value that compares keys in the order of a scan.
    fn order_of(&self, key: &[u8; 16]) -> (Option<i64>, [u8; 16]) {
        let of_key = &self.statements.delete_revocation;
        let token = of_key.calculate_token(&(key.as_slice(), &[0_u8; 16][..]));
        (token.ok().flatten().map(|token| token.value()), *key)
    }

    pub(crate) async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        // Announced first, so that no use is taken that is then purged.
        self.purge_begins(before).await?;
        let forgets = Instant::now() + NOTICE;
        let mut dropped = 0;
        let mut position = Some(ScanPosition::default());
        while let Some(from) = position {
            let deadline = self.client.deadline();
            let (keys, next) = self.scan_revoked(deadline, &from).await?;
            let ended = keys.iter().filter_map(|(key, state)| {
                let ids = state.ended(before);
                (!ids.is_empty()).then_some((*key, ids))
            });
            let ended: Vec<_> = ended.collect();
            dropped += ended.len() as u64;
            stream::iter(ended)
                .map(|(key, ids)| async move {
                    let deadline = self.client.deadline();
                    let delete = ids.into_iter().map(|id| {
                        let key = CqlValue::Blob(key.as_bytes().to_vec());
                        let values = vec![Some(key), Some(CqlValue::Blob(id))];
                        (self.statements.delete_revocation.clone(), values)
                    });
                    self.client
                        .execute_batch(deadline, delete.collect())
                        .await
                        .map(drop)
                })
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>()
                .await?;
            position = next;
        }
        let mut position = Some(ScanPosition::default());
        while let Some(from) = position {
            let deadline = self.client.deadline();
            let (rows, next) = self.scan_uses(deadline, &from).await?;
            let ended = rows.into_iter().filter(|row| ended(row.until, before));
            let ended: Vec<_> = ended.collect();
            if !ended.is_empty() {
                tokio::time::sleep_until(forgets).await;
            }
            let forgotten: Vec<bool> = stream::iter(ended)
                .map(|row| async move { self.forget(&row.digest, row.version, row.max_uses).await })
                .buffer_unordered(AT_ONCE / 4)
                .try_collect()
                .await?;
            dropped += forgotten.into_iter().filter(|forgotten| *forgotten).count() as u64;
            position = next;
        }
        self.retire_writers().await?;
        Ok(dropped)
    }

    async fn purge_begins(&self, before: UnixTime) -> Result<(), Failure> {
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
        let long = i64::try_from(long.as_millis()).unwrap_or(i64::MAX);
        for (writer, registered) in self.register(deadline).await? {
            if registered.retired && registered.silent_for > long.saturating_mul(2) {
                self.client
                    .execute(deadline, &self.statements.forget_writer, (writer,))
                    .await?;
            } else if !registered.retired && registered.silent_for > long {
                self.client
                    .execute(deadline, &self.statements.retire, (writer,))
                    .await?;
                let (last, ..) = self.newest(deadline, writer, &registered, 0).await?;
                let buckets = bucket_of(registered.trimmed)..=bucket_of(last) + 1;
                drop_buckets(&self.client, &self.statements, deadline, writer, buckets).await?;
            }
        }
        Ok(())
    }
}
