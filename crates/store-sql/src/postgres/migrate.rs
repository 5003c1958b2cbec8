//! Creates, migrates and checks the schema.

use sqlx::{Connection, Executor, PgConnection, Row};

use super::error::of_opening;
use crate::{error::SqlStoreError, probe::random};

/// The migrations from each version to the next; the first creates version 1. A released step never
/// changes: a change of the schema is another step.
const STEPS: [&str; 1] = [include_str!("../../migrations/postgres/1.sql")];

/// The version of the schema that this release needs.
const KNOWN: u32 = STEPS.len() as u32;

/// Quotes the name of a schema. The builder has rejected names that contain quotes.
pub(crate) fn quoted(schema: &str) -> String {
    format!("\"{schema}\"")
}

/// Migrates the schema to this release's version, in one transaction. An advisory lock keeps other
/// nodes from doing so at the same time.
pub(crate) async fn run(link: &mut PgConnection, schema: &str) -> Result<(), SqlStoreError> {
    if version(link, schema).await? == KNOWN {
        return Ok(());
    }
    let mut all = link.begin().await.map_err(of_opening)?;
    sqlx::query("SELECT pg_advisory_xact_lock(1953656435, hashtext($1))")
        .bind(schema)
        .execute(&mut *all)
        .await
        .map_err(of_opening)?;
    let found = version(&mut all, schema).await?;
    reject_newer(schema, found)?;
    let name = quoted(schema);
    if found == 0 {
        // CREATE SCHEMA IF NOT EXISTS needs the privilege to create one even if it exists.
        let is_there = sqlx::query("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)")
            .bind(schema)
            .fetch_one(&mut *all)
            .await;
        let is_there: bool = is_there
            .and_then(|row| row.try_get(0))
            .map_err(of_opening)?;
        if !is_there {
            all.execute(&*format!("CREATE SCHEMA {name}"))
                .await
                .map_err(of_opening)?;
        }
    }
    let id = match found {
        0 => random()?,
        _ => read_id(&mut all, schema).await?,
    };
    for step in STEPS.iter().skip(found as usize) {
        let step = step
            .replace("{schema}", &name)
            .replace("{store}", &hex(&id));
        all.execute(&*step).await.map_err(of_opening)?;
    }
    all.commit().await.map_err(of_opening)
}

/// Returns the store's id. Rejects a schema that is not at this release's version.
pub(crate) async fn id_of(
    link: &mut PgConnection,
    schema: &str,
) -> Result<[u8; 16], SqlStoreError> {
    let found = version(link, schema).await?;
    reject_newer(schema, found)?;
    if found < KNOWN {
        return Err(SqlStoreError::Older {
            schema: schema.to_owned(),
            found,
            known: KNOWN,
        });
    }
    read_id(link, schema).await
}

fn reject_newer(schema: &str, found: u32) -> Result<(), SqlStoreError> {
    if found <= KNOWN {
        return Ok(());
    }
    Err(SqlStoreError::Newer {
        schema: schema.to_owned(),
        found,
        known: KNOWN,
    })
}

/// Returns the version of the schema; 0 if it is missing.
async fn version(link: &mut PgConnection, schema: &str) -> Result<u32, SqlStoreError> {
    let name = quoted(schema);
    // Queries the catalog's tables: the names that the session has cached may be older than the
    // lock under which this runs.
    let is_there = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n \
                    ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'store')";
    let is_there = sqlx::query(is_there)
        .bind(schema)
        .fetch_one(&mut *link)
        .await;
    let is_there: bool = is_there
        .and_then(|row| row.try_get(0))
        .map_err(of_opening)?;
    if !is_there {
        return Ok(0);
    }
    let found = sqlx::query(&format!("SELECT version FROM {name}.store"))
        .fetch_one(link)
        .await;
    let found: i32 = found.and_then(|row| row.try_get(0)).map_err(of_opening)?;
    Ok(u32::try_from(found).unwrap_or(u32::MAX))
}

async fn read_id(link: &mut PgConnection, schema: &str) -> Result<[u8; 16], SqlStoreError> {
    let row = sqlx::query(&format!("SELECT id FROM {}.store", quoted(schema)))
        .fetch_one(link)
        .await;
    let id: Vec<u8> = row.and_then(|row| row.try_get(0)).map_err(of_opening)?;
    let id = id.try_into();
    id.map_err(|_| SqlStoreError::Setting("the schema's store table is none of ours"))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
