//! Reads, each from one snapshot of the file: look-ups, the feed, a full load, and records.

use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable};
use tower_revoke_core::{
    Change, Changes, KeyDigest, Listed, RecordFilter, RecordPage, RevocationKey, RevocationRecord,
    StoreError,
};

use crate::{
    cursor::{FeedCursor, Load, RecordsCursor},
    fault::Fault,
    rows::{self, Event, Revoked, Uses},
    schema::{FEED, Identity, META, OPENINGS, Opening, REVOKED, USES, feed_end},
    shared::Shared,
    staged::{Entry, Token},
    tables::Done,
};

/// The maximum number of rows that one page reads.
const PAGE: usize = 4_096;

pub(crate) fn look_up(
    shared: &Shared,
    keys: &[KeyDigest],
) -> Result<Vec<Option<Listed>>, StoreError> {
    // Read before the transaction begins: uses that are moved afterwards are in its tables.
    let staged: Vec<_> = {
        let staged = shared.staged();
        let uses = |key: &KeyDigest| staged.get(key.as_bytes()).map(Entry::uses);
        keys.iter().map(uses).collect()
    };
    shared.read(|txn| {
        let (revoked, uses) = (txn.open_table(REVOKED)?, txn.open_table(USES)?);
        let listed = |(key, staged): (&KeyDigest, Option<Uses>)| {
            if let Some(row) = revoked.get(key.as_bytes())? {
                return Ok(Some(Revoked::read(row.value())?.listed()));
            }
            if let Some(staged) = staged {
                return Ok(staged.spent());
            }
            let Some(row) = uses.get(key.as_bytes())? else {
                return Ok(None);
            };
            Ok(rows::read::<Uses>(row.value())?.spent())
        };
        keys.iter().zip(staged).map(listed).collect()
    })
}

/// Returns the next page of the feed or of a full load.
pub(crate) fn changes(shared: &Shared, since: Option<&FeedCursor>) -> Result<Changes, StoreError> {
    let (position, load) = match since {
        // The feed has everything that is committed after this position.
        None => (*shared.news.borrow(), Some(Load::Staged(None))),
        Some(cursor) => (cursor.position, cursor.load),
    };
    let staged = match load {
        // Uses that are moved afterwards come later in the load, among the uses.
        Some(Load::Staged(after)) => shared.staged().page(after, PAGE),
        _ => Vec::new(),
    };
    shared.read(|txn| {
        let feed = txn.open_table(FEED)?;
        let end = feed_end(&txn.open_table(META)?, &feed)?;
        if let Some(cursor) = since {
            let first = feed.first()?.map_or(end, |(first, _)| first.value());
            if let Err(error) = stands(txn, &shared.identity, cursor, first, end)? {
                return Ok(Err(error));
            }
        }
        let (changes, position, load) = match load {
            Some(load) => {
                let (changes, load) = load_page(txn, load, &staged)?;
                (changes, position, load)
            }
            None => {
                let mut changes = Vec::new();
                for row in feed.range(position..)?.take(PAGE) {
                    changes.push(rows::read::<Event>(row?.1.value())?.change());
                }
                let next = position + changes.len() as u64;
                (changes, next, None)
            }
        };
        Ok(Ok(Changes {
            changes,
            next: FeedCursor::new(&shared.identity, position, load).write(),
            more: load.is_some() || position < end,
        }))
    })?
}

/// Checks that the file still has the history that the cursor has seen.
fn stands(
    txn: &ReadTransaction,
    identity: &Identity,
    cursor: &FeedCursor,
    first: u64,
    end: u64,
) -> Done<()> {
    if cursor.store != identity.store {
        return Ok(Err(StoreError::ForeignCursor));
    }
    let openings = txn.open_table(OPENINGS)?;
    let mut from = openings.range(cursor.opening..)?;
    let mut next = || -> Result<Option<(u64, Opening)>, Fault> {
        let Some((number, row)) = from.next().transpose()? else {
            return Ok(None);
        };
        Ok(Some((number.value(), Opening::read(row.value())?)))
    };
    let is_old = (openings.first()?).is_some_and(|(oldest, _)| cursor.opening < oldest.value());
    if is_old {
        return Ok(Err(StoreError::CursorTooOld));
    }
    // A restored backup lacks the cursor's opening, or has another one under the same number.
    let is_known = next()?
        .is_some_and(|(number, opening)| (number, opening.name) == (cursor.opening, cursor.name));
    if !is_known {
        return Ok(Err(StoreError::HistoryWentBack));
    }
    if cursor.position > next()?.map_or(end, |(_, opening)| opening.began_at) {
        return Ok(Err(StoreError::HistoryWentBack));
    }
    if cursor.position < first {
        return Ok(Err(StoreError::CursorTooOld));
    }
    Ok(Ok(()))
}

