//! What is read: look-ups, the feed, a full load, records.

use std::collections::HashMap;

use sqlx::{ColumnIndex, Executor, MySqlPool, Row, mysql::MySqlRow};
use tower_revoke_core::{KeyDigest, Listed, Record, RecordFilter};

use super::sql::{IN_A_LIST, Tables, literal};
use crate::{
    backend::{Digest, Event, Feed, Revoked, Used, Window, Words, listed},
    error::Failure,
    value::{secs, time, written},
};

pub(super) fn digest(
    row: &MySqlRow,
    column: impl ColumnIndex<MySqlRow>,
) -> Result<Digest, Failure> {
    let bytes: &[u8] = row.try_get_unchecked(column)?;
    bytes.try_into().map_err(|_| Failure::Garbled("a key"))
}

/// As bytes: the driver takes a column that is compared by its bytes for no text.
pub(super) fn text(
    row: &MySqlRow,
    column: impl ColumnIndex<MySqlRow>,
) -> Result<Option<String>, Failure> {
    let bytes: Option<Vec<u8>> = row.try_get_unchecked(column)?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|_| Failure::Garbled("a text"))
}

/// By the text protocol, which prepares nothing and takes one round trip.
async fn rows(pool: &MySqlPool, statement: &str) -> Result<Vec<MySqlRow>, Failure> {
    Ok(pool.fetch_all(sqlx::raw_sql(statement)).await?)
}

pub(super) async fn look_up(
    pool: &MySqlPool,
    tables: &Tables,
    keys: &[KeyDigest],
) -> Result<Vec<Option<Listed>>, Failure> {
    let mut found = HashMap::new();
    for some in keys.chunks(IN_A_LIST) {
        let list: Vec<_> = some.iter().map(|key| literal(key.as_bytes())).collect();
        let list = list.join(",");
        // One statement, and so one snapshot.
        let statement = format!(
            "SELECT 0, digest, issued_at_or_before, until FROM {} FORCE INDEX (PRIMARY) \
             WHERE digest IN ({list}) UNION ALL \
             SELECT 1, token, NULL, until FROM {} FORCE INDEX (PRIMARY) \
             WHERE token IN ({list}) AND held >= max_uses",
            tables.revoked, tables.uses,
        );
        for row in rows(pool, &statement).await? {
            let key = digest(&row, 1)?;
            let until: Option<i64> = row.try_get_unchecked(3)?;
            match row.try_get_unchecked::<i64, _>(0)? {
                0 => {
                    found.insert(key, listed(row.try_get_unchecked(2)?, until));
                }
                _ => {
                    // A revocation says more.
                    let until = until.map(time);
                    found.entry(key).or_insert(Listed::Spent { until });
                }
            }
        }
    }
    let answers = keys.iter().map(|key| found.get(key.as_bytes()).copied());
    Ok(answers.collect())
}

pub(super) async fn feed(
    pool: &MySqlPool,
    tables: &Tables,
    after: i64,
    at_most: usize,
) -> Result<Feed, Failure> {
    let Tables { store, events, .. } = tables;
    // One statement, and so one snapshot. There is a row also where there is no event.
    let statement = format!(
        "SELECT s.id, s.seq, s.mark, s.trimmed, s.trimmed_mark, \
         (SELECT seen.mark FROM {events} seen WHERE seen.seq = {after}), \
         e.seq, e.mark, e.what, e.digest, e.issued_at_or_before, e.until, e.at \
         FROM {store} s LEFT JOIN \
         (SELECT * FROM {events} WHERE seq > {after} ORDER BY seq LIMIT {at_most}) e ON 1 = 1 \
         ORDER BY e.seq"
    );
    let rows = rows(pool, &statement).await?;
    let first = rows.first().ok_or(Failure::Garbled("the feed's state"))?;
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(seq) = row.try_get_unchecked(6)? else {
            break;
        };
        events.push(Event {
            seq,
            mark: row.try_get_unchecked(7)?,
            what: row.try_get_unchecked(8)?,
            digest: digest(row, 9)?,
            issued: row.try_get_unchecked(10)?,
            until: row.try_get_unchecked(11)?,
            at: row.try_get_unchecked(12)?,
        });
    }
    Ok(Feed {
        store: digest(first, 0)?,
        last: (first.try_get_unchecked(1)?, first.try_get_unchecked(2)?),
        trimmed: (first.try_get_unchecked(3)?, first.try_get_unchecked(4)?),
        seen: first.try_get_unchecked(5)?,
        events,
    })
}

