//! Issued tokens: a row under the hash of each token, written once, and one under each holder.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use scylla::{
    response::query_result::QueryResult,
    value::{CqlValue, Row},
};
use serde::{Deserialize, Serialize};
use tower_revoke_core::{
    Cursor, IssuedToken, IssuedTokenPage, KeyDigest, StoreError, TokenHash, UnixTime,
    internal::signed_time::{end, secs},
};

use crate::{
    client::was_applied,
    cursor::Position,
    error::Failure,
    inner::{AT_ONCE, Inner},
    scan::Range,
};

/// Hashes in one read of a holder's partition.
const PAGE: usize = 1_000;

/// Rows in one read, whose coordinator contacts the replicas of all of them.
const ROWS: usize = 16;

/// Where a list of tokens goes on: after this hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IssuedPosition(pub(crate) [u8; 32]);

impl Position for IssuedPosition {
    const KIND: u8 = 3;
}

impl Inner {
    /// Stores a token, and then lists it: only what is acknowledged must be listed.
    pub(crate) async fn issue(&self, token: &IssuedToken) -> Result<(), StoreError> {
        let deadline = self.client.deadline();
        let row = serde_json::to_string(token).map_err(|_| Failure::Malformed("a token"))?;
        let hash = token.hash.as_bytes().as_slice();
        let until = end(token.retained_until());
        // An attempt with an unknown outcome is repeated, and recognizes its own row.
        let mark = fastrand::i64(..);
        let issue = &self.statements.issue;
        let values = (hash, mark, row, until);
        let answer = self.client.execute(deadline, issue, values).await?;
        if !is_stored(answer, mark)? {
            return Err(StoreError::AlreadyIssued);
        }
        for holder in token.holders() {
            let values = (holder.as_bytes().as_slice(), hash, until);
            let hold = &self.statements.hold_issued;
            self.client.execute(deadline, hold, values).await?;
        }
        Ok(())
    }

    /// Returns the rows under these hashes, in their order.
    pub(crate) async fn issued(
        &self,
        hashes: &[TokenHash],
    ) -> Result<Vec<Option<IssuedToken>>, StoreError> {
        let deadline = self.client.deadline();
        let some = |hashes: &[TokenHash]| {
            let hashes: Vec<_> = hashes.iter().map(|hash| hash.as_bytes().to_vec()).collect();
            self.client
                .rows(deadline, &self.statements.issued, (hashes,))
        };
        let rows: Vec<Vec<(String,)>> = stream::iter(hashes.chunks(ROWS))
            .map(some)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let rows = rows.into_iter().flatten().map(|(row,)| {
            let token: IssuedToken =
                serde_json::from_str(&row).map_err(|_| Failure::Malformed("an issued token"))?;
            Ok((token.hash, token))
        });
        let mut rows: HashMap<_, _> = rows.collect::<Result<_, Failure>>()?;
        Ok(hashes.iter().map(|hash| rows.remove(hash)).collect())
    }

    /// Returns a page of a holder's tokens, in the order of their hashes.
    pub(crate) async fn issued_to(
        &self,
        holder: &KeyDigest,
        after: Option<&Cursor>,
        at_most: usize,
    ) -> Result<IssuedTokenPage, StoreError> {
        let after = after.map(|after| IssuedPosition::read(after, &self.id));
        let mut last = after.transpose()?.map(|IssuedPosition(last)| last);
        let mut page = IssuedTokenPage::default();
        loop {
            let room = PAGE.min(at_most - page.tokens.len());
            // Everything is after nothing.
            let from = last.as_ref().map_or(&[][..], |last| &last[..]);
            let limit = i32::try_from(room).unwrap_or(i32::MAX);
            let values = (holder.as_bytes().as_slice(), from, limit);
            let deadline = self.client.deadline();
            let held = &self.statements.issued_to;
            let hashes: Vec<(Vec<u8>,)> = self.client.rows(deadline, held, values).await?;
            let hashes = hashes.iter().map(|(hash,)| hash_of(hash));
            let hashes: Vec<_> = hashes.collect::<Result<_, _>>()?;
            // One that is being purged is listed, and has no row.
            let rows = self.issued(&hashes).await?;
            page.tokens.extend(rows.into_iter().flatten());
            last = hashes.last().map(|hash| *hash.as_bytes()).or(last);
            if hashes.len() < room {
                return Ok(page);
            }
            if page.tokens.len() == at_most {
                page.next = last.map(|last| IssuedPosition(last).write(&self.id));
                return Ok(page);
            }
        }
    }

    /// Deletes the tokens in a range that ended before a time, and their places in lists. Returns the
    /// number of tokens.
    pub(crate) async fn purge_issued(
        &self,
        range: &Range,
        before: UnixTime,
        at_once: usize,
    ) -> Result<u64, Failure> {
        let ended = |until: Option<i64>| until.is_some_and(|until| until < secs(before));
        let range = (*range.start(), *range.end());
        let (mut deleted, mut next) = (0, Some(Vec::new()));
        while let Some(page) = next {
            let scan = &self.statements.scan_issued;
            let deadline = self.client.deadline();
            let (rows, after) = self.client.page(deadline, scan, range, &page).await?;
            let rows: Vec<(Vec<u8>, Option<i64>)> = rows;
            let rows = rows.into_iter().filter(|(_, until)| ended(*until));
            deleted += stream::iter(rows)
                .map(|(hash, _)| async move {
                    let forget = &self.statements.forget_issued;
                    let deadline = self.client.deadline();
                    let answer = self.client.execute(deadline, forget, (hash,)).await?;
                    was_applied(answer).map(u64::from)
                })
                .buffer_unordered(at_once)
                .try_fold(0, async |sum, deleted| Ok(sum + deleted))
                .await?;
            next = after;
        }
        let mut next = Some(Vec::new());
        while let Some(page) = next {
            let scan = &self.statements.scan_held;
            let deadline = self.client.deadline();
            let (rows, after) = self.client.page(deadline, scan, range, &page).await?;
            let rows: Vec<(Vec<u8>, Vec<u8>, Option<i64>)> = rows;
            let rows = rows.into_iter().filter(|(.., until)| ended(*until));
            stream::iter(rows)
                .map(|(holder, hash, _)| async move {
                    let release = &self.statements.release_issued;
                    let deadline = self.client.deadline();
                    let values = (holder, hash);
                    self.client.execute(deadline, release, values).await
                })
                .buffer_unordered(at_once)
                .try_for_each(async |_| Ok(()))
                .await?;
            next = after;
        }
        Ok(deleted)
    }
}

fn hash_of(bytes: &[u8]) -> Result<TokenHash, Failure> {
    let bytes = bytes.try_into().map_err(|_| Failure::Malformed("a hash"))?;
    Ok(TokenHash::from_bytes(bytes))
}

/// Whether the row is there by a write with this mark: it was applied, or found itself.
fn is_stored(answer: QueryResult, mark: i64) -> Result<bool, Failure> {
    let rows = answer.into_rows_result().map_err(Failure::driver)?;
    let row = rows.first_row::<Row>().map_err(Failure::driver)?;
    let mut columns = rows.column_specs().iter().zip(row.columns);
    Ok(columns.any(|(column, value)| match (column.name(), value) {
        ("[applied]", Some(CqlValue::Boolean(applied))) => applied,
        ("mark", Some(CqlValue::BigInt(found))) => found == mark,
        _ => false,
    }))
}
