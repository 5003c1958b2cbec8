//! Batches: first uses of single-use tokens, which are most of the load, by one statement; everything
//! else by two round trips. The first of those takes the lock of writers and reads the rows that the
//! batch concerns, the second writes those that it changes, and commits.

use std::collections::{BTreeMap, BTreeSet};

use tower_revoke_core::{
    RevocationKey, Use, UseOutcome,
    internal::merge::{Details, Lifted},
};

use crate::{
    backend::{Batch, Digest, Event, columns_of},
    columns::{self, Columns},
    error::{Failure, Kind},
    op::Answer,
    rules::{Done, Keys, Known, USED_UP, Uses},
    text::{Dialect, IN_A_LIST, Packets, Row},
    value::{end, expiries, secs, written},
};

/// The names of the tables, and the statements that differ between databases.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) dialect: &'static Dialect,
    /// The prefix of the names, or the schema.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(crate) prefix: String,
    #[cfg(feature = "mysql")]
    pub(crate) store: String,
    pub(crate) revoked: String,
    pub(crate) lifted: String,
    pub(crate) uses: String,
    pub(crate) held: String,
    pub(crate) issued: String,
    pub(crate) events: String,
    /// The statement of [`Link::take_new`].
    pub(crate) take_new: String,
    /// Begins a transaction and takes the lock of writers. Returns one row of: 0, seq,
    /// purged_before, trimmed, and 1 if the server is read-only; rows that begin with a negative
    /// number are ignored. Sees everything that earlier holders of the lock have committed.
    pub(crate) begin: Vec<String>,
    /// Sets for how long, `{secs}`, the server waits for the next packet of the transaction.
    pub(crate) patience: Option<&'static str>,
    /// Commits, and releases the lock.
    pub(crate) commit: &'static str,
    /// The same, but rolls back.
    pub(crate) rollback: &'static str,
    /// Records or publishes the last event, `{seq}` with its `{mark}`.
    pub(crate) last_event: String,
    /// A write without effect. Needed where a commit is visible before its log is flushed: a
    /// transaction that finds its rows in place then has to flush the log itself.
    pub(crate) flush: Option<String>,
}

/// A connection that writes.
pub(crate) trait Link: Send {
    type Row: Columns + Send;

    /// Classifies an error.
    fn kind(error: &sqlx::Error) -> Kind;

    /// Returns whether the server refused to write because it is read-only.
    fn is_read_only(error: &sqlx::Error) -> bool;

    /// Returns the maximum length of a packet, in bytes.
    fn packet(&self) -> usize;

    /// Takes uses of single-use tokens that have not been used before, in a transaction of its own. A
    /// token must not be given twice. Returns the tokens whose use was taken, and the number of the
    /// last event if it is known. Decides nothing about the others.
    fn take_new(
        &mut self,
        statement: &str,
        mark: i64,
        uses: &[&Use],
    ) -> impl Future<Output = Result<(Vec<Digest>, Option<i64>), sqlx::Error>> + Send;

    /// Runs the statements of one packet, and returns the rows of all of them.
    fn ask(
        &mut self,
        packet: &str,
    ) -> impl Future<Output = Result<Vec<Self::Row>, sqlx::Error>> + Send;
}

/// For each of so many bytes of text in a batch, the server waits a second longer for the packets with
/// them. They are encoded while the lock is held, which takes long if the machine has no time for it.
const BYTES_A_SECOND: usize = 1 << 16;

/// Takes the lock and reads. Nothing is written yet, so a failure is known to have had no effect.
pub(crate) async fn begin<L: Link>(
    link: &mut L,
    tables: &Tables,
    packets: Packets,
) -> Result<Vec<L::Row>, Failure> {
    let mut rows = Vec::new();
    for packet in packets.into_packets() {
        match link.ask(&packet).await {
            Ok(more) => rows.extend(more),
            Err(error) => return Err(give_up(link, tables, error, true).await),
        }
    }
    rows.retain(|row| !matches!(row.number(0), Ok(..0)));
    // The first row is that of the lock.
    if matches!(rows.first().map(|row| row.number(4)), Some(Ok(1))) {
        back(link, tables).await?;
        return Err(Failure::ReadOnly);
    }
    Ok(rows)
}

/// Returns the packets of a transaction, up to the lock.
pub(crate) fn locking(tables: &Tables, at_most: usize) -> Packets {
    let mut packets = Packets::new(at_most);
    for statement in &tables.begin {
        packets.add(statement);
    }
    packets
}

