//! The schema: created, brought to this version's state, and checked.

use sqlx::{Connection, Executor, PgConnection, Row};

use super::error::of_opening;
use crate::error::SqlStoreError;

/// What leads from each version to the next; from none to 1 first. What was returned stays as it
/// is: a change is one more step.
const STEPS: [&str; 1] = [include_str!("../../migrations/postgres/1.sql")];

/// The version that this release works with.
const KNOWN: u32 = STEPS.len() as u32;

/// The name as SQL has it. It has no quotes in it, see the builder.
pub(crate) fn quoted(schema: &str) -> String {
    format!("\"{schema}\"")
}

/// Brings the schema to this release's version; one transaction, in which nobody else does.
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
        // Not by IF NOT EXISTS, for which one must be allowed to create it also where it is there.
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
        0 => {
            let mut id = [0; 16];
            getrandom::fill(&mut id)
                .map_err(|_| SqlStoreError::Setting("the system gives no random numbers"))?;
            id
        }
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

/// The store's id, if the schema is at this release's version.
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

/// 0: there is none.
async fn version(link: &mut PgConnection, schema: &str) -> Result<u32, SqlStoreError> {
    let name = quoted(schema);
    // From the tables themselves: what the session has cached of names may be older than the lock
    // under which this is asked.
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

async fn setting(link: &mut PgConnection, name: &str) -> Result<String, SqlStoreError> {
    let row = sqlx::query("SELECT current_setting($1)")
        .bind(name)
        .fetch_one(link)
        .await;
    row.and_then(|row| row.try_get(0)).map_err(of_opening)
}

/// Texts of any letters must find room.
pub(crate) async fn check_encoding(link: &mut PgConnection) -> Result<(), SqlStoreError> {
    let encoding = setting(link, "server_encoding").await?;
    match encoding.as_str() {
        "UTF8" => Ok(()),
        _ => Err(SqlStoreError::Encoding(encoding)),
    }
}

pub(crate) async fn warn_if_it_may_lose(link: &mut PgConnection) -> Result<(), SqlStoreError> {
    for name in ["fsync", "full_page_writes"] {
        if setting(link, name).await? == "off" {
            tracing::warn!(
                "PostgreSQL runs with {name} = off: a crash of its machine may lose revocations \
                 and uses that were acknowledged, and the whole database"
            );
        }
    }
    Ok(())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