/// Returns a page of a full load, and where the next one begins.
fn load_page(
    txn: &ReadTransaction,
    load: Load,
    staged: &[(Token, Entry)],
) -> Result<(Vec<Change>, Option<Load>), Fault> {
    let told = |(token, entry): &(Token, Entry)| {
        let key = KeyDigest::from_bytes(*token);
        rows::spent(key, entry.until)
    };
    let mut changes: Vec<_> = staged.iter().map(told).collect();
    let mut room = PAGE - changes.len();
    let mut last = staged.last().map(|(token, _)| *token);
    if room == 0 {
        return Ok((changes, Some(Load::Staged(last))));
    }
    let (revoked_after, uses_after) = match load {
        Load::Staged(_) => (Some(None), None),
        Load::Revoked(after) => (Some(after), None),
        Load::Uses(after) => (None, after),
    };
    if let Some(after) = revoked_after {
        let revoked = txn.open_table(REVOKED)?;
        for row in revoked.range(from(after))?.take(room) {
            let (key, row) = row?;
            last = Some(key.value());
            let key = KeyDigest::from_bytes(key.value());
            changes.push(Revoked::read(row.value())?.change(key));
        }
        room = PAGE - changes.len();
        if room == 0 {
            return Ok((changes, Some(Load::Revoked(last))));
        }
    }
    let uses = txn.open_table(USES)?;
    for row in uses.range(from(uses_after))?.take(room) {
        let (key, row) = row?;
        last = Some(key.value());
        let key = KeyDigest::from_bytes(key.value());
        if let Some(spent) = rows::read::<Uses>(row.value())?.spent() {
            changes.push(rows::spent(key, spent.until()));
        }
        room -= 1;
    }
    let next = (room == 0).then_some(Load::Uses(last));
    Ok((changes, next))
}

/// Returns records, and the digest after which to continue if the row limit of a page was reached.
pub(crate) fn records(
    txn: &ReadTransaction,
    identity: &Identity,
    wanted: &RecordFilter,
    after: Option<[u8; 16]>,
    at_most: usize,
) -> Result<(RecordPage, Option<[u8; 16]>), Fault> {
    let revoked = txn.open_table(REVOKED)?;
    let mut page = RecordPage::default();
    if let Some(key) = wanted.only_key() {
        let is_before = after.is_some_and(|after| *key.as_bytes() <= after);
        if let Some(row) = revoked.get(key.as_bytes())?.filter(|_| !is_before) {
            let record = record(*key, row.value())?;
            page.records
                .extend(Some(record).filter(|record| wanted.wants(record)));
        }
        return Ok((page, None));
    }
    let mut last = after;
    let mut rows = revoked.range(from(after))?;
    for _ in 0..PAGE {
        let Some(row) = rows.next() else {
            return Ok((page, None));
        };
        let (key, row) = row?;
        let record = record(KeyDigest::from_bytes(key.value()), row.value())?;
        if wanted.wants(&record) {
            if page.records.len() == at_most {
                // One more record matches, so the page is full and not the last.
                let last = last.unwrap_or_default();
                let store = identity.store;
                page.next = Some(RecordsCursor { store, last }.write());
                return Ok((page, None));
            }
            page.records.push(record);
        }
        last = Some(key.value());
    }
    Ok((page, last))
}

fn record(digest: KeyDigest, row: &[u8]) -> Result<RevocationRecord, Fault> {
    let (revoked, said) = Revoked::read_all(row)?;
    let listed = revoked.listed();
    let key = match listed {
        Listed::Rule { .. } => said.rule(),
        _ => Some(RevocationKey::Token(digest.as_token())),
    };
    Ok(RevocationRecord {
        digest,
        key,
        listed,
        at: revoked.at,
        by: said.by,
        reason: said.reason,
    })
}

/// Returns the range of all keys after `after`.
fn from(after: Option<[u8; 16]>) -> (Bound<[u8; 16]>, Bound<[u8; 16]>) {
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    (start, Bound::Unbounded)
}
