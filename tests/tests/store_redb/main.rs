//! Tests the redb store in its own process, under limits of the operating system.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use tower_revoke::core::{KeyDigest, Store};
use tower_revoke_store_redb::{RedbStore, RedbStoreError};
use tower_revoke_tests::acks::Ack;

/// Kills the process on drop, so that it never outlives the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file that can't grow any further, as on a full disk.
#[tokio::test]
async fn a_file_without_room_rejects_writes_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let file = folder.path().join("revocations.redb");
    // The limit is in blocks of 1,024 bytes. Without the trap, SIGXFSZ would kill the process.
    let limited = r#"trap '' XFSZ; ulimit -f 2000; exec "$@""#;
    let writer = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "bash", "-c", limited, "bash"])
        .arg(env!("CARGO_BIN_EXE_store-writer"))
        .args(["redb".as_ref(), file.as_os_str(), "1".as_ref()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut writer = Running(writer.expect("setpriv and bash run"));
    let said = writer.0.stdout.take().expect("a piped stream");
    let mut revoked = BTreeSet::new();
    for line in BufReader::new(said).lines() {
        match line.expect("text").parse().expect("an acknowledgement") {
            Ack::Revoked(number) | Ack::Won(number, _) => revoked.insert(number),
            Ack::Lost(..) => continue,
        };
    }
    // The writer exits at the first error.
    let why = writer.0.stderr.take().expect("a piped stream");
    let why: Vec<_> = BufReader::new(why).lines().map_while(Result::ok).collect();
    assert!(
        why.iter().any(|line| line.starts_with("the store is full")),
        "{why:?}"
    );
    assert!(!revoked.is_empty(), "some were acknowledged");
    let store = RedbStore::open(&file).expect("the file opens");
    let keys: Vec<_> = revoked
        .iter()
        .map(|number| KeyDigest::of_token(Ack::token(*number)))
        .collect();
    let listed = store.look_up(&keys).await.expect("an answer");
    let missing = listed.iter().filter(|listed| listed.is_none()).count();
    assert_eq!(missing, 0, "of {} acknowledged revocations", keys.len());
}

/// The operating system releases the lock when the process exits.
#[test]
fn a_file_that_another_process_has_open_is_locked() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let file = folder.path().join("revocations.redb");
    let other = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_store-writer")])
        .args(["redb".as_ref(), file.as_os_str(), "1".as_ref()])
        .stdout(Stdio::piped())
        .spawn();
    let mut other = Running(other.expect("setpriv, of util-linux, runs"));
    let said = other.0.stdout.take().expect("a piped stream");
    let first = BufReader::new(said).lines().next();
    first.expect("a line").expect("text");
    let rejected = RedbStore::open(&file).expect_err("it is open");
    assert!(
        matches!(rejected, RedbStoreError::Locked { .. }),
        "{rejected}"
    );
    drop(other);
    RedbStore::open(&file).expect("no process has it open");
}
