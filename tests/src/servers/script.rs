//! Runs scripts in other languages, which read JSON from their standard input and write JSON.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// Longer than any script of a test takes.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// Runs a script to its end.
///
/// # Panics
/// If the script fails, takes too long, or writes anything but JSON.
pub(super) async fn run(command: &mut Command, input: &Value) -> Value {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
    let mut stdin = child.stdin.take().expect("a piped stream");
    let input = input.to_string();
    let run = async {
        stdin.write_all(input.as_bytes()).await.expect("it reads");
        drop(stdin);
        child.wait_with_output().await.expect("a child process")
    };
    let output = timeout(ENDS_WITHIN, run).await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}
