//! Tests the frames of rejections on the wire, as nghttp sees them.

use std::{fs, net::SocketAddr};

use tempfile::TempDir;
use tokio::process::Command;
use tower_revoke_testing::Behavior;

use crate::kit::{Example, Inside};

/// A gRPC message: uncompressed, seven bytes, a `Line` of one tea.
const TEA: &[u8] = b"\0\0\0\0\x07\x0a\x03tea\x10\x01";

/// Returns the frames of the response to one call of `Place`, each with its flags and header
/// fields, such as `HEADERS 0x05 :status: 200, …`.
async fn frames(at: SocketAddr, token: Option<&str>) -> Vec<String> {
    let folder = TempDir::new().expect("a temp dir");
    let message = folder.path().join("message");
    fs::write(&message, TEA).expect("a file");
    let mut nghttp = Command::new("nghttp");
    nghttp.args(["--verbose", "--null-out", "--no-dep", "--timeout=60"]);
    nghttp.args([
        "--header=content-type: application/grpc",
        "--header=te: trailers",
    ]);
    if let Some(token) = token {
        nghttp.arg(format!("--header=authorization: Bearer {token}"));
    }
    nghttp.arg("--data").arg(&message);
    nghttp.arg(format!("http://{at}/orders.v1.Orders/Place"));
    let output = nghttp.output().await.expect("nghttp is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");

    let mut frames = Vec::new();
    let mut fields = Vec::new();
    for line in said.lines() {
        if let Some((_, field)) = line.split_once("recv (stream_id=1) ") {
            fields.push(field.to_owned());
        } else if let Some((_, frame)) = line.split_once("recv ") {
            let of_this_stream = frame.contains("stream_id=1>");
            let (kind, rest) = frame.split_once(" frame <").expect("a frame");
            let (_, flags) = rest.split_once("flags=").expect("its flags");
            if of_this_stream && kind != "WINDOW_UPDATE" {
                fields.retain(|field| !field.starts_with("date: "));
                frames.push(format!("{kind} {} {}", &flags[..4], fields.join(", ")));
                fields.clear();
            }
        }
    }
    frames
}

/// One HEADERS frame with END_STREAM | END_HEADERS, and nothing else.
fn trailers_only(status: u8, message: &str) -> Vec<String> {
    vec![format!(
        "HEADERS 0x05 :status: 200, content-type: application/grpc, grpc-status: {status}, \
         grpc-message: {message}, cache-control: no-store"
    )]
}

#[tokio::test]
async fn grpc_rejections_are_one_headers_frame_on_the_wire() {
    let mut example = Example::start().await;
    let rejected = frames(example.at, None).await;
    assert_eq!(rejected, trailers_only(16, "a bearer token is required"));
    let bad = frames(example.at, Some("bad")).await;
    assert_eq!(bad, trailers_only(16, "the token is malformed"));
    let unscoped = example.token_with("scope=other").await;
    let forbidden = frames(example.at, Some(&unscoped)).await;
    assert_eq!(forbidden, trailers_only(7, "the token doesn't grant this"));

    // A successful response for comparison: head, message, trailers.
    let token = example.token().await;
    let good = frames(example.at, Some(&token)).await;
    let head = "HEADERS 0x04 :status: 200, content-type: application/grpc";
    assert_eq!(good, [head, "DATA 0x00 ", "HEADERS 0x05 grpc-status: 0"]);
    let spent = frames(example.at, Some(&token)).await;
    assert_eq!(spent, trailers_only(16, "the token was used up"));
}

#[tokio::test]
async fn grpc_a_store_that_is_down_is_one_headers_frame_on_the_wire() {
    let inside = Inside::start().await;
    inside.store.set_all(Behavior::Fails);
    let down = frames(inside.at, Some(&inside.token())).await;
    assert_eq!(down, trailers_only(14, "the token can't be checked now"));
}
