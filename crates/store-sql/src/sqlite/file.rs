//! Opens, creates and migrates the file, and the options of connections to it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, Executor, Row, SqliteConnection,
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{
    error::{Code, SqliteStoreError},
    writing,
};
use crate::backend::Digest;

/// The migrations from each version of the schema to the next; the first creates version 1. A
/// released step never changes: a change of the schema is another step.
const STEPS: [&str; 1] = [include_str!("../../migrations/sqlite/1.sql")];

/// The version of the schema that this release needs. The file stores it as `user_version`.
const KNOWN: u32 = STEPS.len() as u32;

/// The `application_id` of our files: "TwRv".
const APPLICATION: i64 = 0x5477_5276;

/// The size in bytes to which the log is truncated when it is restarted after a checkpoint.
const LOG_BYTES: u32 = 16 << 20;

/// The state of a file that was opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(crate) id: Digest,
    /// The number of the last event.
    pub(crate) seq: i64,
}

/// The content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Version(u32),
    Foreign,
}

/// Returns connect options that change no setting in an existing file, for use before its content
/// is known.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(false)
        .disable_statement_logging()
}

/// Adds the options for a file that is or becomes a store. In WAL mode a commit appends to the
/// log, and readers don't wait for writers. `synchronous=FULL` flushes the log at each commit; with
/// `NORMAL` only checkpoints would, and a power cut could lose acknowledged writes.
pub(crate) fn durable(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Has an effect on macOS only, where fsync doesn't flush the cache of the drive.
        .pragma("fullfsync", "1")
        .pragma("journal_size_limit", LOG_BYTES.to_string())
}

/// Opens the file, or creates it if it is missing, and migrates it to this release's version.
pub(crate) async fn open(
    path: &Path,
    options: &SqliteConnectOptions,
) -> Result<Opened, SqliteStoreError> {
    // If another process creates the file at the same time, SQLite fails at once and does not wait.
    loop {
        match begin(path, options).await {
            Err(Rejected::Driver(error)) if Code::of(&error) == Code::Busy => {
                tokio::task::yield_now().await;
            }
            Err(Rejected::Driver(error)) => return Err(SqliteStoreError::of_driver(path, error)),
            Err(Rejected::Final(error)) => return Err(error),
            Ok(opened) => return Ok(opened),
        }
    }
}

/// Why the file was not opened.
enum Rejected {
    Driver(sqlx::Error),
    Final(SqliteStoreError),
}

impl From<sqlx::Error> for Rejected {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

async fn begin(path: &Path, plain: &SqliteConnectOptions) -> Result<Opened, Rejected> {
    let mut link = plain.connect().await?;
    // First without the options that would change a file of another program.
    let version = accept(path, found(&mut link).await?)?;
    link.close().await?;
    let mut options = durable(plain.clone());
    if version == 0 {
        // `auto_vacuum` can be set only while the file is empty. To set it is a write, even if it
        // is set already.
        options = options.auto_vacuum(SqliteAutoVacuum::Incremental);
    }
    let mut link = options.connect().await?;
    writing::begin(&mut link).await?;
    let done = match contend(path, plain).await {
        Ok(()) => begin_in_turn(path, &mut link).await,
        Err(error) => Err(error),
    };
    let opened = writing::end(&mut link, done).await?;
    link.close().await?;
    Ok(opened)
}

/// Checks, while the lock of writers is held, that a second connection does not get it too.
async fn contend(path: &Path, options: &SqliteConnectOptions) -> Result<(), Rejected> {
    let options = options.clone().busy_timeout(Duration::ZERO);
    let mut second = options.connect().await?;
    let begun = second.execute("BEGIN IMMEDIATE").await;
    second.close().await?;
    match begun {
        Err(error) if Code::of(&error) == Code::Busy => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(Rejected::Final(SqliteStoreError::NoLocks {
            path: path.to_owned(),
        })),
    }
}

/// Migrates the file and reads its state. Runs under the lock of writers even if there is nothing
/// to migrate, so that opening fails if the file can't be written.
async fn begin_in_turn(path: &Path, link: &mut SqliteConnection) -> Result<Opened, Rejected> {
    let version = accept(path, found(link).await?)?;
    for step in STEPS.iter().skip(version as usize) {
        link.execute(*step).await?;
    }
    if version == 0 {
        let mut id = [0; 16];
        let why = SqliteStoreError::Setting("the system gives no random numbers");
        getrandom::fill(&mut id).map_err(|_| Rejected::Final(why))?;
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
        id: id.map_err(|_| Rejected::Final(SqliteStoreError::Foreign { path }))?,
        seq: row.try_get(1)?,
    })
}

/// Returns the version of a file that can be a store, 0 for an empty one. Rejects all others.
fn accept(path: &Path, found: Found) -> Result<u32, Rejected> {
    let path = || -> PathBuf { path.to_owned() };
    match found {
        Found::Nothing => Ok(0),
        Found::Version(version) if version <= KNOWN => Ok(version),
        Found::Version(found) => Err(Rejected::Final(SqliteStoreError::Newer {
            path: path(),
            found,
            known: KNOWN,
        })),
        Found::Foreign => Err(Rejected::Final(SqliteStoreError::Foreign { path: path() })),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn trap_57_a_file_system_without_locks_is_rejected() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.sqlite");
        let without_locks = options(&path).vfs("unix-none");
        let rejected = open(&path, &without_locks).await;
        let is_told = matches!(&rejected, Err(SqliteStoreError::NoLocks { .. }));
        assert!(is_told, "{rejected:?}");
        open(&path, &options(&path)).await.expect("locks");
    }
}
