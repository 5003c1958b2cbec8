//! The pages of the feed, of a full load, and of the records.

use tower_revoke_core::{Change, Changes, KeyDigest, RecordFilter, RevocationRecord, StoreError};

use crate::{
    backend::{Digest, Feed, Reader, Window, listed, spent},
    cursor::{FeedCursor, Load},
    error::Failure,
    value::time,
};

/// How many rows one page reads.
const PAGE: usize = 4_096;

/// The answer to the caller, or why there is none.
pub(crate) type Asked<T> = Result<Result<T, StoreError>, Failure>;

/// The page of the feed, or of a full load, that comes next.
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
    // Of a load only where the feed stands is wanted.
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

/// Whether what the cursor has seen is what the database remembers.
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

/// Some of what is alive, and where to go on.
async fn load<D: Reader>(backend: &D, cursor: FeedCursor, seq: i64) -> Result<Changes, Failure> {
    let mut changes = Vec::new();
    let mut load = cursor.load;
    let mut room = PAGE;
    if let Some(Load::Revoked(after)) = load {
        let rows = backend.revoked(after, room).await?;
        changes.extend(rows.iter().map(|row| Change::Listed {
            key: KeyDigest::from_bytes(row.digest),
            listed: listed(row.issued, row.until),
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
        let all_taken = rows.iter().filter(|row| row.is_spent);
        changes.extend(all_taken.map(|row| spent(row.token, row.until)));
        load = (rows.len() == room).then(|| Load::Uses(rows.last().map(|row| row.token)));
    }
    Ok(Changes {
        changes,
        next: FeedCursor { load, ..cursor }.write(),
        more: load.is_some() || cursor.position < seq,
    })
}

/// Some of the records that are wanted, and after which digest to go on looking.
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
        // There may be more that is wanted among the rows that were seen.
        Some(last) if records.len() == at_most => Some(*last.digest.as_bytes()),
        _ => more_after,
    };
    Ok((records, last))
}
