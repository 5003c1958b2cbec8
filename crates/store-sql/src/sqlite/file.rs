//! The file: what it must be, how connections to it are set up, and how it is created.

use std::path::{Path, PathBuf};

use sqlx::{
    ConnectOptions, Connection, Executor, Row, SqliteConnection,
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{
    error::{Code, SqliteStoreError},
    writing,
};
use crate::backend::Digest;

/// What leads from each version of the schema to the next; from none to 1 first. What was returned
/// stays as it is: a change is one more step.
const STEPS: [&str; 1] = [include_str!("../../migrations/sqlite/1.sql")];

/// The version that this release works with. In the file it is `user_version`.
const KNOWN: u32 = STEPS.len() as u32;

/// Says in the file whose it is: "TwRv".
const APPLICATION: i64 = 0x5477_5276;

/// To how many bytes the log is cut when it is begun again.
const LOG_BYTES: u32 = 16 << 20;

/// What an open file is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(crate) id: Digest,
    /// The last event.
    pub(crate) seq: i64,
}

/// What stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Version(u32),
    Foreign,
}

/// As far as it can be used before it is known what the file is.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(false)
        .disable_statement_logging()
}

/// Of a file that is a store.
pub(crate) fn durable(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Elsewhere than on macOS it changes nothing.
        .pragma("fullfsync", "1")
        .pragma("journal_size_limit", LOG_BYTES.to_string())
}

/// Opens the file, creates it where it is not there, and brings it to this release's version.
pub(crate) async fn open(
    path: &Path,
    options: &SqliteConnectOptions,
) -> Result<Opened, SqliteStoreError> {
    // Where another process creates it at the same time, SQLite does not wait by itself.
    loop {
        match begin(path, options).await {
            Err(Rejected::Driver(error)) if Code::of(&error) == Code::Busy => {
                tokio::task::yield_now().await;
            }
            Err(Rejected::Driver(error)) => return Err(SqliteStoreError::of_driver(path, error)),
            Err(Rejected::Said(error)) => return Err(error),
            Ok(opened) => return Ok(opened),
        }
    }
}

/// Why it was not opened.
enum Rejected {
    Driver(sqlx::Error),
    Said(SqliteStoreError),
}

impl From<sqlx::Error> for Rejected {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

async fn begin(path: &Path, options: &SqliteConnectOptions) -> Result<Opened, Rejected> {
    let mut link = options.connect().await?;
    // First without a setting that would change a file of somebody else's.
    let version = accept(path, found(&mut link).await?)?;
    link.close().await?;
    let mut options = durable(options.clone());
    if version == 0 {
        // It can only be said while there is nothing, and is a write also where it is so already.
        options = options.auto_vacuum(SqliteAutoVacuum::Incremental);
    }
    let mut link = options.connect().await?;
    writing::begin(&mut link).await?;
    let done = begin_in_turn(path, &mut link).await;
    let opened = writing::end(&mut link, done).await?;
    link.close().await?;
    Ok(opened)
}

/// Also of a file that has all that it needs: whether it can be written.
async fn begin_in_turn(path: &Path, link: &mut SqliteConnection) -> Result<Opened, Rejected> {
    let version = accept(path, found(link).await?)?;
    for step in STEPS.iter().skip(version as usize) {
        link.execute(*step).await?;
    }
    if version == 0 {
        let mut id = [0; 16];
        let why = SqliteStoreError::Setting("the system gives no random numbers");
        getrandom::fill(&mut id).map_err(|_| Rejected::Said(why))?;
        let insert = sqlx::query("INSERT INTO store (only_one, id) VALUES (1, ?)");
        insert.bind(&id[..]).execute(&mut *link).await?;
    }
    if version < KNOWN {
        let names = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {KNOWN}");
        link.execute(&*names).await?;
    }
    let row = sqlx::query("SELECT id, seq FROM store");
    let row = row.fetch_one(link).await?;
    let id = row.try_get::<&[u8], _>(0)?.try_into();
    let path = path.to_owned();
    Ok(Opened {
        id: id.map_err(|_| Rejected::Said(SqliteStoreError::Foreign { path }))?,
        seq: row.try_get(1)?,
    })
}

/// The version, of what can be a store; 0: there is nothing yet.
fn accept(path: &Path, found: Found) -> Result<u32, Rejected> {
    let path = || -> PathBuf { path.to_owned() };
    match found {
        Found::Nothing => Ok(0),
        Found::Version(version) if version <= KNOWN => Ok(version),
        Found::Version(found) => Err(Rejected::Said(SqliteStoreError::Newer {
            path: path(),
            found,
            known: KNOWN,
        })),
        Found::Foreign => Err(Rejected::Said(SqliteStoreError::Foreign { path: path() })),
    }
}

async fn found(link: &mut SqliteConnection) -> Result<Found, sqlx::Error> {
    let row = sqlx::query(
        "SELECT (SELECT application_id FROM pragma_application_id), \
         (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)",
    )
    .fetch_one(link)
    .await?;
    let (application, version, tables): (i64, i64, i64) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(match (application, tables) {
        (0, 0) if version == 0 => Found::Nothing,
        (APPLICATION, 1..) => Found::Version(u32::try_from(version).unwrap_or(u32::MAX)),
        _ => Found::Foreign,
    })
}
