//! The store passes the conformance suite.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{ConnectOptions, Connection, Executor};
use tempfile::TempDir;
use tower_revoke_core::Clock;
use tower_revoke_testing::{
    conformance::{Ability, Fault, Fixture},
    store_conformance,
};

use crate::{
    backend::Trim,
    sqlite::{SqliteStore, file, writing},
};

/// A file. Each store on it has connections of its own, as in a process of its own.
struct File {
    folder: TempDir,
}

impl File {
    fn path(&self) -> PathBuf {
        self.folder.path().join("revocations.sqlite")
    }

    fn copy(&self) -> PathBuf {
        self.folder.path().join("backup.sqlite")
    }
}

/// Returns the path of a file's log.
pub(super) fn log(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// Waits until every store on a file has closed it. The last connection to close deletes the log.
/// Two that close at the same time each leave that to the other; then the connection that is opened
/// here does it.
pub(super) async fn closed(path: &Path) {
    let log = log(path);
    let gone = async {
        while log.exists() {
            let mut link = file::options(path).connect().await.unwrap();
            // Fails while another connection deletes the log.
            let _ = link.execute("SELECT count(*) FROM sqlite_schema").await;
            link.close().await.unwrap();
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), gone).await;
    in_time.expect("all handles were dropped");
}

/// Removes all events of the feed.
pub(super) async fn trim(path: &Path) {
    let mut link = file::options(path).connect().await.unwrap();
    let all = Trim {
        kept: 0,
        retention: 0,
        at_once: 1_000_000,
    };
    writing::trim(&mut link, all).await.unwrap();
    link.close().await.unwrap();
}

impl Fixture for File {
    type Store = SqliteStore;

    const PATIENCE: Duration = Duration::from_secs(200);

    const LACKS: &'static [(Ability, &'static str)] = &[
        (Ability::Outage, "there is no server"),
        (Ability::Freeze, "there is no server"),
    ];

    async fn empty(_clock: Clock) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temp dir"),
        }
    }

    async fn open(&self) -> SqliteStore {
        // A slow disk must not fail the test.
        let builder = SqliteStore::builder(self.path()).request_timeout(Duration::from_secs(100));
        builder.open().await.expect("a file")
    }

    async fn inject(&self, fault: Fault) {
        match fault {
            Fault::Restart => closed(&self.path()).await,
            Fault::Trim => trim(&self.path()).await,
            Fault::Backup => {
                closed(&self.path()).await;
                fs::copy(self.path(), self.copy()).expect("a copy");
            }
            Fault::PlayBack => {
                closed(&self.path()).await;
                fs::copy(self.copy(), self.path()).expect("a copy");
            }
            other => panic!("no server, so no {other:?}"),
        }
    }
}

store_conformance!(File);
