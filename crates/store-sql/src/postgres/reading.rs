//! What is read: look-ups, the feed, a full load, records.

use sqlx::{PgPool, Row, postgres::PgRow};
use tower_revoke_core::{KeyDigest, Listed, Record, RecordFilter};

use super::statements::Statements;
use crate::{
    backend::{Digest, Event, Feed, Revoked, Used, Window, Words, listed},
    error::Failure,
    value::{secs, time, written},
};

fn digest(row: &PgRow, column: &str) -> Result<Digest, Failure> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| Failure::Garbled("a key"))
}

pub(super) async fn look_up(
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

pub(super) async fn feed(
    pool: &PgPool,
    statements: &Statements,
    after: i64,
    at_most: usize,
) -> Result<Feed, Failure> {
    let rows = sqlx::query(&statements.feed)
        .bind(after)
        .bind(limit(at_most))
        .fetch_all(pool)
        .await?;
    let first = rows.first().ok_or(Failure::Garbled("the feed's state"))?;
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        if row.try_get::<Option<i64>, _>("place")?.is_some() {
            add_events(row, &mut events)?;
        }
    }
    Ok(Feed {
        store: digest(first, "id")?,
        last: (first.try_get("seq")?, first.try_get("mark")?),
        trimmed: (first.try_get("trimmed")?, first.try_get("trimmed_mark")?),
        seen: first.try_get("seen_mark")?,
        events,
    })
}

/// The events of a row, of which the last has its number.
fn add_events(row: &PgRow, events: &mut Vec<Event>) -> Result<(), Failure> {
    let last: i64 = row.try_get("place")?;
    let (digests, _) = row.try_get::<&[u8], _>("digests")?.as_chunks();
    let untils: Vec<Option<i64>> = row.try_get("untils")?;
    let what: i16 = row.try_get("what")?;
    for (at, (digest, until)) in digests.iter().zip(untils).enumerate() {
        let before_last = digests.len() - 1 - at;
        events.push(Event {
            seq: last.saturating_sub(i64::try_from(before_last).unwrap_or(i64::MAX)),
            mark: row.try_get("its_mark")?,
            what: what.into(),
            digest: *digest,
            issued: row.try_get("issued_at_or_before")?,
            until,
            at: row.try_get("at")?,
        });
    }
    Ok(())
}

pub(super) async fn revoked(
    pool: &PgPool,
    statements: &Statements,
    after: Option<Digest>,
    at_most: usize,
) -> Result<Vec<Revoked>, Failure> {
    let rows = sqlx::query(&statements.load_revoked)
        .bind(behind(&after))
        .bind(limit(at_most))
        .fetch_all(pool)
        .await?;
    rows.iter().map(one_revoked).collect()
}

fn one_revoked(row: &PgRow) -> Result<Revoked, Failure> {
    Ok(Revoked {
        digest: digest(row, "digest")?,
        issued: row.try_get("issued_at_or_before")?,
        until: row.try_get("until")?,
        at: row.try_get("at")?,
    })
}

pub(super) async fn uses(
    pool: &PgPool,
    statements: &Statements,
    after: Option<Digest>,
    at_most: usize,
) -> Result<Vec<Used>, Failure> {
    let rows = sqlx::query(&statements.load_uses)
        .bind(behind(&after))
        .bind(limit(at_most))
        .fetch_all(pool)
        .await?;
    let used = |row: &PgRow| {
        Ok(Used {
            token: digest(row, "token")?,
            until: row.try_get("until")?,
            is_spent: row.try_get("is_spent")?,
        })
    };
    rows.iter().map(used).collect()
}

/// Before all digests comes the empty one.
fn behind(after: &Option<Digest>) -> &[u8] {
    after.as_ref().map_or(&[], |after| &after[..])
}

fn limit(at_most: usize) -> i64 {
    i64::try_from(at_most).unwrap_or(i64::MAX)
}

pub(super) async fn record(
    pool: &PgPool,
    statements: &Statements,
    key: &KeyDigest,
) -> Result<Option<Record>, Failure> {
    let row = sqlx::query(&statements.record)
        .bind(&key.as_bytes()[..])
        .fetch_optional(pool)
        .await?;
    row.map(|row| one_record(&row)).transpose()
}

pub(super) async fn records(
    pool: &PgPool,
    statements: &Statements,
    wanted: &RecordFilter,
    after: Option<Digest>,
    window: usize,
    at_most: usize,
) -> Result<Window, Failure> {
    let rows = sqlx::query(&statements.records)
        .bind(behind(&after))
        .bind(limit(window))
        .bind(wanted.only_reason().map(written))
        .bind(wanted.earliest().map(secs))
        .bind(limit(at_most))
        .fetch_all(pool)
        .await?;
    let mut records = Vec::new();
    for row in &rows {
        if row.try_get::<Option<&[u8]>, _>("digest")?.is_some() {
            records.push(one_record(row)?);
        }
    }
    let first = rows.first().ok_or(Failure::Garbled("a page"))?;
    let is_full = first.try_get::<i64, _>("rows_seen")? == limit(window);
    let more_after = is_full.then(|| digest(first, "last_seen")).transpose()?;
    Ok(Window {
        records,
        more_after,
    })
}

fn one_record(row: &PgRow) -> Result<Record, Failure> {
    let words = Words {
        issuer: row.try_get("issuer")?,
        claim: row.try_get("claim")?,
        value: row.try_get("value")?,
        said_by: row.try_get("said_by")?,
        reason: row.try_get("reason")?,
    };
    Ok(one_revoked(row)?.record(words))
}
