//! Statements as text: names of tables, literals, and packets that are no longer than the server
//! accepts.
//!
//! Batches differ in their number of rows, and a prepared statement for each number would fill the
//! server's cache. The values are therefore part of the text: as numbers, or as hex digits, in
//! which no value can end its literal.

use std::fmt::Write;

use super::error::IS_READ_ONLY;
use crate::{backend::Digest, error::Failure};

/// The size at which a packet counts as full, even if the server accepts longer ones. A single long
/// row may exceed it.
const COMFORTABLE: usize = 1 << 20;

/// The maximum number of values in a list. With more, the optimizer may not use the index.
pub(super) const IN_A_LIST: usize = 512;

/// The names of the tables.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) prefix: String,
    pub(super) store: String,
    pub(super) revoked: String,
    pub(super) lifted: String,
    pub(super) uses: String,
    pub(super) held: String,
    pub(super) events: String,
}

impl Tables {
    /// Returns the quoted names of the tables. They include the database, since a session of the
    /// user's pool may have switched to another one. The builder has rejected prefixes that contain
    /// quotes.
    pub(super) fn new(database: &str, prefix: &str) -> Self {
        let database = database.replace('`', "``");
        let named = |name| format!("`{database}`.`{prefix}{name}`");
        Self {
            prefix: prefix.to_owned(),
            store: named("store"),
            revoked: named("revoked"),
            lifted: named("lifted"),
            uses: named("uses"),
            held: named("held"),
            events: named("events"),
        }
    }
}

/// A value that can be written into a statement.
pub(super) trait Literal {
    fn write(&self, sql: &mut String);
}

impl Literal for i64 {
    fn write(&self, sql: &mut String) {
        // Writing to a String can't fail.
        let _ = write!(sql, "{self}");
    }
}

/// The time by the clock of the server, in seconds since 1970.
pub(super) struct ServerTime;

impl Literal for ServerTime {
    fn write(&self, sql: &mut String) {
        sql.push_str("UNIX_TIMESTAMP()");
    }
}

impl Literal for [u8] {
    fn write(&self, sql: &mut String) {
        sql.reserve(2 * self.len() + 3);
        sql.push_str("x'");
        for byte in self {
            for half in [byte >> 4, byte & 15] {
                sql.push(char::from(b"0123456789abcdef"[usize::from(half)]));
            }
        }
        sql.push('\'');
    }
}

impl Literal for Digest {
    fn write(&self, sql: &mut String) {
        self[..].write(sql);
    }
}

impl Literal for str {
    fn write(&self, sql: &mut String) {
        sql.push_str("_utf8mb4 ");
        self.as_bytes().write(sql);
    }
}

impl Literal for String {
    fn write(&self, sql: &mut String) {
        self[..].write(sql);
    }
}

impl<T: Literal + ?Sized> Literal for &T {
    fn write(&self, sql: &mut String) {
        (**self).write(sql);
    }
}

impl<T: Literal> Literal for Option<T> {
    fn write(&self, sql: &mut String) {
        match self {
            Some(value) => value.write(sql),
            None => sql.push_str("NULL"),
        }
    }
}

/// Returns the literal of one value.
pub(super) fn literal(value: &(impl Literal + ?Sized)) -> String {
    let mut sql = String::new();
    value.write(&mut sql);
    sql
}

/// Returns the literals of a row, as `(…, …)`.
pub(super) fn row(values: &[&dyn Literal]) -> String {
    let mut sql = String::from("(");
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            sql.push(',');
        }
        value.write(&mut sql);
    }
    sql.push(')');
    sql
}

/// Statements, gathered into as few packets as `max_allowed_packet` allows. Each is one round trip.
#[derive(Debug)]
pub(super) struct Packets {
    at_most: usize,
    full: Vec<String>,
    last: String,
}

impl Packets {
    pub(super) fn new(at_most: usize) -> Self {
        Self {
            at_most,
            full: Vec::new(),
            last: String::new(),
        }
    }

    /// Adds a statement, which must be short enough for a packet.
    pub(super) fn add(&mut self, statement: &str) {
        self.make_room(statement.len() + 1);
        self.last.push_str(statement);
        self.last.push(';');
    }

