//! What is read: look-ups, the feed, a full load, records. None waits for who writes.

use sqlx::{Row, SqlitePool, sqlite::SqliteRow};
use tower_revoke_core::{KeyDigest, Listed, Record, RecordFilter};

use super::rows::digest;
use crate::{
    backend::{Digest, Event, Feed, Revoked, Used, Window, Words, listed},
    error::Failure,
    value::{secs, time, written},
};

/// How many keys one statement looks up; a token has few.
const KEYS: usize = 8;

const LOOK_UP: &str = "\
    SELECT digest, 1, issued_at_or_before, until FROM revoked \
    WHERE digest IN (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
    UNION ALL SELECT token, 0, NULL, until FROM uses \
    WHERE token IN (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) AND held >= max_uses";

/// One statement, and so one state of the file. There is a row also where there is no event.
const FEED: &str = "\
    SELECT s.id, s.seq, s.mark, s.trimmed, s.trimmed_mark, \
    (SELECT mark FROM events WHERE seq = ?1), \
    e.seq, e.mark, e.what, e.digest, e.issued_at_or_before, e.until, e.at \
    FROM store s LEFT JOIN \
    (SELECT * FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2) e ON true \
    ORDER BY e.seq";

const RECORD: &str = "\
    SELECT digest, issued_at_or_before, until, at, issuer, claim, value, said_by, reason \
    FROM revoked WHERE digest = ?1";

/// A window of rows, of which few may be wanted: the answer comes in time all the same.
const RECORDS: &str = "\
    WITH seen AS MATERIALIZED \
    (SELECT * FROM revoked WHERE digest > ?1 ORDER BY digest LIMIT ?2) \
    SELECT w.digest, w.issued_at_or_before, w.until, w.at, w.issuer, w.claim, w.value, w.said_by, \
    w.reason, (SELECT count(*) FROM seen), (SELECT max(digest) FROM seen) \
    FROM (SELECT 1) LEFT JOIN \
    (SELECT * FROM seen WHERE (?3 IS NULL OR reason = ?3) AND (?4 IS NULL OR at >= ?4) \
    ORDER BY digest LIMIT ?5) w ON true \
    ORDER BY w.digest";

pub(super) async fn look_up(
    pool: &SqlitePool,
    keys: &[KeyDigest],
) -> Result<Vec<Option<Listed>>, Failure> {
    let mut all = Vec::with_capacity(keys.len());
    for some in keys.chunks(KEYS) {
        let mut query = sqlx::query(LOOK_UP);
        for key in some {
            query = query.bind(&key.as_bytes()[..]);
        }
        let mut found = vec![None; some.len()];
        for row in query.fetch_all(pool).await? {
            let key = KeyDigest::from_bytes(digest(&row, 0)?);
            let until = row.try_get(3)?;
            let says = match row.try_get(1)? {
                true => listed(row.try_get(2)?, until),
                false => Listed::Spent {
                    until: until.map(time),
                },
            };
            for (asked, found) in some.iter().zip(&mut found) {
                // A revocation hides the uses.
                if *asked == key
                    && !matches!(found, Some(Listed::Revoked { .. } | Listed::Rule { .. }))
                {
                    *found = Some(says);
                }
            }
        }
        all.append(&mut found);
    }
    Ok(all)
}

pub(super) async fn feed(pool: &SqlitePool, after: i64, at_most: usize) -> Result<Feed, Failure> {
    let rows = sqlx::query(FEED)
        .bind(after)
        .bind(limit(at_most))
        .fetch_all(pool)
        .await?;
    let first = rows.first().ok_or(Failure::Garbled("the feed's state"))?;
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(seq) = row.try_get(6)? else {
            break;
        };
        events.push(Event {
            seq,
            mark: row.try_get(7)?,
            what: row.try_get(8)?,
            digest: digest(row, 9)?,
            issued: row.try_get(10)?,
            until: row.try_get(11)?,
            at: row.try_get(12)?,
        });
    }
    Ok(Feed {
        store: digest(first, 0)?,
        last: (first.try_get(1)?, first.try_get(2)?),
        trimmed: (first.try_get(3)?, first.try_get(4)?),
        seen: first.try_get(5)?,
        events,
    })
}

