//! Tests the embedded store in its own process, under limits of the operating system.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use tower_revoke::core::{KeyDigest, Store};
use tower_revoke_store_embedded::{EmbeddedStore, EmbeddedStoreError};
use tower_revoke_tests::acks::Ack;

/// Kills the process on drop, so that it never outlives the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Files that can't grow any further, as on a full disk.
#[tokio::test]
async fn a_folder_without_room_rejects_writes_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let path = folder.path().join("revocations");
    // Without the trap, SIGXFSZ would kill the process.
    let trapped = r#"trap '' XFSZ; exec "$@""#;
    let writer = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "bash", "-c", trapped, "bash"])
        .arg(env!("CARGO_BIN_EXE_store-writer"))
        .args(["embedded".as_ref(), path.as_os_str(), "1".as_ref()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut writer = Running(writer.expect("setpriv and bash run"));
    let said = writer.0.stdout.take().expect("a piped stream");
    let mut said = BufReader::new(said).lines().peekable();
    // Set only once the store is open, because a new journal reserves more than the limit.
    said.peek();
    let pid = writer.0.id().to_string();
    let limit = ["--pid", &pid, "--fsize=300000"];
    let limited = Command::new("prlimit").args(limit).status();
    assert!(limited.expect("prlimit, of util-linux, runs").success());
    let mut revoked = BTreeSet::new();
    for line in said {
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
    let store = EmbeddedStore::open(&path).expect("the folder opens");
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
fn a_folder_that_another_process_has_open_is_locked() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let path = folder.path().join("revocations");
    let other = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_store-writer")])
        .args(["embedded".as_ref(), path.as_os_str(), "1".as_ref()])
        .stdout(Stdio::piped())
        .spawn();
    let mut other = Running(other.expect("setpriv, of util-linux, runs"));
    let said = other.0.stdout.take().expect("a piped stream");
    let first = BufReader::new(said).lines().next();
    first.expect("a line").expect("text");
    let rejected = EmbeddedStore::open(&path).expect_err("it is open");
    assert!(
        matches!(rejected, EmbeddedStoreError::Locked { .. }),
        "{rejected}"
    );
    drop(other);
    EmbeddedStore::open(&path).expect("no process has it open");
}
