//! What is read: look-ups, the feed, a full load, records.

use std::borrow::Cow;

use sqlx::{PgPool, Row, postgres::PgRow};
use tower_revoke_core::{
    Change, Changes, KeyDigest, Listed, Record, RevocationKey, StoreError, UnixTime, Wanted,
};

use super::statements::Statements;
use crate::{
    cursor::{FeedCursor, Load},
    error::Failure,
    value::{read, secs, time, written},
};

/// How many rows one page reads.
const PAGE: usize = 4_096;

/// The answer to the caller, or why there is none.
type Asked<T> = Result<Result<T, StoreError>, Failure>;

fn digest(row: &PgRow, column: &str) -> Result<[u8; 16], Failure> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| Failure::Garbled("a key"))
}

fn listed(issued: Option<i64>, until: Option<i64>) -> Listed {
    let until = until.map(time);
    match issued {
        Some(issued) => Listed::Rule {
            issued_at_or_before: time(issued),
            until,
        },
        None => Listed::Revoked { until },
    }
}

fn spent(key: KeyDigest, until: Option<i64>) -> Change {
    Change::Listed {
        key,
        listed: Listed::Spent {
            until: until.map(time),
        },
        at: UnixTime::EPOCH,
    }
}

pub(crate) async fn look_up(
    pool: &PgPool,
    statements: &Statements,
    keys: &[KeyDigest],
) -> Result<Vec<Option<Listed>>, Failure> {
    let digests: Vec<&[u8]> = keys.iter().map(|key| &key.as_bytes()[..]).collect();
    let rows = sqlx::query_as(&statements.look_up)
        .bind(digests)
        .fetch_all(pool)
        .await?;
    let answer = |(is_revoked, issued, until, is_spent, spent_until): (
        bool,
        Option<i64>,
        Option<i64>,
        bool,
        Option<i64>,
    )| {
        if is_revoked {
            return Some(listed(issued, until));
        }
        is_spent.then(|| Listed::Spent {
            until: spent_until.map(time),
        })
    };
    Ok(rows.into_iter().map(answer).collect())
}

/// The page of the feed, or of a full load, that comes next.
pub(crate) async fn changes(
    pool: &PgPool,
    statements: &Statements,
    since: Option<&FeedCursor>,
) -> Asked<Changes> {
    let position = since.map_or(i64::MAX, |cursor| cursor.position);
    // Of a load only where the feed stands is wanted.
    let is_load = since.is_none_or(|cursor| cursor.load.is_some());
    let rows = sqlx::query(&statements.feed)
        .bind(position)
        .bind(if is_load { 0 } else { PAGE as i64 })
        .fetch_all(pool)
        .await?;
    let first = rows.first().ok_or(Failure::Garbled("the feed's state"))?;
    let store = digest(first, "id")?;
    let (seq, mark) = (first.try_get("seq")?, first.try_get("mark")?);
    let Some(cursor) = since else {
        let next = FeedCursor {
            store,
            position: seq,
            mark,
            load: Some(Load::Revoked(None)),
        };
        return load(pool, statements, next, seq).await.map(Ok);
    };
    if let Err(error) = stands(first, cursor, store)? {
        return Ok(Err(error));
    }
    if cursor.load.is_some() {
        return load(pool, statements, *cursor, seq).await.map(Ok);
    }
    let mut changes = Vec::with_capacity(rows.len());
    let mut next = *cursor;
    for row in &rows {
        let Some(place) = row.try_get("place")? else {
            break;
        };
        next.position = place;
        next.mark = row.try_get("its_mark")?;
        changes.push(change(row)?);
    }
    Ok(Ok(Changes {
        changes,
        next: next.write(),
        more: next.position < seq,
    }))
}

/// Whether what the cursor has seen is what the database remembers.
fn stands(state: &PgRow, cursor: &FeedCursor, store: [u8; 16]) -> Asked<()> {
    if cursor.store != store {
        return Ok(Err(StoreError::ForeignCursor));
    }
    let seq: i64 = state.try_get("seq")?;
    let trimmed: i64 = state.try_get("trimmed")?;
    if cursor.position > seq {
        return Ok(Err(StoreError::HistoryWentBack));
    }
    if cursor.position < trimmed {
        return Ok(Err(StoreError::CursorTooOld));
    }
    let mark: Option<i64> = if cursor.position == trimmed {
        state.try_get("trimmed_mark")?
    } else {
        state.try_get("seen_mark")?
    };
    Ok(match mark == Some(cursor.mark) {
        true => Ok(()),
        false => Err(StoreError::HistoryWentBack),
    })
}

fn change(row: &PgRow) -> Result<Change, Failure> {
    let key = KeyDigest::from_bytes(digest(row, "digest")?);
    let until: Option<i64> = row.try_get("until")?;
    let at = time(row.try_get("at")?);
    let what: i16 = row.try_get("what")?;
    Ok(match what {
        0 => Change::Listed {
            key,
            listed: listed(row.try_get("issued_at_or_before")?, until),
            at,
        },
        1 => spent(key, until),
        2 => Change::Lifted {
            key,
            at,
            until: until.map(time),
        },
        3 => Change::Freed { key },
        _ => return Err(Failure::Garbled("a change")),
    })
}

