//! Tests damaged files: either every acknowledged write is there, or opening the folder fails.

use std::{
    fs,
    num::NonZeroU32,
    ops::Range,
    path::{Path, PathBuf},
};

use fastrand::Rng;
use tempfile::TempDir;
use tower_revoke_core::{KeyDigest, Revocation, Store, TokenId, Use, UseId, UseOutcome};
use tower_revoke_testing::rounds;

use super::{NOW, copy, flush};
use crate::{EmbeddedStore, EmbeddedStoreError};

/// Groups of writes, each of a revocation and of two uses of a token, of which one wins.
const GROUPS: u32 = 60;

fn token(number: u32) -> TokenId {
    TokenId::of_jwt("damaged", &number.to_string())
}

fn new_use(group: u32, id: u8) -> Use {
    let id = UseId::from_bytes([id; 16]);
    Use::new(token(2 * group), id, NonZeroU32::MIN, None)
}

async fn write(store: &EmbeddedStore, group: u32) {
    let revocation = Revocation::of_token(token(2 * group + 1), None).because("a reason");
    let (one, other) = (new_use(group, 1), new_use(group, 2));
    let (revoked, one, other) = tokio::join!(
        store.revoke(std::slice::from_ref(&revocation)),
        store.take_use(&one, NOW),
        store.take_use(&other, NOW),
    );
    revoked.unwrap();
    let outcomes = (one.unwrap(), other.unwrap());
    assert_eq!(outcomes, (UseOutcome::Taken { left: 0 }, UseOutcome::Spent));
}

async fn is_there(store: &EmbeddedStore, groups: u32) {
    let keys: Vec<_> = (0..2 * groups)
        .map(|number| KeyDigest::of_token(token(number)))
        .collect();
    let listed = store.look_up(&keys).await.unwrap();
    let missing: Vec<_> = (0..)
        .zip(&listed)
        .filter(|(_, listed)| listed.is_none())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    for group in 0..groups {
        let other = store.take_use(&new_use(group, 2), NOW).await.unwrap();
        assert_eq!(other, UseOutcome::Spent);
    }
}

/// A folder as a crash leaves it, and as it was before the last group.
struct Crashed {
    folder: TempDir,
    before: PathBuf,
    after: PathBuf,
}

impl Crashed {
    /// Some of the groups are in the tree already.
    async fn new(flushed: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [path, before, after] = ["a", "before", "after"].map(|name| folder.path().join(name));
        let store = EmbeddedStore::open(&path).unwrap();
        for group in 0..GROUPS {
            if group == flushed {
                flush(&store);
            }
            if group + 1 == GROUPS {
                copy(&path, &before);
            }
            write(&store, group).await;
        }
        copy(&path, &after);
        Self {
            folder,
            before,
            after,
        }
    }

    /// A copy with a changed journal.
    fn with_journal(&self, of: &Path, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("damaged");
        copy(of, &path);
        fs::write(journal(&path), bytes).unwrap();
        path
    }
}

fn journal(path: &Path) -> PathBuf {
    path.join("data/0.jnl")
}

/// Returns the journal without what is only reserved.
fn written(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(journal(path)).unwrap();
    bytes.truncate(1 << 20);
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes.truncate(end + 1);
    bytes
}

/// Cuts the journal off, flips a bit of it, or empties a sector of it.
fn damage(bytes: &mut Vec<u8>, in_: Range<usize>, rng: &mut Rng) -> usize {
    let at = rng.usize(in_);
    match rng.u8(0..4) {
        0 => bytes.truncate(at),
        1 => {
            let sector = at / 512 * 512;
            let end = (sector + 512).min(bytes.len());
            bytes[sector..end].fill(0);
        }
        _ => bytes[at] ^= 1 << rng.u8(0..8),
    }
    at
}