pub(super) async fn last_event(pool: &SqlitePool) -> Result<i64, Failure> {
    let row = sqlx::query("SELECT seq FROM store").fetch_one(pool).await?;
    Ok(row.try_get(0)?)
}

pub(super) async fn revoked(
    pool: &SqlitePool,
    after: Option<Digest>,
    at_most: usize,
) -> Result<Vec<Revoked>, Failure> {
    let page = "SELECT digest, issued_at_or_before, until, at FROM revoked \
                WHERE digest > ? ORDER BY digest LIMIT ?";
    let page = sqlx::query(page).bind(behind(&after)).bind(limit(at_most));
    let rows = page.fetch_all(pool).await?;
    rows.iter().map(one_revoked).collect()
}

/// Of its first columns.
fn one_revoked(row: &SqliteRow) -> Result<Revoked, Failure> {
    Ok(Revoked {
        digest: digest(row, 0)?,
        issued: row.try_get(1)?,
        until: row.try_get(2)?,
        at: row.try_get(3)?,
    })
}

pub(super) async fn uses(
    pool: &SqlitePool,
    after: Option<Digest>,
    at_most: usize,
) -> Result<Vec<Used>, Failure> {
    let page = "SELECT token, until, held >= max_uses FROM uses \
                WHERE token > ? ORDER BY token LIMIT ?";
    let page = sqlx::query(page).bind(behind(&after)).bind(limit(at_most));
    let used = |row: &SqliteRow| {
        Ok(Used {
            token: digest(row, 0)?,
            until: row.try_get(1)?,
            is_spent: row.try_get(2)?,
        })
    };
    page.fetch_all(pool).await?.iter().map(used).collect()
}

/// Before all digests comes the empty one.
fn behind(after: &Option<Digest>) -> &[u8] {
    after.as_ref().map_or(&[], |after| &after[..])
}

fn limit(at_most: usize) -> i64 {
    i64::try_from(at_most).unwrap_or(i64::MAX)
}

pub(super) async fn record(pool: &SqlitePool, key: &KeyDigest) -> Result<Option<Record>, Failure> {
    let row = sqlx::query(RECORD).bind(&key.as_bytes()[..]);
    let row = row.fetch_optional(pool).await?;
    row.map(|row| one_record(&row)).transpose()
}

pub(super) async fn records(
    pool: &SqlitePool,
    wanted: &RecordFilter,
    after: Option<Digest>,
    window: usize,
    at_most: usize,
) -> Result<Window, Failure> {
    let rows = sqlx::query(RECORDS)
        .bind(behind(&after))
        .bind(limit(window))
        .bind(wanted.only_reason().map(written))
        .bind(wanted.earliest().map(secs))
        .bind(limit(at_most))
        .fetch_all(pool)
        .await?;
    let mut records = Vec::new();
    for row in &rows {
        if row.try_get::<Option<&[u8]>, _>(0)?.is_some() {
            records.push(one_record(row)?);
        }
    }
    let first = rows.first().ok_or(Failure::Garbled("a page"))?;
    let is_full = first.try_get::<i64, _>(9)? == limit(window);
    let more_after = is_full.then(|| digest(first, 10)).transpose()?;
    Ok(Window {
        records,
        more_after,
    })
}

/// Of the columns behind them, too.
fn one_record(row: &SqliteRow) -> Result<Record, Failure> {
    let words = Words {
        issuer: row.try_get(4)?,
        claim: row.try_get(5)?,
        value: row.try_get(6)?,
        said_by: row.try_get(7)?,
        reason: row.try_get(8)?,
    };
    Ok(one_revoked(row)?.record(words))
}
