//! Runs scripts in other languages, which read JSON from their standard input and write JSON.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::installed;

/// Longer than any script of a test takes.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// Defines functions that run a script with an installed package. Each panics if the package is not
/// installed in its pinned version, if the script fails or takes too long, or if it writes anything
/// but JSON.
macro_rules! clients {
    ($($(#[$docs:meta])* $function:ident = $language:ident($package:literal, $pins:literal);)*) => {
        $(
            $(#[$docs])*
            pub async fn $function(script: &str, input: &Value) -> Value {
                let pins = include_str!(concat!("../../servers/", $package, "/", $pins));
                let folder = pinned($package, $pins, pins);
                run(&mut $language(&folder, script), input).await
            }
        )*
    };
}

clients! {
    /// Runs a module that may import `@grpc/grpc-js`, a gRPC client on node's HTTP/2.
    grpc_js = javascript("grpc-js", "package-lock.json");
    /// Runs a module that may import `openid-client`, an OAuth client for node.
    openid_client = javascript("openid-client", "package-lock.json");
    /// Runs a module that may import `@modelcontextprotocol/sdk`, the TypeScript SDK of MCP.
    mcp_sdk_js = javascript("mcp-sdk-js", "package-lock.json");
    /// Runs a script that may import `grpc`, a gRPC client on gRPC's own C core.
    grpcio = python("grpcio", "requirements.txt");
    /// Runs a script that may import `authlib`, an OAuth client for Python.
    authlib = python("authlib", "requirements.txt");
    /// Runs a script that may import `mcp`, the Python SDK of MCP.
    mcp_sdk_python = python("mcp-sdk-python", "requirements.txt");
}

/// Returns the script that defines `axe`, which finds what keeps people from using a page.
pub fn axe_core() -> String {
    let pins = include_str!("../../servers/axe-core/package-lock.json");
    let folder = pinned("axe-core", "package-lock.json", pins);
    let path = folder.join("node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(path).expect("the script of axe-core")
}

fn pinned(package: &str, file: &str, pins: &str) -> PathBuf {
    let folder = installed(package);
    let found = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    assert_eq!(found, pins, "another version: run tests/servers/install");
    folder
}

fn javascript(folder: &Path, module: &str) -> Command {
    let mut node = Command::new("node");
    node.args(["--input-type=module", "--eval", module])
        // Imports are resolved from here.
        .current_dir(folder);
    node
}

fn python(folder: &Path, script: &str) -> Command {
    let mut python = Command::new("python3");
    python.args(["-c", script]).env("PYTHONPATH", folder);
    python
}

/// Runs a script to its end.
async fn run(command: &mut Command, input: &Value) -> Value {
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
