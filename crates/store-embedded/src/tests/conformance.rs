//! The store keeps every clause of the contract.

use std::{path::PathBuf, sync::Mutex};

use tempfile::TempDir;
use tower_revoke_core::Clock;
use tower_revoke_testing::{
    conformance::{Ability, Fault, Fixture},
    store_conformance,
};

use super::copy;
use crate::EmbeddedStore;

struct Folder {
    folder: TempDir,
    clock: Clock,
    /// One folder serves one process: all nodes are handles of this one.
    open: Mutex<Option<EmbeddedStore>>,
}

impl Folder {
    fn path(&self) -> PathBuf {
        self.folder.path().join("revocations")
    }

    fn copy(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn close(&self) {
        *self.open.lock().expect("no panic") = None;
    }
}

impl Fixture for Folder {
    type Store = EmbeddedStore;

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

    async fn open(&self) -> EmbeddedStore {
        let mut open = self.open.lock().expect("no panic");
        open.get_or_insert_with(|| {
            let builder = EmbeddedStore::builder(self.path()).clock(self.clock.clone());
            builder.open().expect("a folder")
        })
        .clone()
    }

    async fn inject(&self, fault: Fault) {
        match fault {
            Fault::Restart => self.close(),
            Fault::Trim => {
                // Its own group, which has no changes, counts as one.
                let trims = |group: &mut crate::group::Group<'_>| group.feed.capacity = 1;
                self.open().await.alone(trims).await;
            }
            Fault::Backup => {
                self.close();
                copy(&self.path(), &self.copy());
            }
            Fault::PlayBack => {
                self.close();
                copy(&self.copy(), &self.path());
            }
            other => panic!("no server, so no {other:?}"),
        }
    }
}

store_conformance!(Folder);
