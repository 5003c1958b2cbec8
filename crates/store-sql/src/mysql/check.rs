//! Checks, at the opening of a store, that the server is fit for it.

use tower_revoke_core::UnixTime;

use super::{
    error::IS_READ_ONLY,
    session::Link,
    sql::{DIALECT, literal},
};
use crate::{
    batch::Tables,
    columns::Columns,
    error::{Failure, SqlStoreError},
    probe::{Contender, Contest, check_isolation, random},
    unfit::UnfitServer,
    value::secs,
};

impl Contender for Link {
    async fn run(&mut self, statements: &str) -> Result<Option<i64>, SqlStoreError> {
        let rows = self.ask_opening(statements).await?;
        let number = rows.last().map(|row| row.number(0)).transpose();
        number.map_err(|_| SqlStoreError::Probe)
    }
}

/// Rejects a server by what it says of itself: a kind that is not fit, one that is read-only, even
/// if this login could write to it, and sessions that don't have the isolation level that was set.
pub(super) async fn server(link: &mut Link, allowed: &[UnfitServer]) -> Result<(), SqlStoreError> {
    let version = link
        .text("SELECT CONCAT(VERSION(), ' ', @@version_comment)", 0)
        .await?;
    UnfitServer::check(UnfitServer::named(&version.unwrap_or_default()), allowed)?;
    let size = link
        .text("SHOW GLOBAL STATUS LIKE 'wsrep_cluster_size'", 1)
        .await?;
    UnfitServer::check(UnfitServer::of_cluster(size.as_deref()), allowed)?;
    if link.run(&format!("SELECT {IS_READ_ONLY}")).await? != Some(0) {
        return Err(SqlStoreError::ReadOnly);
    }
    // MySQL and MariaDB name it differently, and MariaDB's name has changed.
    const ISOLATION: &str = "SHOW SESSION VARIABLES \
                             WHERE Variable_name IN ('transaction_isolation', 'tx_isolation')";
    let found = link.text(ISOLATION, 1).await?.unwrap_or_default();
    check_isolation(found, "REPEATABLE-READ")
}

/// Lets two connections contend for one use. They lock as writers do, by a row, but by that of the
/// use.
pub(super) async fn one_winner(
    first: &mut Link,
    second: &mut Link,
    tables: &Tables,
    until: UnixTime,
) -> Result<(), SqlStoreError> {
    let uses = &tables.uses;
    let token = literal(&random()?);
    let contest = Contest {
        lock: format!("SELECT held FROM {uses} WHERE token={token} FOR UPDATE"),
        uses: uses.clone(),
        token,
        until: secs(until),
    };
    contest.hold(first, second).await
}

/// Rejects tables that don't use InnoDB: the server may have substituted its default engine, or an
/// operator may have altered a table.
pub(super) async fn engines(link: &mut Link, tables: &Tables) -> Result<(), SqlStoreError> {
    let names = ["store", "revoked", "lifted", "uses", "held", "events"];
    let names = names.map(|name| DIALECT.text(&format!("{}{name}", tables.prefix)));
    let statement = format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
         AND TABLE_NAME IN ({}) AND (ENGINE IS NULL OR ENGINE <> 'InnoDB')",
        names.join(",")
    );
    let rows = link.ask_opening(&statement).await?;
    match rows.first().map(|row| row.text(0)) {
        None => Ok(()),
        Some(name) => Err(SqlStoreError::Engine(
            name.ok().flatten().unwrap_or_default(),
        )),
    }
}

/// Returns whether the connection is encrypted.
pub(super) async fn is_encrypted(link: &mut Link) -> Result<bool, SqlStoreError> {
    let cipher = "SHOW SESSION STATUS LIKE 'Ssl_cipher'";
    Ok(!link.text(cipher, 1).await?.unwrap_or_default().is_empty())
}

pub(super) async fn warn_if_it_may_lose(link: &mut Link) -> Result<(), SqlStoreError> {
    let statement = "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.log_bin, \
                     @@GLOBAL.sync_binlog";
    let rows = link.ask_opening(statement).await?;
    let setting = |place| -> Result<String, Failure> {
        let text = rows.first().map(|row| row.text(place)).transpose()?;
        Ok(text.flatten().unwrap_or_default())
    };
    let read = || -> Result<_, Failure> { Ok((setting(0)?, setting(1)?, setting(2)?)) };
    let Ok((flushes, logs, syncs)) = read() else {
        return Err(SqlStoreError::Setting(
            "the settings of the server can't be read",
        ));
    };
    // 3 exists in MariaDB, and flushes even more often than 1.
    if !["1", "3"].contains(&&*flushes) {
        tracing::warn!(
            target: "tower_revoke::store_sql",
            "innodb_flush_log_at_trx_commit is {flushes}, not 1: a crash of the server's machine \
             may lose acknowledged revocations and uses"
        );
    }
    if logs == "1" && syncs != "1" {
        tracing::warn!(
            target: "tower_revoke::store_sql",
            "the server keeps a binary log with sync_binlog = {syncs}, not 1: a crash of its \
             machine may lose acknowledged revocations and uses"
        );
    }
    Ok(())
}
