//! Tests an upstream that is down, that cuts the connection, or that sends too much.

use tokio::net::TcpListener;

use crate::{
    kit::{Stage, WIRES, is_active, serve, told},
    raw::Raw,
    upstream::{Act, OK},
};
use hyper_proxy::Upstreams;
use std::time::Duration;
use tower_revoke_tests::{Client, Wire, curl::curl, get};

/// The call was never sent, so its token stays valid.
#[tokio::test]
async fn an_upstream_that_is_down_is_a_502_and_costs_nothing() {
    let stage = Stage::with(OK).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nobody = socket.local_addr().expect("an address").to_string();
    drop(socket);
    let upstreams = Upstreams {
        orders: nobody.clone(),
        stock: stage.stock.addr.to_string(),
        maps: stage.maps.addr.to_string(),
    };
    let never = std::future::pending();
    let (at, _served) = serve(
        stage.issuer.url(),
        &stage.list,
        upstreams,
        Duration::ZERO,
        never,
    )
    .await;
    for wire in Wire::ALL {
        for (path, scope) in [("/tickets/1", "proxy"), ("/orders/1", "proxy OTT")] {
            let token = stage.token(scope);
            let mut client = Client::connect(at, wire).await;
            for _ in 0..2 {
                let answer = client.send(get(path, &token)).await.expect("an answer");
                assert_eq!(answer.verdict(), "502", "{path}");
                assert!(is_active(stage.issuer.url(), &token).await);
            }
            let elsewhere = client.send(get("/maps/1", &token)).await;
            assert_eq!(elsewhere.expect("an answer").verdict(), "200");
        }
    }
}

/// The upstream may have processed the call, so the use is spent.
#[tokio::test]
async fn an_upstream_that_cuts_before_the_head_is_a_502_and_the_token_is_spent() {
    for (path, scope) in [("/tickets/1", "proxy"), ("/orders/1", "proxy OTT")] {
        let stage = Stage::with(Act::AnswerAndClose("")).await;
        let token = stage.token(scope);
        let mut client = Client::connect(stage.at, Wire::Http1).await;
        let first = client.send(get(path, &token)).await.expect("an answer");
        assert_eq!(first.verdict(), "502");
        let again = client.send(get("/maps/1", &token)).await;
        assert_eq!(again.expect("an answer").verdict(), "401 invalid_token");
        told(stage.issuer.url(), &token).await;
        drop(client);
        assert_eq!(
            stage.end().await.one().request_line(),
            format!("GET {path} HTTP/1.1")
        );
    }
}

/// The client notices that the body is incomplete, on HTTP/1.1 and HTTP/2, and the token is spent.
#[tokio::test]
async fn an_upstream_that_cuts_its_body_cuts_the_response_and_the_token_is_spent() {
    for act in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\nhalf",
    ] {
        let stage = Stage::with(Act::AnswerAndClose(act)).await;
        for wire in WIRES {
            for (path, scope) in [("/tickets/1", "proxy"), ("/orders/1", "proxy OTT")] {
                let token = stage.token(scope);
                let url = format!("http://{}{path}", stage.at);
                let header = format!("Authorization: Bearer {token}");
                let output = curl(&[wire, "-w", "%{http_code}", "-H", &header, &url]).await;
                // curl's exit codes: 18 for a partial transfer, 56 for a cut connection, 92 for a
                // stream error.
                let code = output.status.code().expect("a code");
                assert!([18, 56, 92].contains(&code), "{wire} {act:?} {output:?}");
                // On HTTP/2, a reset may overtake the head.
                let is_cut_later = output.stdout.ends_with(b"200");
                assert!(is_cut_later || wire != "--http1.1", "{output:?}");
                let mut client = Client::connect(stage.at, Wire::Http1).await;
                let again = client.send(get("/maps/1", &token)).await;
                assert_eq!(again.expect("an answer").verdict(), "401 invalid_token");
                told(stage.issuer.url(), &token).await;
            }
        }
    }
}

/// A client that leaves while the upstream works spends its token, and the upstream sees the
/// connection close.
#[tokio::test]
async fn a_client_that_leaves_midway_has_spent_its_token() {
    for (path, scope) in [("/tickets/1", "proxy"), ("/orders/1", "proxy OTT")] {
        for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"] {
            let stage = Stage::with(Act::AnswerTheHead(answer)).await;
            let token = stage.token(scope);
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
            let mut raw = Raw::send(stage.at, request).await;
            stage.orders.heads(1).await;
            if !answer.is_empty() {
                raw.head().await;
                assert_eq!(raw.take(4).await, "half");
            }
            drop(raw);
            stage.orders.is_alone().await;
            told(stage.issuer.url(), &token).await;
            let seen = stage.end().await;
            assert_eq!(seen.orders.len(), 1);
            assert_eq!(seen.drained.queued, 0);
        }
    }
}

/// RFC 9112 §9.2, §6.3: bytes that follow a response reach no client.
#[tokio::test]
async fn a_second_response_to_one_request_is_discarded() {
    let twice = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\
                 HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    let stage = Stage::with(Act::Answer(twice)).await;
    for _ in 0..20 {
        let (_raw, reply) = stage
            .send("GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\r\n")
            .await;
        assert!(
            reply.body == "ok" || reply.status == 502,
            "{} {}",
            reply.status,
            reply.body
        );
        assert_ne!(reply.body, "forged");
    }
}

#[tokio::test]
async fn rfc9112_6_3_a_length_beside_the_chunks_of_a_response_is_removed() {
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\
                connection: close, x-hop\r\nx-hop: 1\r\nkeep-alive: 5\r\nproxy-authenticate: a\r\n\r\n\
                5\r\nhello\r\n0\r\n\r\n";
    let stage = Stage::with(Act::AnswerAndClose(both)).await;
    let (_raw, reply) = stage
        .send("GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\r\n")
        .await;
    assert_eq!(reply.body, "hello");
    for name in [
        "content-length",
        "connection",
        "x-hop",
        "keep-alive",
        "proxy-authenticate",
    ] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(reply.header("via"), Some("1.1 hyper-proxy"));
}

/// A malformed response becomes a 502, and none of its bytes are forwarded.
#[tokio::test]
async fn a_malformed_response_is_a_502() {
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: y\rz: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: y\r\n z\r\n\r\n",
        "HTTP/1.1 200 OK\r\nset-cookie : a=1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
    ] {
        let stage = Stage::with(Act::AnswerAndClose(answer)).await;
        let (_raw, reply) = stage
            .send("GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\r\n")
            .await;
        assert_eq!((reply.status, &*reply.body), (502, ""), "{answer:?}");
    }
}

/// A 103 or other interim response ends at the proxy; the final response is forwarded.
#[tokio::test]
async fn interim_responses_end_at_the_proxy_and_the_final_one_passes() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
                   HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let stage = Stage::with(Act::Answer(interim)).await;
    let (_raw, reply) = stage
        .send("GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\r\n")
        .await;
    assert_eq!((reply.status, &*reply.body), (200, "ok"));
    assert_eq!(reply.header("link"), None);
}
