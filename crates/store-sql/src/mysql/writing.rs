//! What is written. Each batch is one transaction of two round trips: the first takes the lock and
//! reads what is known, the second writes what the rules make of it.

use sqlx::{Row, mysql::MySqlRow};

use super::{
    reading::{digest, text},
    session::{AT_EASE, IN_A_HURRY, Link},
    sql::{IN_A_LIST, Literal, Packets, Tables, literal, row},
};
use crate::{
    backend::{Batch, Digest},
    error::Failure,
    op::Answer,
    rules::{Done, Held, Keys, Known, Lifted, Revoked, Uses},
    value::secs,
};

/// Which table a row that was read comes from.
const STORE: i64 = 0;
const REVOKED: i64 = 1;
const LIFTED: i64 = 2;
const USES: i64 = 3;
const HELD: i64 = 4;

/// The answers, and the last event, if there is a new one.
pub(super) async fn apply(
    link: &mut Link,
    tables: &Tables,
    batch: &Batch<'_>,
) -> Result<(Vec<Answer>, Option<i64>), Failure> {
    let keys = Keys::of(&batch.ops);
    let questions = questions(tables, &keys, link.packet)?;
    let mut known = match known(&link.begin(&questions).await?) {
        Ok(known) => known,
        Err(failure) => {
            link.back().await?;
            return Err(failure);
        }
    };
    let done = known.apply(batch);
    let writes = match writes(tables, batch, &known, &done, link.packet) {
        Ok(writes) => writes,
        Err(failure) => {
            link.back().await?;
            return Err(failure);
        }
    };
    link.end(&writes).await?;
    Ok((done.answers, done.events.last().map(|event| event.seq)))
}

/// The statements that take the lock of whoever writes. All that is read after them was committed by
/// those who had it before: a snapshot is taken by the first statement that reads without a lock.
pub(super) fn begin(packets: &mut Packets, tables: &Tables) {
    // A transaction that is begun commits one that was left open.
    packets.add("ROLLBACK");
    packets.add(IN_A_HURRY);
    packets.add("START TRANSACTION");
    packets.add(&format!(
        "SELECT {STORE}, seq, purged_before, trimmed FROM {} WHERE only_one=1 FOR UPDATE",
        tables.store
    ));
}

/// Those that commit.
pub(super) fn end(packets: &mut Packets) {
    packets.add("COMMIT");
    packets.add(AT_EASE);
}

fn questions(tables: &Tables, keys: &Keys, at_most: usize) -> Result<Vec<String>, Failure> {
    let mut packets = Packets::new(at_most);
    begin(&mut packets, tables);
    // What is known of a list of keys, by the index, however few rows the server believes there are.
    let mut ask = |kind: i64, columns: &str, table: &str, key: &str, keys: Vec<String>| {
        let head =
            format!("SELECT {kind},{columns} FROM {table} FORCE INDEX (PRIMARY) WHERE {key} IN (");
        packets.rows(&head, keys, ")")
    };
    let digests = |keys: &std::collections::BTreeSet<Digest>| keys.iter().map(literal).collect();
    ask(
        REVOKED,
        "digest,issued_at_or_before,until,at,issuer,claim,value,said_by,reason",
        &tables.revoked,
        "digest",
        digests(&keys.revoked),
    )?;
    ask(
        LIFTED,
        "digest,at,until,said_by,reason",
        &tables.lifted,
        "digest",
        digests(&keys.lifted),
    )?;
    ask(
        USES,
        "token,max_uses,held,until,holder",
        &tables.uses,
        "token",
        digests(&keys.uses),
    )?;
    let held = keys.held.iter().map(|(token, id)| row(&[token, id]));
    ask(
        HELD,
        "token,use_id",
        &tables.held,
        "(token,use_id)",
        held.collect(),
    )?;
    Ok(packets.into_packets())
}

