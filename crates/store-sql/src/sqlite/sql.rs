//! The dialect of SQLite, the names of the tables, and the statements on them.

use sqlx::{Executor, Row, SqliteConnection, sqlite::SqliteRow};
use tokio::task::yield_now;
use tower_revoke_core::Use;

use super::error::{self, Code};
use crate::{
    backend::Digest,
    batch::{Link, Tables},
    error::Kind,
    text::Dialect,
    value::{end, expiries},
};

static DIALECT: Dialect = Dialect {
    bytes: ["x'", "'"],
    text: ["CAST(x'", "' AS TEXT)"],
    untils: ["'[", "]'"],
    now: "unixepoch()",
    by_key: "",
    pairs: "(token,use_id) IN (VALUES ",
    has_replace: false,
};

/// The maximum length of the text of one call, in bytes. SQLite accepts almost four times as much.
pub(super) const LONGEST: usize = 1 << 28;

/// Takes the lock of writers from the start. A deferred transaction would take it only at its first
/// write, and fail if another process has written since its first read.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// Takes uses of single-use tokens that have not been used before: ?1 is the mark, ?2 and ?3 are the
/// tokens and the ids, concatenated, and ?4 is a list of expiries in JSON. Returns the number of the
/// event and the tokens whose use was taken, if there are any.
///
/// The driver binds ?1 to ?4 to each statement, and keeps them prepared. New rows have the highest
/// rowids, so those that were inserted are the last ones.
const TAKE_NEW: &str = "\
    BEGIN IMMEDIATE; \
    INSERT INTO uses (token, max_uses, held, until, holder) \
    SELECT substr(?2, 1 + 16 * key, 16), 1, 1, value, substr(?3, 1 + 16 * key, 16) \
    FROM json_each(?4), store \
    WHERE value IS NULL OR purged_before IS NULL OR value >= purged_before \
    ON CONFLICT DO NOTHING; \
    INSERT INTO events SELECT max(s.seq) + count(*), ?1, unixepoch(), 1, \
    unhex(group_concat(hex(new.token), '')), NULL, json_group_array(new.until), 0 \
    FROM store s, (SELECT token, until FROM uses ORDER BY rowid DESC LIMIT changes()) new \
    HAVING count(*) > 0; \
    UPDATE store SET seq = last.seq, mark = last.mark \
    FROM (SELECT seq, mark FROM events ORDER BY seq DESC LIMIT 1) last WHERE last.seq > store.seq; \
    SELECT e.seq, e.digests FROM store s JOIN events e ON e.seq = s.seq WHERE e.mark = ?1; \
    COMMIT";

pub(super) fn tables() -> Tables {
    Tables {
        dialect: &DIALECT,
        #[cfg(any(feature = "mysql", feature = "postgres"))]
        prefix: String::new(),
        #[cfg(feature = "mysql")]
        store: "store".to_owned(),
        revoked: "revoked".to_owned(),
        lifted: "lifted".to_owned(),
        uses: "uses".to_owned(),
        held: "held".to_owned(),
        issued: "issued_tokens".to_owned(),
        events: "events".to_owned(),
        take_new: TAKE_NEW.to_owned(),
        begin: vec![
            BEGIN.to_owned(),
            "SELECT 0, seq, purged_before, trimmed, 0 FROM store".to_owned(),
        ],
        patience: None,
        commit: "COMMIT",
        rollback: "ROLLBACK",
        last_event: "UPDATE store SET seq = {seq}, mark = {mark}".to_owned(),
        // Nobody sees a transaction before its log is flushed.
        flush: None,
    }
}

/// A call takes a switch to the thread of the connection and back, so a batch of several statements
/// is sent as one.
impl Link for SqliteConnection {
    type Row = SqliteRow;

    fn kind(error: &sqlx::Error) -> Kind {
        error::kind(error)
    }

    fn is_read_only(_: &sqlx::Error) -> bool {
        false
    }

    fn packet(&self) -> usize {
        LONGEST
    }

    async fn take_new(
        &mut self,
        statement: &str,
        mark: i64,
        uses: &[&Use],
    ) -> Result<(Vec<Digest>, Option<i64>), sqlx::Error> {
        let untils = format!("[{}]", expiries(uses.iter().map(|one| end(one.until))));
        let tokens: Vec<_> = uses.iter().map(|one| *one.token.as_bytes()).collect();
        let ids: Vec<_> = uses.iter().map(|one| *one.id.as_bytes()).collect();
        let rows = loop {
            let taken = sqlx::query(statement)
                .bind(mark)
                .bind(tokens.as_flattened());
            let taken = taken.bind(ids.as_flattened()).bind(&untils);
            match taken.fetch_all(&mut *self).await {
                Err(error) if is_busy(&error) => yield_now().await,
                rows => break rows?,
            }
        };
        match rows.first() {
            None => Ok((Vec::new(), None)),
            Some(row) => {
                let won: &[u8] = row.try_get(1)?;
                Ok((won.as_chunks().0.to_vec(), Some(row.try_get(0)?)))
            }
        }
    }

    async fn ask(&mut self, packet: &str) -> Result<Vec<SqliteRow>, sqlx::Error> {
        loop {
            match self.fetch_all(sqlx::raw_sql(packet)).await {
                Err(error) if is_busy(&error) && packet.starts_with(BEGIN) => yield_now().await,
                rows => return rows,
            }
        }
    }
}

/// Returns whether another process holds the lock. A statement that begins a transaction is then
/// repeated for as long as the caller waits. SQLite's own wait polls at growing intervals, so a
/// process that writes all the time would starve the others.
fn is_busy(error: &sqlx::Error) -> bool {
    Code::of(error) == Code::Busy
}