pub(super) async fn revoked(
    pool: &MySqlPool,
    tables: &Tables,
    after: Option<Digest>,
    at_most: usize,
) -> Result<Vec<Revoked>, Failure> {
    let statement = format!(
        "SELECT digest, issued_at_or_before, until, at FROM {} {} ORDER BY digest LIMIT {at_most}",
        tables.revoked,
        behind("digest", after),
    );
    let rows = rows(pool, &statement).await?;
    rows.iter().map(one_revoked).collect()
}

fn one_revoked(row: &MySqlRow) -> Result<Revoked, Failure> {
    Ok(Revoked {
        digest: digest(row, "digest")?,
        issued: row.try_get_unchecked("issued_at_or_before")?,
        until: row.try_get_unchecked("until")?,
        at: row.try_get_unchecked("at")?,
    })
}

pub(super) async fn uses(
    pool: &MySqlPool,
    tables: &Tables,
    after: Option<Digest>,
    at_most: usize,
) -> Result<Vec<Used>, Failure> {
    let statement = format!(
        "SELECT token, until, held >= max_uses FROM {} {} ORDER BY token LIMIT {at_most}",
        tables.uses,
        behind("token", after),
    );
    let used = |row: &MySqlRow| {
        Ok(Used {
            token: digest(row, 0)?,
            until: row.try_get_unchecked(1)?,
            is_spent: row.try_get_unchecked::<i64, _>(2)? != 0,
        })
    };
    rows(pool, &statement).await?.iter().map(used).collect()
}

fn behind(key: &str, after: Option<Digest>) -> String {
    after.map_or_else(String::new, |after| {
        format!("WHERE {key} > {}", literal(&after))
    })
}

pub(super) async fn record(
    pool: &MySqlPool,
    tables: &Tables,
    key: &KeyDigest,
) -> Result<Option<Record>, Failure> {
    let statement = format!(
        "SELECT * FROM {} WHERE digest = {}",
        tables.revoked,
        literal(key.as_bytes())
    );
    let rows = rows(pool, &statement).await?;
    rows.first().map(one_record).transpose()
}

pub(super) async fn records(
    pool: &MySqlPool,
    tables: &Tables,
    wanted: &RecordFilter,
    after: Option<Digest>,
    window: usize,
    at_most: usize,
) -> Result<Window, Failure> {
    let mut filter = String::new();
    if let Some(reason) = wanted.only_reason() {
        let reason = literal(written(reason).as_bytes());
        // As texts, they would be equal but for spaces at their ends.
        filter += &format!(" AND CAST(r.reason AS BINARY) = {reason}");
    }
    if let Some(earliest) = wanted.earliest() {
        filter += &format!(" AND r.at >= {}", secs(earliest));
    }
    let window = match filter.is_empty() {
        true => window.min(at_most),
        false => window,
    };
    // A window of keys, of which few may be wanted: the answer comes in time all the same, and words
    // are sent only of what is wanted.
    let table = &tables.revoked;
    let statement = format!(
        "SELECT w.digest AS seen, r.* FROM \
         (SELECT digest FROM {table} {} ORDER BY digest LIMIT {window}) w \
         LEFT JOIN {table} r ON r.digest = w.digest{filter} ORDER BY w.digest",
        behind("digest", after),
    );
    let rows = rows(pool, &statement).await?;
    let mut records = Vec::new();
    for row in &rows {
        if records.len() < at_most
            && let Some(_) = row.try_get_unchecked::<Option<&[u8]>, _>("digest")?
        {
            records.push(one_record(row)?);
        }
    }
    let last = rows.last().filter(|_| rows.len() == window);
    let more_after = last.map(|row| digest(row, "seen")).transpose()?;
    Ok(Window {
        records,
        more_after,
    })
}

fn one_record(row: &MySqlRow) -> Result<Record, Failure> {
    let words = Words {
        issuer: text(row, "issuer")?,
        claim: text(row, "claim")?,
        value: text(row, "value")?,
        said_by: text(row, "said_by")?,
        reason: text(row, "reason")?,
    };
    Ok(one_revoked(row)?.record(words))
}