/// Some of what is alive, and where to go on.
async fn load(
    pool: &PgPool,
    statements: &Statements,
    cursor: FeedCursor,
    seq: i64,
) -> Result<Changes, Failure> {
    let mut changes = Vec::new();
    let mut load = cursor.load;
    let mut room = PAGE;
    if let Some(Load::Revoked(after)) = load {
        let rows = load_rows(pool, &statements.load_revoked, after, room).await?;
        let mut last = None;
        for row in &rows {
            let bytes = digest(row, "digest")?;
            last = Some(bytes);
            changes.push(Change::Listed {
                key: KeyDigest::from_bytes(bytes),
                listed: listed(row.try_get("issued_at_or_before")?, row.try_get("until")?),
                at: time(row.try_get("at")?),
            });
        }
        room -= rows.len();
        load = Some(match room {
            0 => Load::Revoked(last),
            _ => Load::Uses(None),
        });
    }
    if let Some(Load::Uses(after)) = load {
        let rows = load_rows(pool, &statements.load_uses, after, room).await?;
        let mut last = None;
        for row in &rows {
            let bytes = digest(row, "token")?;
            last = Some(bytes);
            if row.try_get("is_spent")? {
                changes.push(spent(KeyDigest::from_bytes(bytes), row.try_get("until")?));
            }
        }
        load = (rows.len() == room).then_some(Load::Uses(last));
    }
    Ok(Changes {
        changes,
        next: FeedCursor { load, ..cursor }.write(),
        more: load.is_some() || cursor.position < seq,
    })
}

async fn load_rows(
    pool: &PgPool,
    statement: &str,
    after: Option<[u8; 16]>,
    at_most: usize,
) -> Result<Vec<PgRow>, Failure> {
    let after = after.as_ref().map_or(&[][..], |after| &after[..]);
    let rows = sqlx::query(statement).bind(after).bind(at_most as i64);
    Ok(rows.fetch_all(pool).await?)
}

/// Some of the records that are wanted, and after which digest to go on looking.
pub(crate) async fn records(
    pool: &PgPool,
    statements: &Statements,
    wanted: &Wanted,
    after: Option<[u8; 16]>,
    at_most: usize,
) -> Result<(Vec<Record>, Option<[u8; 16]>), Failure> {
    if let Some(key) = wanted.only_key() {
        let is_before = after.is_some_and(|after| *key.as_bytes() <= after);
        let row = sqlx::query(&statements.record)
            .bind(&key.as_bytes()[..])
            .fetch_optional(pool)
            .await?;
        let record = row.map(|row| record(&row)).transpose()?;
        let record = record.filter(|record| !is_before && wanted.wants(record));
        return Ok((record.into_iter().collect(), None));
    }
    let after = after.as_ref().map_or(&[][..], |after| &after[..]);
    let rows = sqlx::query(&statements.records)
        .bind(after)
        .bind(PAGE as i64)
        .bind(wanted.only_reason().map(written))
        .bind(wanted.earliest().map(secs))
        .bind(i64::try_from(at_most).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await?;
    let mut records = Vec::new();
    for row in &rows {
        if row.try_get::<Option<&[u8]>, _>("digest")?.is_some() {
            records.push(record(row)?);
        }
    }
    let first = rows.first().ok_or(Failure::Garbled("a page"))?;
    let seen: i64 = first.try_get("rows_seen")?;
    let last = match (records.last(), seen) {
        // There may be more that is wanted among the rows that were seen.
        (Some(last), _) if records.len() == at_most => Some(*last.digest.as_bytes()),
        (_, seen) if seen == PAGE as i64 => Some(digest(first, "last_seen")?),
        _ => None,
    };
    Ok((records, last))
}

fn record(row: &PgRow) -> Result<Record, Failure> {
    let digest = KeyDigest::from_bytes(digest(row, "digest")?);
    let listed = listed(row.try_get("issued_at_or_before")?, row.try_get("until")?);
    let issuer: Option<String> = row.try_get("issuer")?;
    let name: Option<String> = row.try_get("claim")?;
    let value: Option<String> = row.try_get("value")?;
    let key = match listed {
        Listed::Rule { .. } => issuer.map(|issuer| RevocationKey::Rule {
            issuer: read(issuer),
            claim: name
                .zip(value)
                .map(|(name, value)| (Cow::Owned(read(name)), read(value))),
        }),
        _ => Some(RevocationKey::Token(digest.as_token())),
    };
    Ok(Record {
        digest,
        key,
        listed,
        at: time(row.try_get("at")?),
        by: read(row.try_get("said_by")?),
        reason: read(row.try_get("reason")?),
    })
}
