//! TRAPS 51: a client that uploads with an invalid token reads the response, whatever the client.

use std::io::Write;

use axum::{Router, body::Bytes, extract::DefaultBodyLimit, routing::post};
use tempfile::NamedTempFile;
use tokio::process::Command;
use tower_revoke::{DrainUploadLayer, RequireBearerLayer};
use tower_revoke_tests::{
    Server, World,
    curl::{WIRES, curl},
};

/// Far more than HTTP/2 flow control lets a client send before the server reads.
const LEN: usize = 7_000_000;
const TIMES: usize = 20;

fn app(world: &World) -> Router {
    Router::new()
        .route("/", post(async |body: Bytes| body.len().to_string()))
        .layer(DefaultBodyLimit::disable())
        .layer(RequireBearerLayer::new(world.tokens.clone()))
}

/// A file of [`LEN`] bytes, for `@PATH` or `PATH` arguments.
fn file() -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temp file");
    file.write_all(&vec![b'a'; LEN]).expect("a disk");
    file
}

/// Uploads the file with curl; returns the status and the body.
async fn upload(server: &Server, wire: &str, token: &str, file: &NamedTempFile) -> String {
    let output = curl(&[
        wire,
        "--data-binary",
        &format!("@{}", file.path().display()),
        // Without `Expect`, for which curl would wait for the response before it sends.
        "--header",
        "Expect:",
        "--header",
        &format!("Authorization: Bearer {token}"),
        "--write-out",
        " %{http_code}",
        &format!("http://{}/", server.addr),
    ])
    .await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{wire}: {said} {error}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_51_curl_reads_the_401_of_an_upload() {
    let world = World::new();
    let server = Server::start(app(&world).layer(DrainUploadLayer::new())).await;
    let file = file();
    for wire in WIRES {
        for _ in 0..TIMES {
            let said = upload(&server, wire, "bad", &file).await;
            assert!(said.contains(r#""reason":"malformed_token""#), "{said}");
            assert!(said.ends_with(" 401"), "{said}");
        }
        let said = upload(&server, wire, &world.token(), &file).await;
        assert_eq!(said, format!("{LEN} 200"), "{wire}");
    }
}

/// Uploads with an invalid token by nghttp; returns whether the status is a 401, and whether the
/// stream was reset.
async fn frames(server: &Server, file: &NamedTempFile) -> (bool, bool) {
    let mut nghttp = Command::new("nghttp");
    nghttp.args(["--verbose", "--null-out", "--no-dep", "--timeout=60"]);
    nghttp.arg("--header=authorization: Bearer bad");
    nghttp.arg("--data").arg(file.path());
    nghttp.arg(format!("http://{}/", server.addr));
    let output = nghttp.output().await.expect("nghttp is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    let reset = said.contains("recv RST_STREAM frame");
    (said.contains(":status: 401"), reset)
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_51_the_stream_of_an_upload_is_not_reset() {
    let world = World::new();
    let file = file();
    let bare = Server::start(app(&world)).await;
    assert_eq!(frames(&bare, &file).await, (true, true));
    for (layer, reset) in [
        (DrainUploadLayer::new(), false),
        (DrainUploadLayer::new().max_bytes(LEN as u64), false),
        (DrainUploadLayer::new().max_bytes(LEN as u64 - 1), true),
        (DrainUploadLayer::new().capacity(LEN as u64), false),
        (DrainUploadLayer::new().capacity(LEN as u64 - 1), true),
    ] {
        let server = Server::start(app(&world).layer(layer.clone())).await;
        assert_eq!(frames(&server, &file).await, (true, reset), "{layer:?}");
    }
}
