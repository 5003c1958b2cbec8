//! Runs `grpc-js`, a gRPC client on node's HTTP/2.

use serde_json::Value;
use tokio::process::Command;

use super::{installed, script};

const LOCK: &str = include_str!("../../servers/grpc-js/package-lock.json");

/// Runs a JavaScript module that may import `@grpc/grpc-js`; it reads JSON from its standard input
/// and writes JSON.
///
/// # Panics
/// If `grpc-js` is not installed in its pinned version, or if the module fails.
/// If `grpc-js` is not installed in its pinned version, or if the module fails.
pub async fn grpc_js(module: &str, input: &Value) -> Value {
    let folder = installed("grpc-js");
    let lock = std::fs::read_to_string(folder.join("package-lock.json")).unwrap_or_default();
    assert_eq!(lock, LOCK, "another version: run tests/servers/install");
    let mut node = Command::new("node");
    node.args(["--input-type=module", "--eval", module])
        // Imports are resolved from here.
        .current_dir(folder);
    script::run(&mut node, input).await
}