    /// Adds as many statements `head row, row, … tail` as the rows need; none if there are no rows.
    ///
    /// # Errors
    /// [`Failure::TooLong`] if a single row is too long for a packet.
    pub(super) fn rows(
        &mut self,
        head: &str,
        rows: impl IntoIterator<Item = String>,
        tail: &str,
    ) -> Result<(), Failure> {
        let mut count = 0;
        for row in rows {
            let alone = head.len() + row.len() + tail.len() + 1;
            if alone > self.at_most {
                return Err(Failure::TooLong);
            }
            let is_full = count == IN_A_LIST || self.is_full_with(row.len() + tail.len() + 2);
            if count > 0 && is_full {
                self.end(tail);
                count = 0;
            }
            if count == 0 {
                self.make_room(alone);
                self.last.push_str(head);
            } else {
                self.last.push(',');
            }
            self.last.push_str(&row);
            count += 1;
        }
        if count > 0 {
            self.end(tail);
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.full.is_empty() && self.last.is_empty()
    }

    fn end(&mut self, tail: &str) {
        self.last.push_str(tail);
        self.last.push(';');
    }

    fn is_full_with(&self, more: usize) -> bool {
        self.last.len() + more > self.at_most.min(COMFORTABLE)
    }

    fn make_room(&mut self, more: usize) {
        if !self.last.is_empty() && self.is_full_with(more) {
            self.full.push(std::mem::take(&mut self.last));
        }
    }

    pub(super) fn into_packets(mut self) -> Vec<String> {
        if !self.last.is_empty() {
            self.full.push(self.last);
        }
        self.full
    }
}

/// Sent before the lock is taken. If the node stops between its two round trips, the server ends
/// the idle session after a second. That rolls back its transaction and releases the lock.
const IN_A_HURRY: &str = "SET SESSION wait_timeout=1";

/// Sent after the commit, so that the connection survives being idle.
pub(super) const AT_EASE: &str = "SET SESSION wait_timeout=DEFAULT";

/// Adds the statements that take the lock of writers. They return one row of: 0, seq,
/// purged_before, trimmed, and whether the server is read-only. The snapshot of the transaction is taken by its first read without a
/// lock. That comes after them, so it sees everything that earlier holders of the lock have
/// committed.
pub(super) fn begin(packets: &mut Packets, tables: &Tables) {
    // START TRANSACTION would commit a transaction that was left open.
    packets.add("ROLLBACK");
    packets.add(IN_A_HURRY);
    packets.add("START TRANSACTION");
    packets.add(&format!(
        "SELECT 0, seq, purged_before, trimmed, {IS_READ_ONLY} FROM {} \
         WHERE only_one=1 FOR UPDATE",
        tables.store
    ));
}

/// Adds the statements that commit.
pub(super) fn end(packets: &mut Packets) {
    packets.add("COMMIT");
    packets.add(AT_EASE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_ends_its_literal() {
        let text = "'; DROP TABLE x -- \\ \" \0 é😀";
        let sql = row(&[&text, &-7_i64, &Some([0xab_u8; 16]), &None::<i64>]);
        let quoted: Vec<_> = sql.split('\'').collect();
        assert_eq!(quoted.len(), 5, "two literals: {sql}");
        for digits in [quoted[1], quoted[3]] {
            assert!(digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        }
        assert_eq!(quoted[3], "ab".repeat(16));
        assert_eq!(quoted[4], ",NULL)");
    }

    #[test]
    fn packets_keep_their_bound_and_lose_no_row() {
        for at_most in [40, 100, 1_000, 1_000_000] {
            let mut packets = Packets::new(at_most);
            packets.add("BEGIN");
            let rows = (0..2_000).map(|number| format!("({number})"));
            packets
                .rows("INSERT t VALUES ", rows, " END")
                .expect("short rows");
            packets.add("COMMIT");
            let packets = packets.into_packets();
            assert!(packets.iter().all(|packet| packet.len() <= at_most));
            let all = packets.concat();
            let statements: Vec<_> = all.split_terminator(';').collect();
            assert_eq!(statements.first(), Some(&"BEGIN"));
            assert_eq!(statements.last(), Some(&"COMMIT"));
            let found: Vec<u32> = statements[1..statements.len() - 1]
                .iter()
                .flat_map(|statement| {
                    let rows = statement.strip_prefix("INSERT t VALUES ");
                    let rows = rows.and_then(|rows| rows.strip_suffix(" END"));
                    rows.expect("whole statements").split(',')
                })
                .map(|row| row.trim_matches(['(', ')']).parse().expect("a number"))
                .collect();
            assert_eq!(found, (0..2_000).collect::<Vec<_>>());
        }
        let mut packets = Packets::new(100);
        let too_long = packets.rows("INSERT t VALUES ", ["x".repeat(100)], "");
        assert!(matches!(too_long, Err(Failure::TooLong)));
    }
}
