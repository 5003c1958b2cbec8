//! Creates and checks the tables.

use crate::{
    client::{Client, Deadline, rows_of},
    error::CassandraStoreError,
};

/// The version of the tables that this release needs.
pub(crate) const KNOWN: u32 = 1;

/// `gc_grace_seconds` is short: a replica that was away for longer may revive deleted rows, which does
/// no harm. They are superseded or expired, and are deleted again.
const TABLES: [&str; 7] = [
    // purger: who purges, in a row of its own, 1, which other conditional writes don't contend for.
    "CREATE TABLE IF NOT EXISTS {keyspace}.store (only_one int PRIMARY KEY, version int, id blob, \
     purged_before bigint, purger blob)",
    // A row for each revocation and lift, under an id that is used once; rows are merged when they are
    // read. kind: 0 revoked, 1 lifted, 2 revoked as spent. Times are seconds since 1970; null means without expiry.
    "CREATE TABLE IF NOT EXISTS {keyspace}.revoked (digest blob, id blob, kind tinyint, \
     issued_at_or_before bigint, until bigint, at bigint, issuer text, claim text, value text, \
     author text, reason text, PRIMARY KEY (digest, id)) WITH gc_grace_seconds = 10800",
    // Only conditional writes. version: a new random number with each change. holder: by which use,
    // if the token has one use; if it has more, each use has a row.
    "CREATE TABLE IF NOT EXISTS {keyspace}.uses (digest blob, use_id blob, max_uses bigint static, \
     held bigint static, holder blob static, version bigint static, until bigint static, \
     PRIMARY KEY (digest, use_id)) WITH gc_grace_seconds = 10800",
    // Issued tokens. Only conditional writes. mark: a random number, by which the writer recognizes
    // its row. details: JSON.
    "CREATE TABLE IF NOT EXISTS {keyspace}.issued (hash blob PRIMARY KEY, mark bigint, details text, \
     until bigint) WITH gc_grace_seconds = 10800",
    // The same by holder: the digest of a subject's or a grant's key.
    "CREATE TABLE IF NOT EXISTS {keyspace}.issued_to (holder blob, hash blob, until bigint, \
     PRIMARY KEY (holder, hash)) WITH gc_grace_seconds = 10800",
    // The writers: handles of programs. heartbeat: the time of the last one, by the
    // clock of a server, in milliseconds. bucket: where to begin to look for the last entry of the log.
    // trimmed: written with itself as its timestamp, so that it never goes back.
    "CREATE TABLE IF NOT EXISTS {keyspace}.writers (only_one int, writer bigint, heartbeat bigint, \
     retired boolean, trimmed bigint, trimmed_mark bigint, bucket bigint, \
     PRIMARY KEY (only_one, writer)) \
     WITH gc_grace_seconds = 10800",
    // The logs of the writers. A bucket is a partition, which is deleted as a whole. keys: 17 bytes
    // each, the first for the table. All writes up to the number `settled` were complete when the
    // entry was written. An entry that closes its bucket is the last one, or followed by others that do.
    "CREATE TABLE IF NOT EXISTS {keyspace}.log (writer bigint, bucket bigint, seq bigint, \
     mark bigint, settled bigint, closes boolean, keys blob, PRIMARY KEY ((writer, bucket), seq)) \
     WITH gc_grace_seconds = 10800",
];

/// The name in CQL. The builder has checked that it contains no quotes.
pub(crate) fn quoted(keyspace: &str) -> String {
    format!("\"{keyspace}\"")
}

/// Creates the keyspace and the tables that are missing.
pub(crate) async fn run(
    client: &Client,
    keyspace: &str,
    replication: &str,
    deadline: Deadline,
) -> Result<(), CassandraStoreError> {
    if known(client, keyspace, deadline).await?.is_some() {
        return Ok(());
    }
    let name = quoted(keyspace);
    let create = format!("CREATE KEYSPACE IF NOT EXISTS {name} WITH replication = {replication}");
    client.query(deadline, create, ()).await?;
    for table in TABLES {
        let create = table.replace("{keyspace}", &name);
        client.query(deadline, create, ()).await?;
    }
    // The first caller names the store.
    let id = fastrand::u128(..).to_be_bytes().to_vec();
    let insert =
        format!("INSERT INTO {name}.store (only_one, version, id) VALUES (0, 1, ?) IF NOT EXISTS");
    client.query(deadline, insert, (id,)).await?;
    Ok(())
}

/// Returns the id of the store, if the tables have the version of this release.
pub(crate) async fn id_of(
    client: &Client,
    keyspace: &str,
    deadline: Deadline,
) -> Result<[u8; 16], CassandraStoreError> {
    let Some(id) = known(client, keyspace, deadline).await? else {
        return Err(CassandraStoreError::Older {
            keyspace: keyspace.to_owned(),
            found: 0,
            known: KNOWN,
        });
    };
    id.try_into()
        .map_err(|_| CassandraStoreError::Setting("the keyspace's store table is none of ours"))
}

/// Returns the id of the store. `None` if there are no tables.
async fn known(
    client: &Client,
    keyspace: &str,
    deadline: Deadline,
) -> Result<Option<Vec<u8>>, CassandraStoreError> {
    let is_there = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND \
                    table_name = 'store'";
    let tables: Vec<(String,)> = rows_of(client.query(deadline, is_there, (keyspace,)).await?)?;
    if tables.is_empty() {
        return Ok(None);
    }
    let select = format!(
        "SELECT version, id FROM {}.store WHERE only_one = 0",
        quoted(keyspace)
    );
    let found: Vec<(i32, Vec<u8>)> = rows_of(client.query(deadline, select, ()).await?)?;
    let Some((version, id)) = found.into_iter().next() else {
        return Ok(None);
    };
    match u32::try_from(version).unwrap_or(u32::MAX) {
        KNOWN => Ok(Some(id)),
        found => Err(CassandraStoreError::Newer {
            keyspace: keyspace.to_owned(),
            found,
            known: KNOWN,
        }),
    }
}
