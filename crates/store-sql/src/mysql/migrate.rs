//! Creates, migrates and checks the tables.

use super::{
    check,
    error::{is_no_table, of_opening},
    session::Link,
    sql::{DIALECT, literal},
};
use crate::{
    backend::Digest,
    batch::{Link as _, Tables},
    columns::Columns,
    error::SqlStoreError,
    probe::random,
};

/// The migrations from each version to the next; the first creates version 1. A released step never
/// changes: a change of the tables is another step. A step may be interrupted at any statement, and
/// is then started again.
const STEPS: [&str; 1] = [include_str!("../../migrations/mysql/1.sql")];

/// The version of the tables that this release needs.
const KNOWN: u32 = STEPS.len() as u32;

/// Migrates the tables to this release's version. A lock keeps other nodes from doing so at the
/// same time.
pub(super) async fn run(link: &mut Link, tables: &Tables) -> Result<(), SqlStoreError> {
    if version(link, tables).await? == KNOWN {
        return Ok(());
    }
    // Names of locks are global to the server and limited in length, hence the hash of the database
    // and the prefix. The lock is released when the connection ends. The wait for it is bounded by
    // the timeout of opening.
    let name = format!(
        "CONCAT('tower-revoke-', SHA1(CONCAT(DATABASE(), '/', {})))",
        DIALECT.text(&tables.prefix)
    );
    let lock = format!("SELECT GET_LOCK({name}, 3600)");
    let rows = link.ask_opening(&lock).await?;
    if !matches!(rows.first().map(|row| row.int(0)), Some(Ok(Some(1)))) {
        return Err(SqlStoreError::Setting(
            "the server refused the lock under which tables are created",
        ));
    }
    let found = version(link, tables).await?;
    let id = match found {
        0 => random()?,
        _ => read_id(link, tables).await?,
    };
    let id = literal(&id);
    for step in STEPS.iter().skip(found as usize) {
        let step = step.replace("{p}", &tables.prefix);
        link.ask_opening(&step.replace("x'{store}'", &id)).await?;
    }
    let release = format!("SELECT RELEASE_LOCK({name})");
    link.ask_opening(&release).await?;
    Ok(())
}

/// Returns the store's id. Rejects tables that are not at this release's version.
pub(super) async fn id_of(link: &mut Link, tables: &Tables) -> Result<Digest, SqlStoreError> {
    let found = version(link, tables).await?;
    if found < KNOWN {
        return Err(SqlStoreError::Older {
            schema: tables.prefix.clone(),
            found,
            known: KNOWN,
        });
    }
    check::engines(link, tables).await?;
    read_id(link, tables).await
}

/// Returns the version of the tables; 0 if there are none. Rejects a newer one.
async fn version(link: &mut Link, tables: &Tables) -> Result<u32, SqlStoreError> {
    let statement = format!("SELECT version FROM {}", tables.store);
    let rows = match link.ask(&statement).await {
        Err(error) if is_no_table(&error) => return Ok(0),
        rows => rows.map_err(of_opening)?,
    };
    // The row is inserted last: without it, a migration was interrupted.
    let Some(row) = rows.first() else {
        return Ok(0);
    };
    let found = row.number(0).ok();
    let found = found.and_then(|found| u32::try_from(found).ok());
    match found.unwrap_or(u32::MAX) {
        found if found <= KNOWN => Ok(found),
        found => Err(SqlStoreError::Newer {
            schema: tables.prefix.clone(),
            found,
            known: KNOWN,
        }),
    }
}

async fn read_id(link: &mut Link, tables: &Tables) -> Result<Digest, SqlStoreError> {
    let statement = format!("SELECT id FROM {}", tables.store);
    let rows = link.ask_opening(&statement).await?;
    match rows.first().map(|row| row.digest(0)) {
        Some(Ok(id)) => Ok(id),
        _ => Err(SqlStoreError::Setting(
            "the table store belongs to another program",
        )),
    }
}
