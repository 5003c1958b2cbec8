//! Tests malformed chunks: the upstream never gets the end of such a request, so it can't act on
//! it.

use crate::{kit::Stage, raw::Raw, upstream::OK};

const HEAD: &str = "POST /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\
                    transfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn a_body_of_malformed_chunks_never_completes() {
    for chunks in [
        // One more digit than 64 bits hold, and exactly 64 bits.
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "00000000000000000000000000000005x\r\nhello\r\n0\r\n\r\n",
        // Invalid numbers.
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        // Invalid line endings.
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
    ] {
        let stage = Stage::with(OK).await;
        let request = format!("{HEAD}{chunks}").replace("TOKEN", &stage.token("proxy"));
        let rest = Raw::send(stage.at, request).await.rest().await;
        assert!(!rest.contains("200 OK"), "{chunks:?}: {rest}");
        for seen in stage.end().await.orders {
            assert!(!seen.is_whole, "{chunks:?}: {seen:#?}");
            assert!(!seen.body.contains("0\r\n\r\n"), "{chunks:?}: {seen:#?}");
        }
    }
}

#[tokio::test]
async fn rfc9112_7_1_1_chunk_extensions_are_not_forwarded() {
    let stage = Stage::with(OK).await;
    let chunks = "5;name=\"value\"\r\nhello\r\n3 ;x\r\nyou\r\n0;last\r\n\r\n";
    let (_, reply) = stage.send(&format!("{HEAD}{chunks}")).await;
    assert_eq!(reply.status, 200);
    let seen = stage.end().await;
    let body = &seen.one().body;
    assert!(!body.contains(';') && body.contains("hello"), "{body}");
}

/// Chunk extensions are limited too.
#[tokio::test]
async fn endless_chunk_extensions_end_the_request() {
    let stage = Stage::with(OK).await;
    let long = "x".repeat(100_000);
    let request = format!("{HEAD}5;{long}\r\nhello\r\n0\r\n\r\n");
    let request = request.replace("TOKEN", &stage.token("proxy"));
    let rest = Raw::send(stage.at, request).await.rest().await;
    assert!(!rest.contains("200 OK"), "{rest}");
    assert!(stage.end().await.orders.iter().all(|seen| !seen.is_whole));
}

/// RFC 9110 §6.5.1: neither the proxy nor the upstream takes a trailer for a header.
#[tokio::test]
async fn rfc9110_6_5_1_credentials_in_a_trailer_are_ignored() {
    let stage = Stage::with(OK).await;
    let request = format!(
        "POST /orders/1 HTTP/1.1\r\nhost: a\r\ntrailer: authorization\r\n\
         transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nauthorization: Bearer {}\r\n\r\n",
        stage.token("proxy")
    );
    let reply = Raw::send(stage.at, request).await.reply().await;
    assert_eq!(reply.verdict(), "401");
    stage.end().await.none();
}

#[tokio::test]
async fn rfc9110_6_5_1_credentials_in_a_trailer_are_not_forwarded_and_other_trailers_are() {
    let stage = Stage::with(OK).await;
    let request = "POST /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\
                   trailer: authorization, x-sum, content-length, transfer-encoding, host\r\n\
                   transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\
                   authorization: Bearer other\r\nx-sum: 1\r\ncontent-length: 9\r\n\
                   transfer-encoding: chunked\r\nhost: b\r\nx-unnamed: 2\r\n\r\n";
    let (_, reply) = stage.send(request).await;
    assert_eq!(reply.status, 200);
    let seen = stage.end().await;
    assert_eq!(seen.one().body, "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n");
}
