//! Tests the one-time download link: a full download, HEAD previews, aborted downloads and retries.

use std::net::SocketAddr;

use axum_router::{Limits, write_export};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower_revoke_tests::curl::curl;

use crate::kit::{Example, Inside, SHOP, WIRES, call};

pub(crate) const LENGTH: usize = 50_000_000;

/// Whether `bytes` are the 50 MB that `write_export` writes.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let pieces = bytes.chunks(1_000_000).zip(0..);
    bytes.len() == LENGTH
        && pieces
            .into_iter()
            .all(|(piece, n)| piece.iter().all(|b| *b == n))
}

/// Sends a GET over a plain socket and reads only the head, so the body stays buffered in the
/// server.
pub(crate) async fn begin(at: SocketAddr, path: &str, token: Option<&str>) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.expect("a server");
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: shop\r\n{}connection: close\r\n\r\n",
        token.unwrap_or_default(),
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    assert!(head.starts_with(b"HTTP/1.1 200"));
    stream
}

#[tokio::test]
async fn a_link_serves_the_whole_file_once_even_after_previews() {
    let shop = Example::start(SHOP).await;
    for wire in WIRES {
        let link = format!(
            "/download?access_token={}",
            shop.token("scope=download").await
        );
        for _ in 0..3 {
            let preview = call(shop.at, &link, &[wire, "--head"]).await;
            assert_eq!(preview.status, 200);
            let length = preview.header("content-length");
            assert_eq!(length, Some(LENGTH.to_string().as_str()));
            assert_eq!(preview.header("accept-ranges"), Some("none"));
            assert_eq!(preview.body, "");
        }
        let folder = TempDir::new().expect("a temp dir");
        let file = folder.path().join("export.bin");
        let url = format!("http://{}{link}", shop.at);
        let path = file.to_str().expect("a path in UTF-8");
        let output = curl(&[wire, "-f", "-o", path, &url]).await;
        assert!(output.status.success(), "{output:?}");
        assert!(is_whole(&std::fs::read(&file).expect("a file")));

        for again in [&[wire][..], &[wire, "--head"]] {
            let rejected = call(shop.at, &link, again).await;
            assert_eq!(rejected.verdict(), "401 invalid_token");
        }
    }
}

/// A preview answers only for a valid link.
#[tokio::test]
async fn a_head_needs_the_token_too() {
    let shop = Example::start(SHOP).await;
    for wire in WIRES {
        for (query, verdict) in [
            ("", "401"),
            ("?access_token=", "400 invalid_request"),
            ("?access_token=no.such.token", "401 invalid_token"),
        ] {
            let path = format!("/download{query}");
            let reply = call(shop.at, &path, &[wire, "--head"]).await;
            assert_eq!(reply.verdict(), verdict, "{query}");
        }
    }
}

#[tokio::test]
async fn an_aborted_download_spends_the_link_and_a_range_does_not_resume_it() {
    let shop = Example::start(SHOP).await;
    for wire in WIRES {
        let link = format!(
            "/download?access_token={}",
            shop.token("scope=download").await
        );
        let mut stream = begin(shop.at, &link, None).await;
        let mut some = vec![0; 1_000_000];
        stream
            .read_exact(&mut some)
            .await
            .expect("a part of the body");
        drop(stream);
        for resumed in [&[wire][..], &[wire, "-C", "1000000"]] {
            let rejected = call(shop.at, &link, resumed).await;
            assert_eq!(rejected.verdict(), "401 invalid_token");
        }
    }
}

#[tokio::test]
async fn the_first_call_gets_the_whole_file_whatever_range_it_asks_for() {
    let shop = Example::start(SHOP).await;
    for wire in WIRES {
        let token = shop.token("scope=download").await;
        let url = format!("http://{}/download?access_token={token}", shop.at);
        let what = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}"];
        let arguments = [&[wire, "-H", "Range: bytes=10-19"][..], &what, &[&url]].concat();
        let output = curl(&arguments).await;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(printed, format!("200 {LENGTH}"), "{wire}");
    }
}

#[tokio::test]
async fn rfc6750_2_3_a_link_is_private_and_opens_nothing_else() {
    let shop = Example::start(SHOP).await;
    for wire in WIRES {
        let token = shop.token("scope=download").await;
        let link = format!("/download?access_token={token}");
        let head = call(shop.at, &link, &[wire, "--head"]).await;
        assert_eq!(head.header("cache-control"), Some("private"));

        let api = shop.show(wire, "/api/orders", &token).await;
        assert_eq!(api.verdict(), "403 insufficient_scope");
        // No other route reads the query.
        let query = format!("/api/orders?access_token={token}");
        assert_eq!(call(shop.at, &query, &[wire]).await.verdict(), "401");
        // Two credentials in one request.
        let twice = shop.show(wire, &link, &token).await;
        assert_eq!(twice.verdict(), "400 invalid_request");
        // An API token is not valid for the link.
        let other = shop.token("scope=api").await;
        let other = format!("/download?access_token={other}");
        let rejected = call(shop.at, &other, &[wire]).await;
        assert_eq!(rejected.verdict(), "403 insufficient_scope");
    }
}

#[tokio::test]
async fn a_missing_file_costs_no_use() {
    let inside = Inside::open(Limits::default()).await;
    let token = inside.token("download");
    let link = format!("/download?access_token={token}");
    for wire in WIRES {
        assert_eq!(call(inside.at, &link, &[wire]).await.status, 500);
    }
    write_export(&inside.export).expect("a file");
    let url = format!("http://{}{link}", inside.at);
    let status = ["-o", "/dev/null", "-w", "%{http_code}", &url];
    assert_eq!(curl(&status).await.stdout, b"200");
    assert_eq!(curl(&status).await.stdout, b"401");
}
