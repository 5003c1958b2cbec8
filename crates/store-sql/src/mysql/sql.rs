//! The dialect of MariaDB and MySQL, the names of the tables, and the statements on them.

use super::error::IS_READ_ONLY;
use crate::{batch::Tables, text::Dialect};

pub(super) const DIALECT: Dialect = Dialect {
    bytes: ["x'", "'"],
    text: ["_utf8mb4 x'", "'"],
    untils: ["'[", "]'"],
    now: "UNIX_TIMESTAMP()",
    // The optimizer may prefer a scan if it believes that there are few rows.
    by_key: " FORCE INDEX (PRIMARY)",
    pairs: "(token,use_id) IN (",
    has_replace: true,
};

const COMMIT: &str = "COMMIT;SET SESSION wait_timeout=DEFAULT";

/// Returns the tables with a prefix. Their quoted names include the database, since a session of the
/// user's pool may have switched to another one. The builder has rejected prefixes that contain
/// quotes.
///
/// If the node stops between its two round trips, the server ends the idle session after a second,
/// or after a few if the batch has long texts.
/// That rolls back its transaction and releases the lock. After the commit, the connection may be
/// idle again.
pub(super) fn tables(database: &str, prefix: &str) -> Tables {
    let database = database.replace('`', "``");
    let named = |name| format!("`{database}`.`{prefix}{name}`");
    let [store, uses, events] = ["store", "uses", "events"].map(named);
    // START TRANSACTION would commit a transaction that was left open. The snapshot of the transaction
    // is taken by its first read without a lock, which comes after these.
    let begin = [
        "ROLLBACK",
        "SET SESSION wait_timeout=1",
        "START TRANSACTION",
    ];
    // All of it or nothing: `seq` must not be NULL, nor a token twice in `uses`. An error ends the
    // packet, so the commit is not reached, and the next packet on the connection rolls back.
    let take_new = format!(
        "{};UPDATE {store} SET mark={{mark}}, \
         seq=IF({IS_READ_ONLY} OR purged_before>{{earliest}},NULL,seq+{{count}}) WHERE only_one=1;\
         INSERT INTO {uses} (token,max_uses,held,until,holder) VALUES {{uses}};\
         INSERT INTO {events} VALUES ((SELECT seq FROM {store} WHERE only_one=1),{{event}};\
         SELECT seq FROM {store} WHERE only_one=1;{COMMIT}",
        begin.join(";")
    );
    Tables {
        dialect: &DIALECT,
        prefix: prefix.to_owned(),
        revoked: named("revoked"),
        lifted: named("lifted"),
        uses,
        held: named("held"),
        issued: named("issued_tokens"),
        events,
        take_new,
        begin: begin
            .map(str::to_owned)
            .into_iter()
            .chain([format!(
                "SELECT 0, seq, purged_before, trimmed, {IS_READ_ONLY} FROM {store} \
                 WHERE only_one=1 FOR UPDATE"
            )])
            .collect(),
        patience: Some("SET SESSION wait_timeout={secs}"),
        commit: COMMIT,
        rollback: "ROLLBACK;SET SESSION wait_timeout=DEFAULT",
        last_event: format!("UPDATE {store} SET seq={{seq}}, mark={{mark}} WHERE only_one=1"),
        // InnoDB shows a commit to others before its log is flushed. A commit that writes flushes
        // the log up to its own entry, and so everything before it.
        flush: Some(format!(
            "UPDATE {store} SET repeats = repeats + 1 WHERE only_one=1"
        )),
        store,
    }
}

/// Returns the literal of bytes.
pub(super) fn literal(bytes: &[u8]) -> String {
    DIALECT.bytes(bytes)
}
