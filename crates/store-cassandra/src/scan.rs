//! Scans of whole tables or ranges of them, page by page, in the order of the partitioner.

use std::ops::RangeInclusive;

use tower_revoke_core::KeyDigest;

use crate::{
    client::Deadline,
    cursor::ScanPosition,
    error::Failure,
    inner::{Inner, by_key},
    revocations::Key,
    rows::UsesRow,
};

/// A range of the partitioner's tokens.
pub(crate) type Range = RangeInclusive<i64>;

pub(crate) const ALL: Range = i64::MIN..=i64::MAX;

impl Inner {
    /// Reads a page of keys, and returns the position of the next page.
    pub(crate) async fn scan_revoked(
        &self,
        deadline: Deadline,
        range: &Range,
        from: &ScanPosition,
    ) -> Result<(Vec<(KeyDigest, Key)>, Option<ScanPosition>), Failure> {
        let scan = &self.statements.scan_revoked;
        let range = (*range.start(), *range.end());
        let (rows, next) = self.client.page(deadline, scan, range, &from.page).await?;
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
        range: &Range,
        from: &ScanPosition,
    ) -> Result<(Vec<UsesRow>, Option<ScanPosition>), Failure> {
        let scan = &self.statements.scan_uses;
        let range = (*range.start(), *range.end());
        let (rows, next) = self.client.page(deadline, scan, range, &from.page).await?;
        Ok((rows, next.map(|page| ScanPosition { page, last: None })))
    }

    /// A value that compares keys in the order of a scan.
    fn order_of(&self, key: &[u8; 16]) -> (Option<i64>, [u8; 16]) {
        let of_key = &self.statements.delete_revocation;
        let token = of_key.calculate_token(&(key.as_slice(), &[0_u8; 16][..]));
        (token.ok().flatten().map(|token| token.value()), *key)
    }
}
