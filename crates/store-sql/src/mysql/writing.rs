//! Writes. Each batch is one transaction of two round trips: the first takes the lock and reads the
//! rows that the batch concerns, the second writes those that it changes, and commits.

use sqlx::mysql::MySqlRow;
use tokio::sync::watch;
use tower_revoke_core::UnixTime;

use super::{
    database::MySql,
    error, keeping,
    session::Link,
    sql::{IN_A_LIST, Literal, Packets, ServerTime, Tables, begin, end, literal, row},
};
use crate::{
    backend::{Backend, Batch, Digest, Trim},
    columns::Columns,
    error::{Failure, Kind},
    op::Answer,
    rules::{Done, Held, Keys, Known, Lifted, Revoked, Uses},
};

impl Backend for MySql {
    type Link = Link;

    fn kind(error: &sqlx::Error) -> Kind {
        error::kind(error)
    }

    async fn open(&self) -> Result<Link, Failure> {
        Ok(Link::open(&self.pool.connect_options(), self.request_timeout).await?)
    }

    async fn close(&self, link: Option<Link>) {
        if !self.is_borrowed {
            self.pool.close().await;
        }
        if let Some(link) = link {
            link.close().await;
        }
    }

    async fn apply(&self, link: &mut Link, batch: &Batch<'_>) -> Result<Vec<Answer>, Failure> {
        let (answers, last) = apply(link, &self.tables, batch).await?;
        if let Some(last) = last {
            self.own.send_replace(last);
        }
        Ok(answers)
    }

    async fn trim(&self, link: &mut Link, trim: Trim) -> Result<(), Failure> {
        keeping::trim(link, &self.tables, trim).await
    }

    async fn purge(&self, before: UnixTime, at_once: i64) -> Result<(u64, bool), Failure> {
        // On a connection of its own: if the call is dropped it is closed, and the server rolls
        // back.
        let mut link = self.open().await?;
        let dropped = keeping::purge(&mut link, &self.tables, before, at_once).await?;
        link.close().await;
        Ok(dropped)
    }

    fn longest(&self) -> usize {
        // Two hex digits for each byte, and room for the rest of the row.
        self.packet.saturating_sub(1_024) / 2
    }

    async fn listen(&self, news: &watch::Sender<i64>) {
        let mut own = self.own.subscribe();
        loop {
            news.send_replace(*own.borrow_and_update());
            if own.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The first column of each row that is read: the table it comes from.
const STORE: i64 = 0;
const REVOKED: i64 = 1;
const LIFTED: i64 = 2;
const USES: i64 = 3;
const HELD: i64 = 4;

/// Applies a batch. Returns the answers, and the number of the last event if there are new ones.
async fn apply(
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

fn questions(tables: &Tables, keys: &Keys, at_most: usize) -> Result<Vec<String>, Failure> {
    let mut packets = Packets::new(at_most);
    begin(&mut packets, tables);
    // FORCE INDEX: the optimizer may prefer a scan if it believes that there are few rows.
    let mut ask = |kind: i64, columns: &str, table: &str, key: &str, keys: Vec<String>| {
        let head =
            format!("SELECT {kind},{columns} FROM {table} FORCE INDEX (PRIMARY) WHERE {key} IN (");
        packets.rows(&head, keys, ")")
    };
    let digests = |keys: &std::collections::BTreeSet<Digest>| keys.iter().map(literal).collect();
    ask(
        REVOKED,
        "digest,issued_at_or_before,until,at,spent,issuer,claim,value,said_by,reason",
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
        match row.number(0)? {
            STORE => {
                is_there = true;
                known.seq = row.number(1)?;
                known.purged_before = row.int(2)?;
            }
            REVOKED => {
                let revoked = Revoked {
                    issued: row.int(2)?,
                    until: row.int(3)?,
                    at: row.number(4)?,
                    spent: row.flag(5)?,
                    issuer: row.text(6)?,
                    claim: row.text(7)?.zip(row.text(8)?),
                    by: row.text(9)?.unwrap_or_default(),
                    reason: row.text(10)?.unwrap_or_default(),
                };
                known.revoked.found(row.digest(1)?, revoked);
            }
            LIFTED => {
                let lifted = Lifted {
                    at: row.number(2)?,
                    until: row.int(3)?,
                    by: row.text(4)?.unwrap_or_default(),
                    reason: row.text(5)?.unwrap_or_default(),
                };
                known.lifted.found(row.digest(1)?, lifted);
            }
            USES => {
                let uses = Uses {
                    limit: row.number(2)?,
                    held: row.number(3)?,
                    until: row.int(4)?,
                    holder: row.some_digest(5)?,
                };
                known.uses.found(row.digest(1)?, uses);
            }
            HELD => known.held.found((row.digest(1)?, row.digest(2)?), ()),
            _ => return Err(Failure::Garbled("a row")),
        }
    }
    // Without the row of `store`, which may have been deleted by hand, nothing was locked.
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
            &i64::from(said.spent),
            &said.issuer,
            &claim.map(|(name, _)| name),
            &claim.map(|(_, value)| value),
            &said.by,
            &said.reason,
        ])
    });
    let columns = "digest,issued_at_or_before,until,at,spent,issuer,claim,value,said_by,reason";
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
    let events = done.events.iter().map(|event| {
        let values: [&dyn Literal; 8] = [
            &event.seq,
            &event.mark,
            &ServerTime,
            &event.what,
            &event.digest,
            &event.issued,
            &event.until,
            &event.at,
        ];
        row(&values)
    });
    packets.rows(
        // Not REPLACE: a number that exists already must be an error.
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
        // The batch finds its rows in place. InnoDB shows a commit to others before its log is
        // flushed, so a crash might still lose them. A commit that writes flushes the log up to its
        // own entry, and so everything before it.
        packets.add(&format!(
            "UPDATE {} SET repeats = repeats + 1 WHERE only_one=1",
            tables.store
        ));
    }
    end(&mut packets);
    Ok(packets.into_packets())
}

/// MariaDB converts longer lists to subqueries (`in_predicate_conversion_threshold`), which may not
/// use the index.
const _: () = assert!(IN_A_LIST < 1_000);
