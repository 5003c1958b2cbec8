//! The statements, prepared once.

use scylla::statement::prepared::PreparedStatement;

use crate::{
    client::{Client, Deadline},
    error::CassandraStoreError,
    schema::quoted,
};

/// Rows in one page of a scan.
const PAGE_ROWS: i32 = 1_000;

macro_rules! statements {
    ($($name:ident: $text:literal,)*) => {
        /// The prepared statements by name.
        #[derive(Debug)]
        pub(crate) struct Statements {
            $(pub(crate) $name: PreparedStatement,)*
        }

        impl Statements {
            pub(crate) async fn prepare(
                client: &Client,
                keyspace: &str,
                deadline: Deadline,
            ) -> Result<Self, CassandraStoreError> {
                let keyspace = quoted(keyspace);
                let mut all = Self {
                    $($name: prepared(client, &$text.replace("{k}", &keyspace), deadline).await?,)*
                };
                // Serial reads complete unfinished conditional writes.
                all.uses_now.set_consistency(client.serial_read());
                all.held_now.set_consistency(client.serial_read());
                all.scan_revoked.set_page_size(PAGE_ROWS);
                all.scan_uses.set_page_size(PAGE_ROWS);
                all.scan_issued.set_page_size(PAGE_ROWS);
                all.scan_held.set_page_size(PAGE_ROWS);
                Ok(all)
            }
        }
    };
}

statements! {
    look_up_revoked: "SELECT digest, id, kind, issued_at_or_before, until, at, issuer, claim, value, \
        author, reason FROM {k}.revoked WHERE digest IN ?",
    look_up_uses: "SELECT DISTINCT digest, max_uses, held, version, until FROM {k}.uses WHERE digest IN ?",
    scan_revoked: "SELECT digest, id, kind, issued_at_or_before, until, at, issuer, claim, value, \
        author, reason FROM {k}.revoked WHERE token(digest) >= ? AND token(digest) <= ?",
    scan_uses: "SELECT DISTINCT digest, max_uses, held, version, until FROM {k}.uses \
        WHERE token(digest) >= ? AND token(digest) <= ?",
    insert_revocation: "INSERT INTO {k}.revoked (digest, id, kind, issued_at_or_before, until, at, issuer, claim, \
        value, author, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    delete_revocation: "DELETE FROM {k}.revoked WHERE digest = ? AND id = ?",
    take_new: "INSERT INTO {k}.uses (digest, max_uses, held, holder, version, until) \
        VALUES (?, ?, 1, ?, ?, ?) IF NOT EXISTS",
    uses: "SELECT DISTINCT max_uses, held, holder, version, until FROM {k}.uses WHERE digest = ?",
    held: "SELECT use_id FROM {k}.uses WHERE digest = ? AND use_id = ?",
    uses_now: "SELECT DISTINCT max_uses, held, holder, version, until FROM {k}.uses WHERE digest = ?",
    held_now: "SELECT use_id FROM {k}.uses WHERE digest = ? AND use_id = ?",
    all_held: "SELECT use_id FROM {k}.uses WHERE digest = ? LIMIT ?",
    change_uses: "UPDATE {k}.uses SET max_uses = ?, held = ?, holder = ?, version = ?, until = ? \
        WHERE digest = ? IF version = ?",
    insert_use: "INSERT INTO {k}.uses (digest, use_id) VALUES (?, ?)",
    delete_use: "DELETE FROM {k}.uses WHERE digest = ? AND use_id = ?",
    touch_uses: "UPDATE {k}.uses SET version = ? WHERE digest = ? IF version = ?",
    forget_uses: "DELETE max_uses, held, holder, version, until FROM {k}.uses WHERE digest = ? \
        IF version = ?",
    issue: "INSERT INTO {k}.issued (hash, mark, details, until) VALUES (?, ?, ?, ?) IF NOT EXISTS",
    issued: "SELECT details FROM {k}.issued WHERE hash IN ?",
    scan_issued: "SELECT hash, until FROM {k}.issued WHERE token(hash) >= ? AND token(hash) <= ?",
    forget_issued: "DELETE FROM {k}.issued WHERE hash = ? IF EXISTS",
    hold_issued: "INSERT INTO {k}.issued_to (holder, hash, until) VALUES (?, ?, ?)",
    issued_to: "SELECT hash FROM {k}.issued_to WHERE holder = ? AND hash > ? LIMIT ?",
    scan_held: "SELECT holder, hash, until FROM {k}.issued_to \
        WHERE token(holder) >= ? AND token(holder) <= ?",
    release_issued: "DELETE FROM {k}.issued_to WHERE holder = ? AND hash = ?",
    purged_before: "SELECT purged_before FROM {k}.store WHERE only_one = 0",
    purge_begins: "UPDATE {k}.store SET purged_before = ? WHERE only_one = 0 IF purged_before = ?",
    hold: "UPDATE {k}.store USING TTL 60 SET purger = ? WHERE only_one = 1 IF purger = ?",
    release: "DELETE purger FROM {k}.store WHERE only_one = 1 IF purger = ?",
    register: "INSERT INTO {k}.writers (only_one, writer, heartbeat, retired, bucket) \
        VALUES (0, ?, toUnixTimestamp(now()), false, ?)",
    writers: "SELECT writer, retired, trimmed, trimmed_mark, bucket, heartbeat, toUnixTimestamp(now()) \
        FROM {k}.writers WHERE only_one = 0",
    retire: "UPDATE {k}.writers SET retired = true WHERE only_one = 0 AND writer = ?",
    forget_writer: "DELETE FROM {k}.writers WHERE only_one = 0 AND writer = ?",
    trimmed: "UPDATE {k}.writers USING TIMESTAMP ? SET trimmed = ?, trimmed_mark = ? \
        WHERE only_one = 0 AND writer = ?",
    write: "INSERT INTO {k}.log (writer, bucket, seq, mark, settled, closes, keys) \
        VALUES (?, ?, ?, ?, ?, ?, ?)",
    newest: "SELECT seq, mark, settled, closes FROM {k}.log WHERE writer = ? AND bucket = ? \
        ORDER BY seq DESC LIMIT 1",
    entry: "SELECT mark FROM {k}.log WHERE writer = ? AND bucket = ? AND seq = ?",
    entries: "SELECT seq, keys FROM {k}.log WHERE writer = ? AND bucket = ? AND seq > ? AND seq <= ? \
        LIMIT ?",
    trim: "DELETE FROM {k}.log WHERE writer = ? AND bucket = ?",
}

async fn prepared(
    client: &Client,
    text: &str,
    deadline: Deadline,
) -> Result<PreparedStatement, CassandraStoreError> {
    let prepared = deadline.bound(client.session.prepare(text)).await?;
    let mut statement = prepared.map_err(CassandraStoreError::rejected)?;
    statement.set_execution_profile_handle(Some(client.profile.clone()));
    statement.set_is_idempotent(true);
    Ok(statement)
}
