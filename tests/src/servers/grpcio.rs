//! gRPC from another family: Python's `grpcio`, on gRPC's own C core.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::installed;

const VERSIONS: &str = include_str!("../../servers/grpcio/requirements.txt");

/// Longer than any script of a test.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// Runs a Python script that may `import grpc`, and that reads JSON from its standard input and
/// answers with JSON.
///
/// # Panics
/// If `grpcio` is not installed in its pinned version, or if the script fails.
pub async fn grpcio(script: &str, input: &Value) -> Value {
    let folder = installed("grpcio");
    let versions = std::fs::read_to_string(folder.join("requirements.txt")).unwrap_or_default();
    assert_eq!(
        versions, VERSIONS,
        "another version: run tests/servers/install"
    );
    let mut python = Command::new("python3")
        .args(["-c", script])
        .env("PYTHONPATH", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 is installed");
    let mut stdin = python.stdin.take().expect("a pipe was asked for");
    let input = input.to_string();
    let run = async {
        stdin.write_all(input.as_bytes()).await.expect("it reads");
        drop(stdin);
        python.wait_with_output().await.expect("a child of ours")
    };
    let output = timeout(ENDS_WITHIN, run).await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}
