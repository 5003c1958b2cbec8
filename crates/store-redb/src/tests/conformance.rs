//! Runs the conformance suite on the store.

use std::{fs, path::PathBuf, sync::Mutex};

use tempfile::TempDir;
use tower_revoke_core::Clock;
use tower_revoke_testing::{
    conformance::{Ability, Fault, Fixture},
    store_conformance,
};

use crate::RedbStore;

struct File {
    folder: TempDir,
    clock: Clock,
    /// One file serves one process: all nodes are handles to this store.
    open: Mutex<Option<RedbStore>>,
}

impl File {
    fn path(&self) -> PathBuf {
        self.folder.path().join("revocations.redb")
    }

    fn copy(&self) -> PathBuf {
        self.folder.path().join("backup.redb")
    }

    fn close(&self) {
        *self.open.lock().expect("no panic") = None;
    }
}

impl Fixture for File {
    type Store = RedbStore;

    const LACKS: &'static [(Ability, &'static str)] = &[
        (Ability::Outage, "there is no server"),
        (Ability::Freeze, "there is no server"),
    ];

    async fn empty(clock: Clock) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temp dir"),
            clock,
            open: Mutex::default(),
        }
    }

    async fn open(&self) -> RedbStore {
        let mut open = self.open.lock().expect("no panic");
        open.get_or_insert_with(|| {
            let builder = RedbStore::builder(self.path()).clock(self.clock.clone());
            builder.open().expect("a file")
        })
        .clone()
    }

    async fn harm(&self, harm: Fault) {
        match harm {
            Fault::Restart => self.close(),
            Fault::Trim => self.open().await.trim_all().await,
            Fault::Backup => {
                self.close();
                fs::copy(self.path(), self.copy()).expect("a copy");
            }
            Fault::PlayBack => {
                self.close();
                fs::copy(self.copy(), self.path()).expect("a copy");
            }
            other => panic!("no server, so no {other:?}"),
        }
    }
}

store_conformance!(File);