/// Writes and commits. The commit is in the last packet, so a failure before that is known to have
/// had no effect. If the connection breaks during the last packet, the outcome is unknown.
pub(crate) async fn commit<L: Link>(
    link: &mut L,
    tables: &Tables,
    mut packets: Packets,
) -> Result<(), Failure> {
    packets.add(tables.commit);
    let packets = packets.into_packets();
    for (place, packet) in packets.iter().enumerate() {
        if let Err(error) = link.ask(packet).await {
            let is_undone = place + 1 < packets.len();
            return Err(give_up(link, tables, error, is_undone).await);
        }
    }
    Ok(())
}

/// Rolls back, which releases the lock.
pub(crate) async fn back<L: Link>(link: &mut L, tables: &Tables) -> Result<(), Failure> {
    link.ask(tables.rollback).await?;
    Ok(())
}

/// Rolls back after a failure, so that the lock is not held until the next write. On a broken
/// connection that fails too, which is harmless: the server rolls back when the session ends, and
/// the next use of the connection fails before it writes anything.
async fn give_up<L: Link>(
    link: &mut L,
    tables: &Tables,
    error: sqlx::Error,
    is_undone: bool,
) -> Failure {
    let _ = back(link, tables).await;
    let is_undone = is_undone || L::is_read_only(&error);
    match L::kind(&error) {
        Kind::Broken if is_undone => Failure::Undone(error.into()),
        _ => error.into(),
    }
}

/// Applies a batch by at most two transactions: one takes first uses, and one does the rest. Returns
/// the answers, and the number of the last event if there are new ones.
///
/// Callers of one batch are concurrent, so none relies on an order between their operations. If the
/// second transaction fails, both can be repeated: a use that was taken is recognized by its id.
pub(crate) async fn apply<L: Link>(
    link: &mut L,
    tables: &Tables,
    batch: &Batch<'_>,
) -> Result<(Vec<Answer>, Option<i64>), Failure> {
    let mut answers = vec![Answer::default(); batch.ops.len()];
    let mut singles = BTreeMap::new();
    let mut rest = Vec::new();
    for (place, op) in batch.ops.iter().enumerate() {
        match op.single_use() {
            Some(use_) if !singles.contains_key(use_.token.as_bytes()) => {
                singles.insert(use_.token.as_bytes(), (place, use_));
            }
            _ => rest.push(place),
        }
    }
    let mut last = None;
    if !singles.is_empty() {
        let uses: Vec<_> = singles.values().map(|(_, use_)| *use_).collect();
        let taken = match link.take_new(&tables.take_new, batch.mark, &uses).await {
            Ok(taken) => taken,
            Err(error) => return Err(give_up(link, tables, error, false).await),
        };
        for token in &taken.0 {
            let place = singles.remove(token).map(|(place, _)| place);
            let answer = place.and_then(|place| answers.get_mut(place));
            let taken = UseOutcome::Taken { left: 0 };
            *answer.ok_or(Failure::Garbled("an answer"))? = Answer::Use(taken);
        }
        last = taken.1;
        rest.extend(singles.into_values().map(|(place, _)| place));
    }
    if rest.is_empty() {
        return Ok((answers, last));
    }
    let others = Batch {
        mark: batch.mark,
        ops: rest.iter().map(|place| batch.ops[*place]).collect(),
    };
    let (more, later) = apply_rules(link, tables, &others).await?;
    for (place, answer) in rest.into_iter().zip(more) {
        answers[place] = answer;
    }
    Ok((answers, later.or(last)))
}

/// Applies a batch by the rules, over the rows that it concerns.
async fn apply_rules<L: Link>(
    link: &mut L,
    tables: &Tables,
    batch: &Batch<'_>,
) -> Result<(Vec<Answer>, Option<i64>), Failure> {
    let at_most = link.packet();
    let questions = questions(tables, batch, at_most)?;
    let rows = begin(link, tables, questions).await?;
    let written = known(&rows).and_then(|mut known| {
        let done = known.apply(batch);
        let writes = writes(tables, &known, &done, at_most)?;
        Ok((done, writes))
    });
    let (done, writes) = match written {
        Ok(written) => written,
        Err(failure) => {
            back(link, tables).await?;
            return Err(failure);
        }
    };
    commit(link, tables, writes).await?;
    Ok((done.answers, done.events.last().map(|event| event.seq)))
}

