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
pub(crate) async fn changes<D: Reader>(backend: &D, since: Option<&FeedCursor>) -> Asked<Changes> {
    let Some(cursor) = since else {
        let feed = backend.feed(i64::MAX, 0).await?;
        let start = FeedCursor {
            store: feed.store,
            position: feed.last.0,
            mark: feed.last.1,
            load: Some(Load::Revoked(None)),
        };
        return load(backend, start, feed.last.0).await.map(Ok);
    };
    // A load needs only the state of the feed, to verify the cursor.
    let at_most = if cursor.load.is_some() { 0 } else { PAGE };
    let feed = backend.feed(cursor.position, at_most).await?;
    if let Err(error) = stands(&feed, cursor) {
        return Ok(Err(error));
    }
    let seq = feed.last.0;
    if cursor.load.is_some() {
        return load(backend, *cursor, seq).await.map(Ok);
    }
    let mut next = *cursor;
    if let Some(last) = feed.events.last() {
        (next.position, next.mark) = (last.seq, last.mark);
    }
    let changes = feed.events.iter().map(|event| event.change());
    Ok(Ok(Changes {
        changes: changes.collect::<Result<_, _>>()?,
        next: next.write(),
        more: next.position < seq,
    }))
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

/// Returns the next page of a full load: first all revocations, then all used-up tokens. Its pages
/// are not one snapshot. They need not be: the position of the cursor is from before the load, so
/// the feed repeats every change that was made during it.
async fn load<D: Reader>(backend: &D, cursor: FeedCursor, seq: i64) -> Result<Changes, Failure> {
    let mut changes = Vec::new();
    let mut load = cursor.load;
    let mut room = PAGE;
    if let Some(Load::Revoked(after)) = load {
        let rows = backend.revoked(after, room).await?;
        changes.extend(rows.iter().map(|row| Change::Listed {
            key: KeyDigest::from_bytes(row.digest),
            listed: row.listed(),
            at: time(row.at),
        }));
        room -= rows.len();
        load = Some(match room {
            0 => Load::Revoked(rows.last().map(|row| row.digest)),
            _ => Load::Uses(None),
        });
    }
    if let Some(Load::Uses(after)) = load {
        let rows = backend.uses(after, room).await?;
        let used_up = rows.iter().filter(|row| row.is_used_up);
        changes.extend(used_up.map(|row| Change::UsedUp {
            key: KeyDigest::from_bytes(row.token),
            until: row.until.map(time),
        }));
        load = (rows.len() == room).then(|| Load::Uses(rows.last().map(|row| row.token)));
    }
    Ok(Changes {
        changes,
        next: FeedCursor { load, ..cursor }.write(),
        more: load.is_some() || cursor.position < seq,
    })
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