fn known(rows: &[MySqlRow]) -> Result<Known, Failure> {
    let mut known = Known::default();
    let mut is_there = false;
    for row in rows {
        match row.try_get_unchecked::<i64, _>(0)? {
            STORE => {
                is_there = true;
                known.seq = row.try_get_unchecked(1)?;
                known.purged_before = row.try_get_unchecked(2)?;
            }
            REVOKED => {
                let claim = text(row, 6)?.zip(text(row, 7)?);
                let revoked = Revoked {
                    issued: row.try_get_unchecked(2)?,
                    until: row.try_get_unchecked(3)?,
                    at: row.try_get_unchecked(4)?,
                    issuer: text(row, 5)?,
                    claim,
                    by: text(row, 8)?.unwrap_or_default(),
                    reason: text(row, 9)?.unwrap_or_default(),
                };
                known.revoked.found(digest(row, 1)?, revoked);
            }
            LIFTED => {
                let lifted = Lifted {
                    at: row.try_get_unchecked(2)?,
                    until: row.try_get_unchecked(3)?,
                    by: text(row, 4)?.unwrap_or_default(),
                    reason: text(row, 5)?.unwrap_or_default(),
                };
                known.lifted.found(digest(row, 1)?, lifted);
            }
            USES => {
                let holder: Option<&[u8]> = row.try_get_unchecked(5)?;
                let holder = holder.map(Digest::try_from).transpose();
                let uses = Uses {
                    limit: row.try_get_unchecked(2)?,
                    held: row.try_get_unchecked(3)?,
                    until: row.try_get_unchecked(4)?,
                    holder: holder.map_err(|_| Failure::Garbled("a use"))?,
                };
                known.uses.found(digest(row, 1)?, uses);
            }
            HELD => known.held.found((digest(row, 1)?, digest(row, 2)?), ()),
            _ => return Err(Failure::Garbled("a row")),
        }
    }
    // It may have been emptied by hand. Without it there is no lock.
    match is_there {
        true => Ok(known),
        false => Err(Failure::Garbled("the table of the store's state")),
    }
}

fn writes(
    tables: &Tables,
    batch: &Batch<'_>,
    known: &Known,
    done: &Done,
    at_most: usize,
) -> Result<Vec<String>, Failure> {
    let mut packets = Packets::new(at_most);
    let put = |table: &str, columns: &str| format!("REPLACE INTO {table} ({columns}) VALUES ");
    let drop = |table: &str, key: &str| format!("DELETE FROM {table} WHERE {key} IN (");
    let revoked = known.revoked.put_rows().map(|(digest, said)| {
        let claim = said.claim.as_ref();
        row(&[
            digest,
            &said.issued,
            &said.until,
            &said.at,
            &said.issuer,
            &claim.map(|(name, _)| name),
            &claim.map(|(_, value)| value),
            &said.by,
            &said.reason,
        ])
    });
    let columns = "digest,issued_at_or_before,until,at,issuer,claim,value,said_by,reason";
    packets.rows(&put(&tables.revoked, columns), revoked, "")?;
    packets.rows(
        &drop(&tables.revoked, "digest"),
        known.revoked.deleted().map(literal),
        ")",
    )?;
    let lifted = known.lifted.put_rows().map(|(digest, lift)| {
        let Lifted {
            at,
            until,
            by,
            reason,
        } = lift;
        row(&[digest, at, until, by, reason])
    });
    let columns = "digest,at,until,said_by,reason";
    packets.rows(&put(&tables.lifted, columns), lifted, "")?;
    let uses = known.uses.put_rows().map(|(token, uses)| {
        let Uses {
            limit,
            held,
            until,
            holder,
        } = uses;
        row(&[token, limit, held, until, holder])
    });
    let columns = "token,max_uses,held,until,holder";
    packets.rows(&put(&tables.uses, columns), uses, "")?;
    let pair = |(token, id): &Held| row(&[token, id]);
    let held = known.held.put_rows().map(|(key, ())| pair(key));
    packets.rows(&put(&tables.held, "token,use_id"), held, "")?;
    let returned = known.held.deleted().map(pair);
    packets.rows(&drop(&tables.held, "(token,use_id)"), returned, ")")?;
    let now = secs(batch.now);
    let events = done.events.iter().map(|event| {
        let values: [&dyn Literal; 8] = [
            &event.seq,
            &event.mark,
            &now,
            &event.what,
            &event.digest,
            &event.issued,
            &event.until,
            &event.at,
        ];
        row(&values)
    });
    packets.rows(
        // Not REPLACE: a number that is taken is an error.
        &format!("INSERT INTO {} VALUES ", tables.events),
        events,
        "",
    )?;
    if let Some(last) = done.events.last() {
        packets.add(&format!(
            "UPDATE {} SET seq={}, mark={} WHERE only_one=1",
            tables.store, last.seq, last.mark
        ));
    }
    let acknowledges = || {
        let mut all = batch.ops.iter().zip(&done.answers);
        all.any(|(op, answer)| answer.outcome == 1 || op.has_no_answer())
    };
    if packets.is_empty() && acknowledges() {
        // What is found may be in the server's memory only: others see it before it is flushed. A
        // commit that writes something flushes all that was written before it.
        packets.add(&format!(
            "UPDATE {} SET repeats = repeats + 1 WHERE only_one=1",
            tables.store
        ));
    }
    end(&mut packets);
    Ok(packets.into_packets())
}

/// A list of keys is never longer, so that the index is always worth it.
const _: () = assert!(IN_A_LIST < 1_000);
