//! Runs Python's `grpcio`, a gRPC client on gRPC's own C core.

use serde_json::Value;
use tokio::process::Command;

use super::{installed, script};

const VERSIONS: &str = include_str!("../../servers/grpcio/requirements.txt");

/// Runs a Python script that may `import grpc`; it reads JSON from its standard input and writes
/// JSON.
///
/// # Panics
/// If `grpcio` is not installed in its pinned version, or if the script fails.
/// If `grpcio` is not installed in its pinned version, or if the script fails.
pub async fn grpcio(script: &str, input: &Value) -> Value {
    let folder = installed("grpcio");
    let versions = std::fs::read_to_string(folder.join("requirements.txt")).unwrap_or_default();
    assert_eq!(
        versions, VERSIONS,
        "another version: run tests/servers/install"
    );
    let mut python = Command::new("python3");
    python.args(["-c", script]).env("PYTHONPATH", folder);
    script::run(&mut python, input).await
}
