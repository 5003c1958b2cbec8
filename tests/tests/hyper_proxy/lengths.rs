//! Tests request framing: an ambiguous length is rejected, or forwarded in an unambiguous form.

use crate::{kit::Stage, raw::Raw, upstream::OK};

/// A smuggled request behind one whose length a lax parser gets wrong.
const HIDDEN: &str = "GET /orders/hidden HTTP/1.1\r\nhost: a\r\n\r\n";

/// RFC 9112 §6.3: with both headers, chunked framing wins, the length is removed, and the
/// connection closes.
#[tokio::test]
async fn rfc9112_6_3_a_length_beside_chunks_is_removed_and_the_connection_closes() {
    for fields in [
        "content-length: 51\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 51",
        "content-length: 0\r\ntransfer-encoding: chunked",
        "content-length: 6\r\ntransfer-encoding: chunked\r\ncontent-length: 51",
    ] {
        let stage = Stage::with(OK).await;
        let request = format!(
            "POST /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n{fields}\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\n{HIDDEN}"
        );
        let (raw, reply) = stage.send(&request).await;
        assert_eq!(reply.status, 200, "{fields}");
        assert_eq!(raw.rest().await, "", "{fields}");
        let seen = stage.end().await;
        let seen = seen.one();
        assert_eq!(seen.all("content-length"), [""; 0], "{fields}");
        assert_eq!(seen.all("transfer-encoding"), ["chunked"], "{fields}");
        assert_eq!(seen.body, "5\r\nhello\r\n0\r\n\r\n", "{fields}");
    }
}

#[tokio::test]
async fn rfc9112_6_3_differing_or_invalid_lengths_are_a_400() {
    for fields in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 0\r\ncontent-length: 5",
        "content-length: 5, 6",
        "content-length: 5, 5",
        "content-length: +5",
        "content-length: -5",
        "content-length: 0x5",
        "content-length: 5 5",
        "content-length: ",
        "content-length: 99999999999999999999",
    ] {
        let stage = Stage::with(OK).await;
        let request = format!(
            "POST /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n{fields}\r\n\r\nhello"
        );
        let (raw, reply) = stage.send(&request).await;
        assert_eq!(reply.status, 400, "{fields}");
        assert_eq!(raw.rest().await, "", "{fields}");
        stage.end().await.none();
    }
}

/// RFC 9112 §6.3 allows it if a single value is forwarded.
#[tokio::test]
async fn rfc9112_6_3_a_repeated_length_is_forwarded_once() {
    let stage = Stage::with(OK).await;
    let request = "POST /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\
                   content-length: 5\r\ncontent-length: 5\r\n\r\nhello";
    let (_, reply) = stage.send(request).await;
    assert_eq!(reply.status, 200);
    let seen = stage.end().await;
    assert_eq!(seen.one().all("content-length"), ["5"]);
    assert_eq!(seen.one().body, "hello");
}

#[tokio::test]
async fn rfc9112_6_1_only_chunked_coding_reaches_an_upstream() {
    for (version, coding, status) in [
        ("1.1", "transfer-encoding: gzip, chunked", 501),
        (
            "1.1",
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
            501,
        ),
        (
            "1.1",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            501,
        ),
        ("1.1", "transfer-encoding: chunked, gzip", 400),
        ("1.1", "transfer-encoding: xchunked", 400),
        ("1.1", "transfer-encoding: \x0bchunked", 400),
        (
            "1.1",
            "transfer-encoding: chunked\r\ntransfer-encoding: x",
            400,
        ),
        ("1.1", "transfer-encoding: identity", 400),
        ("1.1", "transfer-encoding: ", 400),
        // RFC 9112 §6.1: HTTP/1.0 has no transfer codings.
        ("1.0", "transfer-encoding: chunked", 400),
    ] {
        let stage = Stage::with(OK).await;
        let request = format!(
            "POST /orders/1 HTTP/{version}\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n{coding}\r\n\r\n\
             0\r\n\r\n"
        );
        let (_raw, reply) = stage.send(&request).await;
        assert_eq!(reply.status, status, "{coding}");
        stage.end().await.none();
    }
}

/// Each request of a connection is checked on its own, whatever came before it.
#[tokio::test]
async fn a_pipelined_request_is_checked_on_its_own() {
    let first = "GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\r\n";
    let with_body = "POST /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\
                     content-length: 5\r\n\r\nhello";
    let chunked = "POST /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\
                   transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for first in [first, with_body, chunked] {
        let stage = Stage::with(OK).await;
        let (mut raw, reply) = stage.send(&format!("{first}{HIDDEN}")).await;
        assert_eq!(reply.status, 200);
        assert_eq!(raw.reply().await.verdict(), "401");
        drop(raw);
        assert_eq!(
            stage.end().await.one().request_line().split(' ').nth(1),
            Some("/orders/1")
        );
    }
}

/// The same for a request that follows a rejected one whose body was not read.
#[tokio::test]
async fn the_body_of_a_rejected_request_is_never_taken_for_a_request() {
    for framing in [
        format!("content-length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()),
        format!(
            "transfer-encoding: chunked\r\n\r\n{:x}\r\n{HIDDEN}\r\n0\r\n\r\n",
            HIDDEN.len()
        ),
    ] {
        let stage = Stage::with(OK).await;
        let good = format!(
            "GET /orders/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
             authorization: Bearer {}\r\n\r\n",
            stage.token("proxy")
        );
        let request = format!("POST /orders/1 HTTP/1.1\r\nhost: a\r\n{framing}{good}");
        let mut raw = Raw::send(stage.at, request).await;
        assert_eq!(raw.reply().await.verdict(), "401");
        // The proxy either reads the body and takes the next request, or closes the connection.
        let rest = raw.rest().await;
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 200"),
            "{rest}"
        );
        for seen in stage.end().await.orders {
            assert_eq!(seen.request_line(), "GET /orders/1 HTTP/1.1");
        }
    }
}

/// Also for GET, whose body hyper's client would omit by default.
#[tokio::test]
async fn the_body_of_a_get_is_forwarded() {
    for framing in [
        "content-length: 5\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let stage = Stage::with(OK).await;
        let request = format!(
            "GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n{framing}"
        );
        let (_raw, reply) = stage.send(&request).await;
        assert_eq!(reply.status, 200);
        let seen = stage.end().await;
        assert!(framing.ends_with(&seen.one().body) && seen.one().body.contains("hello"));
    }
}
