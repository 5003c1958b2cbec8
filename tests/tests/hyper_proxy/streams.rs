//! Tests that bodies are streamed both ways and never buffered whole.

use std::{fs, path::Path};

use tempfile::TempDir;
use tower_revoke_tests::curl::curl;

use crate::{
    kit::{DEMO, Example, Stage, WIRES},
    raw::Raw,
    upstream::Act,
};

const SIZE: usize = 50_000_000;

/// The peak memory of the program, in bytes.
fn peak(demo: &Example) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", demo.program.id()));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes
        .expect("a peak")
        .parse::<usize>()
        .expect("a number")
        * 1024
}

#[tokio::test]
async fn fifty_megabytes_are_streamed_both_ways_without_buffering() {
    let demo = Example::start(DEMO).await;
    let files = TempDir::new().expect("a temp dir");
    let file = |name: &str| files.path().join(name).to_str().expect("a path").to_owned();
    let (up, down) = (file("up"), file("down"));
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    fs::write(&up, &bytes).expect("a file");
    // The baseline after a few requests.
    let warm = demo.token("scope=proxy").await;
    for wire in WIRES {
        demo.show(wire, "/orders/1", &warm).await;
    }
    let before = peak(&demo);
    for wire in WIRES {
        let token = demo.token("scope=proxy").await;
        let header = format!("Authorization: Bearer {token}");
        let call = async |more: &[&str], path: &str| {
            let url = format!("http://{}{path}", demo.at);
            let output =
                curl(&[&[wire, "-f", "-H", &header, "-o", &down, &url], more].concat()).await;
            assert!(output.status.success(), "{wire} {output:?}");
            fs::read(Path::new(&down)).expect("a file")
        };
        // Upload and download at the same time: the backend echoes.
        let echoed = call(&["-X", "POST", "-T", &up], "/orders/echo").await;
        assert!(echoed == bytes, "{wire}: {} bytes", echoed.len());
        // A download on a route that revokes the token.
        let downloaded = call(&[], "/tickets/download").await;
        assert_eq!(downloaded.len(), SIZE, "{wire}");
        assert!(downloaded.iter().all(|byte| *byte == b'x'));
        assert_eq!(
            demo.show(wire, "/orders/1", &token).await.verdict(),
            "401 invalid_token"
        );
    }
    let more = peak(&demo).saturating_sub(before);
    assert!(more < SIZE / 2, "{more} more bytes than before");
}

/// Each chunk is forwarded before the next one arrives, in both directions.
#[tokio::test]
async fn each_chunk_is_forwarded_as_it_arrives() {
    let stage = Stage::with(Act::Echo(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ))
    .await;
    let token = stage.token("proxy");
    let head = format!(
        "POST /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    let mut raw = Raw::send(stage.at, head).await;
    assert_eq!(raw.head().await.0, 200);
    for piece in ["5\r\nfirst\r\n", "6\r\nsecond\r\n", "5\r\nthird\r\n"] {
        raw.more(piece).await;
        assert_eq!(raw.take(piece.len()).await, piece);
    }
    raw.more("0\r\n\r\n").await;
    assert_eq!(raw.take(5).await, "0\r\n\r\n");
    drop(raw);
    stage.end().await.one();
}

const WITH_TRAILERS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\
                             trailer: x-sum, authorization\r\n\r\n\
                             5\r\nhello\r\n0\r\nx-sum: 1\r\nauthorization: Bearer x\r\n\r\n";

/// RFC 9110 §6.5.1, §10.1.4: trailers reach a client that announced `TE: trailers`.
#[tokio::test]
async fn rfc9110_6_5_1_response_trailers_reach_a_client_that_accepts_them() {
    let stage = Stage::with(Act::Answer(WITH_TRAILERS)).await;
    let token = stage.token("proxy");
    let head = format!("GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n");
    let takes = format!("{head}connection: te\r\nte: trailers\r\n\r\n");
    let reply = Raw::send(stage.at, takes).await.reply().await;
    assert_eq!(reply.body, "hellox-sum: 1\r\n");
    let reply = Raw::send(stage.at, format!("{head}\r\n"))
        .await
        .reply()
        .await;
    assert_eq!(reply.body, "hello");
    let seen = stage.end().await;
    assert_eq!(seen.orders[0].all("te"), ["trailers"]);
    assert_eq!(seen.orders[0].all("connection"), ["te"]);
    assert_eq!(seen.orders[1].all("te"), [""; 0]);
}

#[tokio::test]
async fn rfc9110_6_5_1_response_trailers_pass_on_http_2() {
    let stage = Stage::with(Act::Answer(WITH_TRAILERS)).await;
    let token = stage.token("proxy");
    let header = format!("Authorization: Bearer {token}");
    let url = format!("http://{}/tickets/1", stage.at);
    let wire = "--http2-prior-knowledge";
    // curl writes trailers to the same file as headers.
    let output = curl(&[wire, "-D", "-", "-H", &header, &url]).await;
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        text.contains("hello") && text.contains("x-sum: 1"),
        "{text}"
    );
    // The token is revoked before they arrive.
    let again = curl(&[
        wire,
        "-w",
        "%{http_code}",
        "-o",
        "/dev/null",
        "-H",
        &header,
        &url,
    ])
    .await;
    assert_eq!(again.stdout, b"401");
}
