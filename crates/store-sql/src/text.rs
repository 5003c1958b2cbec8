//! Statements as text: dialects, literals, and packets that are no longer than the server accepts.
//!
//! Batches differ in their number of rows, and a prepared statement for each number would fill the
//! server's cache. The values are therefore part of the text: as numbers, or as hex digits, in
//! which no value can end its literal.

use std::fmt::Write;

use crate::error::Failure;

/// The size at which a packet counts as full, even if the server accepts longer ones. A single long
/// row may exceed it.
const COMFORTABLE: usize = 1 << 20;

/// The maximum number of values in a list. With more, the optimizer may not use the index.
pub(crate) const IN_A_LIST: usize = 512;

/// The syntax in which the databases differ. Pairs are the text before and after a value.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Around the hex digits of bytes.
    pub(crate) bytes: [&'static str; 2],
    /// Around the hex digits of a text in UTF-8.
    pub(crate) text: [&'static str; 2],
    /// Around the list of the expiries of events.
    pub(crate) untils: [&'static str; 2],
    /// The time of a new event, by the clock of the server.
    pub(crate) now: &'static str,
    /// Follows the name of a table whose rows are read by their keys.
    pub(crate) by_key: &'static str,
    /// The condition on the pairs in a list, up to the first of them.
    pub(crate) pairs: &'static str,
    /// Whether there is `REPLACE INTO`. If not, there is `ON CONFLICT`.
    pub(crate) has_replace: bool,
}

impl Dialect {
    /// Returns the literal of bytes.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> String {
        let mut sql = String::new();
        hex(&mut sql, self.bytes, bytes);
        sql
    }

    /// Returns the literal of a text.
    #[cfg(feature = "mysql")]
    pub(crate) fn text(&self, text: &str) -> String {
        let mut sql = String::new();
        hex(&mut sql, self.text, text.as_bytes());
        sql
    }

    /// Begins a row.
    pub(crate) fn row(&'static self) -> Row {
        self.rest_of_row("(")
    }

    /// Continues a row, after this SQL.
    pub(crate) fn rest_of_row(&'static self, sql: &str) -> Row {
        Row {
            dialect: self,
            sql: sql.to_owned(),
        }
    }

    /// Returns the SQL before and after rows that are inserted, or that replace those with the same
    /// key.
    pub(crate) fn put(&self, table: &str, key: &str, columns: &str) -> [String; 2] {
        if self.has_replace {
            return [
                format!("REPLACE INTO {table} ({columns}) VALUES "),
                String::new(),
            ];
        }
        let others = columns.split(',').filter(|column| !key.contains(column));
        let set: Vec<_> = others
            .map(|name| format!("{name}=excluded.{name}"))
            .collect();
        let act = match set.is_empty() {
            true => "NOTHING".to_owned(),
            false => format!("UPDATE SET {}", set.join(",")),
        };
        [
            format!("INSERT INTO {table} ({columns}) VALUES "),
            format!(" ON CONFLICT ({key}) DO {act}"),
        ]
    }
}

fn hex(sql: &mut String, [before, after]: [&str; 2], bytes: &[u8]) {
    sql.reserve(before.len() + 2 * bytes.len() + after.len() + 1);
    sql.push_str(before);
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            sql.push(char::from(b"0123456789abcdef"[usize::from(half)]));
        }
    }
    sql.push_str(after);
}

/// The literals of a row, as `(…,…)`.
pub(crate) struct Row {
    pub(crate) dialect: &'static Dialect,
    sql: String,
}

impl Row {
    pub(crate) fn int(self, value: impl Into<Option<i64>>) -> Self {
        match value.into() {
            // Writing to a String can't fail.
            Some(number) => self.raw(format_args!("{number}")),
            None => self.raw("NULL"),
        }
    }

    pub(crate) fn bytes(mut self, value: Option<&[u8]>) -> Self {
        let Some(bytes) = value else {
            return self.raw("NULL");
        };
        hex(&mut self.sql, self.dialect.bytes, bytes);
        self.raw("")
    }

    pub(crate) fn text(mut self, value: Option<&str>) -> Self {
        let Some(text) = value else {
            return self.raw("NULL");
        };
        hex(&mut self.sql, self.dialect.text, text.as_bytes());
        self.raw("")
    }

    /// Adds an expression.
    pub(crate) fn raw(mut self, sql: impl std::fmt::Display) -> Self {
        let _ = write!(self.sql, "{sql},");
        self
    }

    pub(crate) fn end(mut self) -> String {
        self.sql.pop();
        self.sql.push(')');
        self.sql
    }
}

/// Statements, gathered into as few packets as `max_allowed_packet` allows. Each is one round trip.
#[derive(Debug)]
pub(crate) struct Packets {
    at_most: usize,
    full: Vec<String>,
    last: String,
}

impl Packets {
    pub(crate) fn new(at_most: usize) -> Self {
        Self {
            at_most,
            full: Vec::new(),
            last: String::new(),
        }
    }

    /// Adds a statement, which must be short enough for a packet.
    pub(crate) fn add(&mut self, statement: &str) {
        self.make_room(statement.len() + 1);
        self.last.push_str(statement);
        self.last.push(';');
    }

    /// Adds as many statements `head row, row, … tail` as the rows need; none if there are no rows.
    ///
    /// # Errors
    /// [`Failure::TooLong`] if a single row is too long for a packet.
    pub(crate) fn rows(
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

    pub(crate) fn is_empty(&self) -> bool {
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

    pub(crate) fn into_packets(mut self) -> Vec<String> {
        if !self.last.is_empty() {
            self.full.push(self.last);
        }
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Dialect = Dialect {
        bytes: ["x'", "'"],
        text: ["_utf8mb4 x'", "'"],
        untils: ["", ""],
        now: "",
        by_key: "",
        pairs: "",
        has_replace: false,
    };

    #[test]
    fn nothing_in_a_value_ends_its_literal() {
        let text = "'; DROP TABLE x -- \\ \" \0 é😀";
        static DIALECT: Dialect = PLAIN;
        let row = DIALECT.row().text(Some(text)).int(-7);
        let sql = row.bytes(Some(&[0xab; 16])).int(None).end();
        let quoted: Vec<_> = sql.split('\'').collect();
        assert_eq!(quoted.len(), 5, "two literals: {sql}");
        for digits in [quoted[1], quoted[3]] {
            assert!(digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        }
        assert_eq!(quoted[3], "ab".repeat(16));
        assert_eq!(quoted[4], ",NULL)");
    }

    #[test]
    fn rows_take_the_place_of_those_with_the_same_key() {
        let [before, after] = PLAIN.put("t", "a", "a,b,c");
        assert_eq!(before, "INSERT INTO t (a,b,c) VALUES ");
        assert_eq!(
            after,
            " ON CONFLICT (a) DO UPDATE SET b=excluded.b,c=excluded.c"
        );
        let [_, after] = PLAIN.put("t", "token,use_id", "token,use_id");
        assert_eq!(after, " ON CONFLICT (token,use_id) DO NOTHING");
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
