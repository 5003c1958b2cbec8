//! Pages of the feed, of a full load and of the records.

use tower_revoke_core::{Change, Changes, KeyDigest, RecordFilter, RevocationRecord, StoreError};

use crate::{
    backend::{Digest, Feed, Reader, Window},
    cursor::{FeedCursor, Load},
    error::Failure,
    value::time,
};

/// The number of rows in a page.
const PAGE: usize = 4_096;

/// The result for the caller. The outer error is a failure of the database, after which the read
/// may be retried.
pub(crate) type Asked<T> = Result<Result<T, StoreError>, Failure>;

/// Returns the next page of the feed or of a full load.
///
/// A page of a load begins with the changes since the page before it, so the feed need not keep all
/// that are made during the load.
pub(crate) async fn changes<D: Reader>(backend: &D, since: Option<&FeedCursor>) -> Asked<Changes> {
    let (after, at_most) = since.map_or((i64::MAX, 0), |cursor| (cursor.position, PAGE));
    let feed = backend.feed(after, at_most).await?;
    let mut next = since.copied().unwrap_or(FeedCursor {
        load: Some(Load::Revoked(None)),
        ..end(&feed)
    });
    if let Some(Err(error)) = since.map(|cursor| stands(&feed, cursor)) {
        return Ok(Err(error));
    }
    if let Some(last) = feed.events.last() {
        (next.position, next.mark) = (last.seq, last.mark);
    }
    let changes = feed.events.iter().map(|event| event.change());
    let mut changes = changes.collect::<Result<Vec<_>, _>>()?;
    if let Some(load) = next.load {
        next.load = add_listed(backend, load, &mut changes).await?;
    }
    Ok(Ok(Changes {
        changes,
        next: next.write(),
        more: next.load.is_some() || next.position < feed.last.0,
    }))
}

/// Returns the cursor after the last event of a feed.
pub(crate) fn end(feed: &Feed) -> FeedCursor {
    FeedCursor {
        store: feed.store,
        position: feed.last.0,
        mark: feed.last.1,
        load: None,
    }
}

/// Verifies that the history that the cursor has seen is that of the database. The number alone is
/// not enough: a history that went back may have grown past it, with other events. Their marks
/// differ.
fn stands(feed: &Feed, cursor: &FeedCursor) -> Result<(), StoreError> {
    if cursor.store != feed.store {
        return Err(StoreError::ForeignCursor);
    }
    let (trimmed, trimmed_mark) = feed.trimmed;
    if cursor.position > feed.last.0 {
        return Err(StoreError::HistoryWentBack);
    }
    if cursor.position < trimmed {
        return Err(StoreError::CursorTooOld);
    }
    let mark = match cursor.position == trimmed {
        true => Some(trimmed_mark),
        false => feed.seen,
    };
    match mark == Some(cursor.mark) {
        true => Ok(()),
        false => Err(StoreError::HistoryWentBack),
    }
}

/// Returns a page of what is listed, without the changes since.
pub(crate) async fn listed<D: Reader>(
    backend: &D,
    mut cursor: FeedCursor,
) -> Result<Changes, Failure> {
    let mut changes = Vec::new();
    let load = cursor.load.unwrap_or(Load::Revoked(None));
    cursor.load = add_listed(backend, load, &mut changes).await?;
    Ok(Changes {
        changes,
        next: cursor.write(),
        more: cursor.load.is_some(),
    })
}

/// Adds what is listed from a position in a load: first all revocations, then all used-up tokens.
/// Returns the next position. The pages of a load are not one snapshot. They need not be: the feed
/// repeats every change that was made since its first page.
async fn add_listed<D: Reader>(
    backend: &D,
    mut load: Load,
    changes: &mut Vec<Change>,
) -> Result<Option<Load>, Failure> {
    let mut room = PAGE;
    if let Load::Revoked(after) = load {
        let rows = backend.revoked(after, room).await?;
        changes.extend(rows.iter().map(|row| Change::Listed {
            key: KeyDigest::from_bytes(row.digest),
            listed: row.listed(),
            at: time(row.at),
        }));
        room -= rows.len();
        load = match room {
            0 => Load::Revoked(rows.last().map(|row| row.digest)),
            _ => Load::Uses(None),
        };
    }
    let Load::Uses(after) = load else {
        return Ok(Some(load));
    };
    let rows = backend.uses(after, room).await?;
    let used_up = rows.iter().filter(|row| row.is_used_up);
    changes.extend(used_up.map(|row| Change::UsedUp {
        key: KeyDigest::from_bytes(row.token),
        until: row.until.map(time),
    }));
    Ok((rows.len() == room).then(|| Load::Uses(rows.last().map(|row| row.token))))
}

/// Returns some of the matching records, and the digest after which to continue, if any.
pub(crate) async fn records<D: Reader>(
    backend: &D,
    wanted: &RecordFilter,
    after: Option<Digest>,
    at_most: usize,
) -> Result<(Vec<RevocationRecord>, Option<Digest>), Failure> {
    if let Some(key) = wanted.only_key() {
        let is_before = after.is_some_and(|after| *key.as_bytes() <= after);
        let record = backend.record(key).await?;
        let record = record.filter(|record| !is_before && wanted.wants(record));
        return Ok((record.into_iter().collect(), None));
    }
    let Window {
        records,
        more_after,
    } = backend.records(wanted, after, PAGE, at_most).await?;
    let last = match records.last() {
        // The limit was reached: further matches may follow within the window.
        Some(last) if records.len() == at_most => Some(*last.digest.as_bytes()),
        _ => more_after,
    };
    Ok((records, last))
}