/// The first column of each row that is read: the table it comes from.
const STORE: i64 = 0;
const REVOKED: i64 = 1;
const LIFTED: i64 = 2;
const USES: i64 = 3;
const HELD: i64 = 4;
const ISSUED: i64 = 5;

fn questions(tables: &Tables, batch: &Batch<'_>, at_most: usize) -> Result<Packets, Failure> {
    let dialect = tables.dialect;
    let keys = Keys::of(&batch.ops);
    let mut packets = locking(tables, at_most);
    let words: usize = batch.ops.iter().map(|op| op.words()).sum();
    if let (Some(patience), more @ 1..) = (tables.patience, words / BYTES_A_SECOND) {
        packets.add(&patience.replace("{secs}", &(1 + more).to_string()));
    }
    let mut ask = |kind: i64, columns: &str, table: &str, key: &str, keys: Vec<String>| {
        let by_key = dialect.by_key;
        let head = format!("SELECT {kind},{columns} FROM {table}{by_key} WHERE {key}");
        packets.rows(&head, keys, ")")
    };
    let digests = |keys: &BTreeSet<Digest>| keys.iter().map(|key| dialect.bytes(key)).collect();
    ask(
        REVOKED,
        "digest,issued_at_or_before,until,at,CASE WHEN spent THEN 1 ELSE 0 END,\
         issuer,claim,value,author,reason",
        &tables.revoked,
        "digest IN (",
        digests(&keys.listed),
    )?;
    let columns = "digest,at,until,author,reason";
    ask(
        LIFTED,
        columns,
        &tables.lifted,
        "digest IN (",
        digests(&keys.listed),
    )?;
    let columns = "token,max_uses,held,until,holder";
    ask(
        USES,
        columns,
        &tables.uses,
        "token IN (",
        digests(&keys.uses),
    )?;
    let held = keys.held.iter().map(|(token, id)| {
        let row = dialect.row().bytes(Some(token));
        row.bytes(Some(id)).end()
    });
    let columns = "token,use_id";
    ask(HELD, columns, &tables.held, dialect.pairs, held.collect())?;
    let issued = keys.issued.iter().map(|hash| dialect.bytes(hash));
    ask(
        ISSUED,
        "hash",
        &tables.issued,
        "hash IN (",
        issued.collect(),
    )?;
    Ok(packets)
}

