//! The tables: created, brought to this version's state, and checked.

use sqlx::{Executor, MySqlConnection, Row, mysql::MySqlRow};

use super::{
    error::{is_no_table, of_opening},
    sql::{Tables, literal},
};
use crate::{SqlStoreError, backend::Digest, error::Failure};

/// What leads from each version to the next; from none to 1 first. What was returned stays as it
/// is: a change is one more step. A step may have been cut off anywhere, and is begun again.
const STEPS: [&str; 1] = [include_str!("../../migrations/mysql/1.sql")];

/// The version that this release works with.
const KNOWN: u32 = STEPS.len() as u32;

async fn ask(link: &mut MySqlConnection, statement: &str) -> Result<Vec<MySqlRow>, sqlx::Error> {
    link.fetch_all(sqlx::raw_sql(statement)).await
}

/// Brings the tables to this release's version, while nobody else does.
pub(super) async fn run(link: &mut MySqlConnection, prefix: &str) -> Result<(), SqlStoreError> {
    let tables = Tables::new(prefix);
    if version(link, prefix, &tables).await? == KNOWN {
        return Ok(());
    }
    // Names of locks are the server's, not the database's, and short. It is returned when the
    // connection ends; who waits for it is bounded by the whole opening.
    let name = format!(
        "CONCAT('tower-revoke-', SHA1(CONCAT(DATABASE(), '/', {})))",
        literal(prefix)
    );
    let lock = format!("SELECT GET_LOCK({name}, 3600)");
    let rows = ask(link, &lock).await.map_err(of_opening)?;
    let is_ours = rows
        .first()
        .map(|row| row.try_get_unchecked::<Option<i64>, _>(0));
    if !matches!(is_ours, Some(Ok(Some(1)))) {
        return Err(SqlStoreError::Setting(
            "the server gave no lock under which tables can be created",
        ));
    }
    let found = version(link, prefix, &tables).await?;
    let id = match found {
        0 => {
            let mut id = [0; 16];
            getrandom::fill(&mut id)
                .map_err(|_| SqlStoreError::Setting("the system gives no random numbers"))?;
            id
        }
        _ => read_id(link, &tables).await?,
    };
    let id = literal(&id);
    for step in STEPS.iter().skip(found as usize) {
        let step = step.replace("{p}", prefix).replace("x'{store}'", &id);
        link.execute(sqlx::raw_sql(&step))
            .await
            .map_err(of_opening)?;
    }
    ask(link, &format!("SELECT RELEASE_LOCK({name})"))
        .await
        .map_err(of_opening)?;
    Ok(())
}

/// The store's id, if the tables are at this release's version.
pub(super) async fn id_of(
    link: &mut MySqlConnection,
    prefix: &str,
) -> Result<Digest, SqlStoreError> {
    let tables = Tables::new(prefix);
    let found = version(link, prefix, &tables).await?;
    if found < KNOWN {
        return Err(SqlStoreError::Older {
            schema: prefix.to_owned(),
            found,
            known: KNOWN,
        });
    }
    check_engines(link, prefix).await?;
    read_id(link, &tables).await
}

/// 0: there is none. One that is newer is rejected.
async fn version(
    link: &mut MySqlConnection,
    prefix: &str,
    tables: &Tables,
) -> Result<u32, SqlStoreError> {
    let rows = match ask(link, &format!("SELECT version FROM {}", tables.store)).await {
        Ok(rows) => rows,
        Err(error) if is_no_table(&error) => return Ok(0),
        Err(error) => return Err(of_opening(error)),
    };
    let Some(row) = rows.first() else {
        // It was cut off.
        return Ok(0);
    };
    let found: i64 = row.try_get_unchecked(0).map_err(of_opening)?;
    let found = u32::try_from(found).unwrap_or(u32::MAX);
    match found <= KNOWN {
        true => Ok(found),
        false => Err(SqlStoreError::Newer {
            schema: prefix.to_owned(),
            found,
            known: KNOWN,
        }),
    }
}

async fn read_id(link: &mut MySqlConnection, tables: &Tables) -> Result<Digest, SqlStoreError> {
    let rows = ask(link, &format!("SELECT id FROM {}", tables.store)).await;
    let rows = rows.map_err(of_opening)?;
    let id = rows.first().map(|row| super::reading::digest(row, 0));
    match id {
        Some(Ok(id)) => Ok(id),
        _ => Err(SqlStoreError::Setting("the table store is none of ours")),
    }
}

/// A server may have made them of what it has, and somebody may have altered them.
async fn check_engines(link: &mut MySqlConnection, prefix: &str) -> Result<(), SqlStoreError> {
    let names = ["store", "revoked", "lifted", "uses", "held", "events"];
    let names = names.map(|name| literal(&format!("{prefix}{name}")));
    let statement = format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
         AND TABLE_NAME IN ({}) AND (ENGINE IS NULL OR ENGINE <> 'InnoDB')",
        names.join(",")
    );
    let rows = ask(link, &statement).await.map_err(of_opening)?;
    match rows.first() {
        None => Ok(()),
        Some(row) => {
            let name: Vec<u8> = row.try_get_unchecked(0).map_err(of_opening)?;
            let name = String::from_utf8_lossy(&name).into_owned();
            Err(SqlStoreError::Engine(name))
        }
    }
}

pub(super) async fn warn_if_it_may_lose(link: &mut MySqlConnection) -> Result<(), SqlStoreError> {
    let statement = "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.log_bin, \
                     @@GLOBAL.sync_binlog, @@GLOBAL.read_only";
    let rows = ask(link, statement).await.map_err(of_opening)?;
    let setting = |place: usize| {
        let value = rows.first().map(|row| super::reading::text(row, place));
        value
            .transpose()
            .map(Option::flatten)
            .map(Option::unwrap_or_default)
    };
    let read =
        || -> Result<_, Failure> { Ok([setting(0)?, setting(1)?, setting(2)?, setting(3)?]) };
    let Ok([flushes, logs, syncs, read_only]) = read() else {
        return Err(SqlStoreError::Setting(
            "the server's settings can't be read",
        ));
    };
    // 3 is MariaDB's, and flushes more often still.
    if !["1", "3"].contains(&&*flushes) {
        tracing::warn!(
            "the server runs with innodb_flush_log_at_trx_commit = {flushes}, not 1: a crash of \
             its machine may lose revocations and uses that were acknowledged"
        );
    }
    if logs == "1" && syncs != "1" {
        tracing::warn!(
            "the server keeps a binary log with sync_binlog = {syncs}, not 1: a crash of its \
             machine may lose revocations and uses that were acknowledged"
        );
    }
    if !["0", "OFF"].contains(&&*read_only) {
        tracing::warn!("the server is read-only: nothing can be revoked or taken there");
    }
    Ok(())
}