#[tokio::test]
async fn a_damaged_journal_is_complete_or_rejected() {
    let mut rng = Rng::with_seed(7);
    let (mut opened, mut rejected) = (0, 0);
    for flushed in [GROUPS, GROUPS / 2] {
        let crashed = Crashed::new(flushed).await;
        let good = written(&crashed.after);
        for _ in 0..rounds(40, 500) {
            let mut bytes = good.clone();
            let at = damage(&mut bytes, good.len() / 2..good.len(), &mut rng);
            let path = crashed.with_journal(&crashed.after, &bytes);
            match EmbeddedStore::open(&path) {
                Ok(store) => {
                    opened += 1;
                    is_there(&store, GROUPS).await;
                }
                Err(EmbeddedStoreError::Corrupt { .. }) => {
                    rejected += 1;
                    // It stays so.
                    EmbeddedStore::open(&path).unwrap_err();
                }
                Err(other) => panic!("byte {at}: {other:?}"),
            }
        }
    }
    assert!(rejected > opened, "{rejected} were rejected, {opened} not");
}

/// The end of the program or of the power came before the group was acknowledged.
#[tokio::test]
async fn a_torn_group_is_dropped_and_all_others_are_there() {
    let mut rng = Rng::with_seed(8);
    let crashed = Crashed::new(GROUPS / 2).await;
    let (earlier, all) = (written(&crashed.before).len(), written(&crashed.after));
    for _ in 0..rounds(40, 500) {
        let mut bytes = all.clone();
        match rng.bool() {
            true => bytes.truncate(rng.usize(earlier..all.len())),
            false => {
                let sector = rng.usize(earlier..all.len()) / 512 * 512;
                let end = (sector + 512).min(bytes.len());
                bytes[sector.max(earlier)..end].fill(0);
            }
        }
        let path = crashed.with_journal(&crashed.before, &bytes);
        let store = EmbeddedStore::open(&path).unwrap();
        is_there(&store, GROUPS - 1).await;
        // It goes on, and is complete after the next crash too.
        write(&store, GROUPS - 1).await;
        let copied = crashed.folder.path().join("again");
        copy(&path, &copied);
        is_there(&EmbeddedStore::open(&copied).unwrap(), GROUPS).await;
    }
}

#[tokio::test]
async fn a_damaged_tree_fails_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let open = || EmbeddedStore::builder(&path).cache_bytes(0).open();
    let store = open().unwrap();
    for group in 0..GROUPS {
        write(&store, group).await;
    }
    flush(&store);
    drop(store);
    let tables = path.join("data/keyspaces/1/tables");
    for entry in fs::read_dir(tables).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 4;
        bytes[..middle].fill(0xA5);
        fs::write(path, bytes).unwrap();
    }
    let store = match open() {
        Err(EmbeddedStoreError::Corrupt { .. }) => return,
        opened => opened.unwrap(),
    };
    for number in 0..2 * GROUPS {
        let listed = store.look_up(&[KeyDigest::of_token(token(number))]).await;
        assert!(
            !matches!(listed.as_deref(), Ok([None])),
            "a revoked token was accepted"
        );
    }
}

#[tokio::test]
async fn a_damaged_ledger_or_a_missing_journal_is_rejected() {
    let crashed = Crashed::new(0).await;
    let path = crashed.after.clone();
    let good = fs::read(path.join("tower-revoke")).unwrap();
    let mut marked = good.clone();
    marked[39] ^= 1;
    for bytes in [&good[..40], &marked] {
        fs::write(path.join("tower-revoke"), bytes).unwrap();
        let rejected = EmbeddedStore::open(&path).unwrap_err();
        assert!(
            matches!(rejected, EmbeddedStoreError::Corrupt { .. }),
            "{rejected:?}"
        );
    }
    fs::write(path.join("tower-revoke"), good).unwrap();
    is_there(&EmbeddedStore::open(&path).unwrap(), GROUPS).await;
    for missing in [journal(&path), path.join("data/version")] {
        fs::remove_file(missing).unwrap();
        let rejected = EmbeddedStore::open(&path).unwrap_err();
        assert!(
            matches!(rejected, EmbeddedStoreError::Corrupt { .. }),
            "{rejected:?}"
        );
    }
}
