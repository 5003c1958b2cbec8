//! Removal of old events and of expired rows, in steps, under the lock of writers.

use tower_revoke_core::UnixTime;

use super::{session::Link, sql::DIALECT};
use crate::{
    backend::{Digest, Trim},
    batch::{Tables, back, begin, commit, locking},
    columns::Columns,
    error::Failure,
    text::Packets,
    value::secs,
};

/// Removes the oldest events.
pub(super) async fn trim(link: &mut Link, tables: &Tables, trim: Trim) -> Result<(), Failure> {
    let Tables { store, events, .. } = tables;
    let mut packets = locking(tables, link.packet);
    packets.add(&format!(
        "SELECT 1, MIN(seq) FROM {events} WHERE seq <= (SELECT trimmed FROM {store} \
         WHERE only_one=1) + {} AND written >= CAST(UNIX_TIMESTAMP() AS SIGNED) - {}",
        trim.at_once, trim.retention,
    ));
    let rows = begin(link, tables, packets).await?;
    let [state, kept] = rows.as_slice() else {
        back(link, tables).await?;
        return Err(Failure::Garbled("the feed's state"));
    };
    let (seq, trimmed, first_kept) = (state.number(1)?, state.number(3)?, kept.int(1)?);
    let Some(cut) = trim.cut(seq, trimmed, first_kept) else {
        return back(link, tables).await;
    };
    let mut packets = Packets::new(link.packet);
    // Only whole rows are removed, so the cut moves back to the last event of one.
    let of_last = |column: &str| {
        let select = format!("SELECT {column} FROM {events} WHERE seq <= {cut}");
        format!("({select} ORDER BY seq DESC LIMIT 1)")
    };
    packets.add(&format!(
        "UPDATE {store} SET trimmed=COALESCE({}, trimmed), \
         trimmed_mark=COALESCE({}, trimmed_mark) WHERE only_one=1",
        of_last("seq"),
        of_last("mark"),
    ));
    packets.add(&format!("DELETE FROM {events} WHERE seq <= {cut}"));
    commit(link, tables, packets).await
}

/// Removes up to `at_once` rows of each table that expired before a time. Returns the number of
/// entries removed, and whether there may be more.
pub(super) async fn purge(
    link: &mut Link,
    tables: &Tables,
    before: UnixTime,
    at_once: i64,
) -> Result<(u64, bool), Failure> {
    let before = secs(before);
    // Ordered as the index on `until`, whose entries end with the primary key, so nothing is
    // sorted. The rows are then deleted by their keys: a replica that repeats the statements
    // removes the same rows.
    let due = |columns: &str, table: &str, key: &str| {
        format!(
            "SELECT {columns} FROM {table} WHERE until < {before} ORDER BY until, {key} \
             LIMIT {at_once}"
        )
    };
    let mut packets = locking(tables, link.packet);
    packets.add(&due("1, digest, 1, 1", &tables.revoked, "digest"));
    packets.add(&due("2, digest, 1, 1", &tables.lifted, "digest"));
    packets.add(&due("3, token, held, max_uses", &tables.uses, "token"));
    packets.add(&due("4, hash, 1, 1", &tables.issued, "hash"));
    let rows = begin(link, tables, packets).await?;
    let (mut revoked, mut lifted) = (Vec::new(), Vec::new());
    let mut issued = Vec::new();
    let (mut used, mut held) = (Vec::new(), Vec::new());
    let mut dropped = 0;
    for row in &rows {
        let from = row.number(0)?;
        if from == 0 {
            continue;
        }
        if from == 4 {
            issued.push(row.hash(1)?);
            dropped += 1;
            continue;
        }
        let key = row.digest(1)?;
        match from {
            1 => {
                revoked.push(key);
                dropped += 1;
            }
            2 => lifted.push(key),
            _ => {
                dropped += u64::try_from(row.number(2)?).unwrap_or(0).max(1);
                used.push(key);
                if row.number(3)? > 1 {
                    held.push(key);
                }
            }
        }
    }
    let mut packets = Packets::new(link.packet);
    // Recorded by every purge: a use that expired before this time is rejected, since its token may
    // have been purged.
    packets.add(&format!(
        "UPDATE {} SET purged_before={before} \
         WHERE only_one=1 AND (purged_before IS NULL OR purged_before < {before})",
        tables.store
    ));
    let mut drop = |table: &str, key: &str, keys: &[Digest]| {
        let head = format!("DELETE FROM {table} WHERE {key} IN (");
        packets.rows(&head, keys.iter().map(|key| DIALECT.bytes(key)), ")")
    };
    drop(&tables.revoked, "digest", &revoked)?;
    drop(&tables.lifted, "digest", &lifted)?;
    drop(&tables.uses, "token", &used)?;
    drop(&tables.held, "token", &held)?;
    let head = format!("DELETE FROM {} WHERE hash IN (", tables.issued);
    packets.rows(&head, issued.iter().map(|hash| DIALECT.bytes(hash)), ")")?;
    commit(link, tables, packets).await?;
    let fullest = revoked.len().max(lifted.len()).max(used.len());
    let fullest = fullest.max(issued.len());
    Ok((
        dropped,
        i64::try_from(fullest).is_ok_and(|rows| rows >= at_once),
    ))
}