fn known(rows: &[impl Columns]) -> Result<Known, Failure> {
    let mut known = Known::default();
    let mut is_there = false;
    for row in rows {
        match row.number(0)? {
            STORE => {
                is_there = true;
                known.seq = row.number(1)?;
                known.purged_before = row.int(2)?;
            }
            REVOKED => known.revoked.found(row.digest(1)?, columns::kept(row, 2)?),
            LIFTED => known.lifted.found(row.digest(1)?, columns::lifted(row, 2)?),
            USES => known.uses.found(row.digest(1)?, columns::uses(row, 2)?),
            ISSUED => known.issued.found(row.hash(1)?, None),
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

fn writes(tables: &Tables, known: &Known, done: &Done, at_most: usize) -> Result<Packets, Failure> {
    let dialect = tables.dialect;
    let mut packets = Packets::new(at_most);
    let mut put = |table: &str, key: &str, columns: &str, rows: Vec<String>| {
        let [head, tail] = dialect.put(table, key, columns);
        packets.rows(&head, rows, &tail)
    };
    let details = |details: &Option<Box<Details>>| details.clone().unwrap_or_default();
    let revoked = known.revoked.put_rows().map(|(digest, revoked)| {
        let (spent, issued, until) = columns_of(&revoked.listed);
        let Details { rule, by, reason } = *details(&revoked.details);
        let (issuer, claim) = match rule {
            Some(RevocationKey::Rule { issuer, claim }) => (Some(written(&issuer)), claim),
            _ => (None, None),
        };
        let (name, value) = claim
            .map(|(name, value)| (written(&name), written(&value)))
            .unzip();
        let row = dialect.row().bytes(Some(digest)).int(issued).int(until);
        let row = row
            .int(secs(revoked.at))
            .raw(if spent { "'1'" } else { "'0'" });
        let row = row.text(issuer.as_deref()).text(name.as_deref());
        let row = row.text(value.as_deref()).text(Some(&written(&by)));
        row.text(Some(&written(&reason))).end()
    });
    let columns = "digest,issued_at_or_before,until,at,spent,issuer,claim,value,author,reason";
    put(&tables.revoked, "digest", columns, revoked.collect())?;
    let lifted = known.lifted.put_rows().map(|(digest, lifted)| {
        let Lifted { at, until, .. } = *lifted;
        let Details { by, reason, .. } = *details(&lifted.details);
        let row = dialect
            .row()
            .bytes(Some(digest))
            .int(secs(at))
            .int(end(until));
        let row = row.text(Some(&written(&by)));
        row.text(Some(&written(&reason))).end()
    });
    let columns = "digest,at,until,author,reason";
    put(&tables.lifted, "digest", columns, lifted.collect())?;
    let uses = known
        .uses
        .put_rows()
        .map(|(token, Uses { count, holder })| {
            let row = dialect
                .row()
                .bytes(Some(token))
                .int(i64::from(count.limit.get()));
            let row = row.int(i64::from(count.taken)).int(end(count.until));
            row.bytes(holder.as_ref().map(|holder| &holder[..])).end()
        });
    let columns = "token,max_uses,held,until,holder";
    put(&tables.uses, "token", columns, uses.collect())?;
    let pair = |token: &Digest, id: &Digest| {
        let row = dialect.row().bytes(Some(token));
        row.bytes(Some(id)).end()
    };
    let held = known
        .held
        .put_rows()
        .map(|((token, id), ())| pair(token, id));
    put(&tables.held, "token,use_id", "token,use_id", held.collect())?;
    // Not `put`, as for events below.
    let issued = known.issued.put_rows().filter_map(|(_, row)| {
        let row = row.as_ref()?;
        let sql = dialect.row().bytes(Some(&row.hash));
        let sql = sql.bytes(row.subject.as_ref().map(|key| &key[..]));
        let sql = sql.bytes(row.grant.as_ref().map(|key| &key[..]));
        Some(sql.int(row.until).text(Some(&row.body)).end())
    });
    let head = format!("INSERT INTO {} VALUES ", tables.issued);
    packets.rows(&head, issued, "")?;
    let drop = |table: &str, key: &str| format!("DELETE FROM {table} WHERE {key}");
    let gone = known.revoked.deleted().map(|digest| dialect.bytes(digest));
    packets.rows(&drop(&tables.revoked, "digest IN ("), gone, ")")?;
    let returned = known.held.deleted().map(|(token, id)| pair(token, id));
    packets.rows(&drop(&tables.held, dialect.pairs), returned, ")")?;
    // Tokens that are used up one after the other share a row, which has the number of the last.
    let is_run = |event: &Event, next: &Event| event.what == USED_UP && next.what == USED_UP;
    let events = done.events.chunk_by(is_run).filter_map(|run| {
        let digests: Vec<_> = run.iter().map(|event| event.digest).collect();
        let untils = run.iter().map(|event| event.until);
        let last = run.last()?;
        Some(last.end_of_row(dialect.row().int(last.seq), &digests, untils))
    });
    // Not `put`: a number that exists already must be an error.
    packets.rows(
        &format!("INSERT INTO {} VALUES ", tables.events),
        events,
        "",
    )?;
    if let Some(last) = done.events.last() {
        let statement = tables.last_event.replace("{seq}", &last.seq.to_string());
        packets.add(&statement.replace("{mark}", &last.mark.to_string()));
    }
    let is_acknowledged = |answer: &Answer| match answer {
        Answer::Done | Answer::Found(true) => true,
        Answer::Use(outcome) => matches!(outcome, UseOutcome::Taken { .. }),
        _ => false,
    };
    if let Some(flush) = &tables.flush
        && packets.is_empty()
        && done.answers.iter().any(is_acknowledged)
    {
        packets.add(flush);
    }
    Ok(packets)
}

impl Event {
    /// Adds what follows the number in a row of the table `events`.
    pub(crate) fn end_of_row(
        &self,
        row: Row,
        digests: &[Digest],
        untils: impl Iterator<Item = Option<i64>>,
    ) -> String {
        let Dialect {
            now,
            untils: [before, after],
            ..
        } = row.dialect;
        let untils = expiries(untils);
        let row = row.int(self.mark).raw(now).int(self.what);
        let row = row.bytes(Some(digests.as_flattened())).int(self.issued);
        let row = row.raw(format_args!("{before}{untils}{after}"));
        row.int(self.at).end()
    }
}

/// MariaDB converts longer lists to subqueries (`in_predicate_conversion_threshold`), which may not
/// use the index.
const _: () = assert!(IN_A_LIST < 1_000);
