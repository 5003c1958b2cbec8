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
    let store = named("store");
    Tables {
        dialect: &DIALECT,
        prefix: prefix.to_owned(),
        revoked: named("revoked"),
        lifted: named("lifted"),
        uses: named("uses"),
        held: named("held"),
        issued: named("issued_tokens"),
        events: named("events"),
        take_new: None,
        // START TRANSACTION would commit a transaction that was left open. The snapshot of the
        // transaction is taken by its first read without a lock, which comes after these.
        begin: vec![
            "ROLLBACK".to_owned(),
            "SET SESSION wait_timeout=1".to_owned(),
            "START TRANSACTION".to_owned(),
            format!(
                "SELECT 0, seq, purged_before, trimmed, {IS_READ_ONLY} FROM {store} \
                 WHERE only_one=1 FOR UPDATE"
            ),
        ],
        patience: Some("SET SESSION wait_timeout={secs}"),
        commit: "COMMIT;SET SESSION wait_timeout=DEFAULT",
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
