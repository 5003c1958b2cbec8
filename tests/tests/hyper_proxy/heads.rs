//! Tests ambiguous request heads: each is rejected before it reaches an upstream, or forwarded in
//! an unambiguous form.

use base64::{Engine, prelude::BASE64_STANDARD as STANDARD};
use tokio::net::TcpListener;
use tower_revoke_tests::{Client, Wire, get};

use crate::{kit::Stage, raw::Raw, upstream::OK};

/// Returns the response to a GET with these header lines, in which `TOKEN` stands for a valid
/// token.
async fn rejected(lines: &str) -> String {
    let stage = Stage::with(OK).await;
    let (_raw, reply) = stage
        .send(&format!("GET /orders/1 HTTP/1.1\r\n{lines}\r\n\r\n"))
        .await;
    stage.end().await.none();
    reply.verdict()
}

#[tokio::test]
async fn trap_19_connection_that_names_authorization_is_a_400() {
    for connection in [
        "connection: authorization",
        "connection: close, Authorization",
        "connection: x\r\nconnection:\tAUTHORIZATION",
    ] {
        let lines = format!("host: a\r\nauthorization: Bearer TOKEN\r\n{connection}");
        assert_eq!(
            rejected(&lines).await,
            "400 invalid_request",
            "{connection}"
        );
    }
}

#[tokio::test]
async fn rfc6750_2_1_two_authorization_headers_are_a_400() {
    for second in ["Bearer TOKEN", "Bearer other", "Basic YTpi", ""] {
        let lines =
            format!("host: a\r\nauthorization: Bearer TOKEN\r\nx: y\r\nAuthorization: {second}");
        assert_eq!(rejected(&lines).await, "400 invalid_request", "{second}");
        let lines = format!("host: a\r\nauthorization: {second}\r\nauthorization: Bearer TOKEN");
        assert_eq!(rejected(&lines).await, "400 invalid_request", "{second}");
    }
}

#[tokio::test]
async fn rfc9112_5_2_folded_lines_are_a_400() {
    for lines in [
        "host: a\r\nauthorization: Bearer\r\n TOKEN",
        "host: a\r\nauthorization:\r\n\tBearer TOKEN",
        "host: a\r\nx: y\r\n authorization: Bearer TOKEN",
        "host: a\r\nauthorization: Bearer TOKEN\r\nx: y\r\n\tz",
        " host: a\r\nauthorization: Bearer TOKEN",
    ] {
        assert_eq!(rejected(lines).await, "400", "{lines:?}");
    }
}

#[tokio::test]
async fn rfc9112_5_1_a_name_with_invalid_bytes_is_a_400() {
    for lines in [
        "host: a\r\nauthorization : Bearer TOKEN",
        "host: a\r\nauthorization\t: Bearer TOKEN",
        "host: a\r\nauthorization: Bearer TOKEN\r\ncontent-length : 5",
        "host: a\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding : chunked",
        "host: a\r\nauthorization: Bearer TOKEN\r\nx y: z",
        "host: a\r\nauthorization: Bearer TOKEN\r\nno colon",
        "host: a\r\nauthorization: Bearer TOKEN\r\n: empty",
        "host: a\r\nauthorization: Bearer TOKEN\r\nx\0: y",
        "host: a\r\nauthorization: Bearer TOKEN\r\nx: \0",
        "host: a\r\nauthorization: Bearer TOKEN\r\nx: y\rz: 1",
    ] {
        assert_eq!(rejected(lines).await, "400", "{lines:?}");
    }
}

#[tokio::test]
async fn rfc6750_2_1_a_scheme_in_any_case_is_accepted_and_forwarded_unchanged() {
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let stage = Stage::with(OK).await;
        let token = stage.token("proxy");
        let request =
            format!("GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: {scheme} {token}\r\n\r\n");
        assert_eq!(Raw::send(stage.at, request).await.reply().await.status, 200);
        let seen = stage.end().await;
        assert_eq!(
            seen.one().all("authorization"),
            [format!("{scheme} {token}")]
        );
    }
}

#[tokio::test]
async fn rfc6750_2_1_a_malformed_authorization_is_a_400() {
    for value in [
        "bearer\tTOKEN",
        "Bearer\t TOKEN",
        "Bearer \tTOKEN",
        "Bearer TOKEN TOKEN",
        "Bearer TOKEN,Bearer TOKEN",
        "Bearer \"TOKEN\"",
        "Bearer",
        "Bearer =",
        "Bearer\u{a0}TOKEN",
    ] {
        let lines = format!("host: a\r\nauthorization: {value}");
        assert_eq!(rejected(&lines).await, "400 invalid_request", "{value:?}");
    }
    for value in ["Basic TOKEN", "TOKEN", "BearerTOKEN", ""] {
        let lines = format!("host: a\r\nauthorization: {value}");
        assert_eq!(rejected(&lines).await, "401", "{value:?}");
    }
}

/// hyper alone would accept 400 kB.
#[tokio::test]
async fn a_head_of_100_kb_is_a_431_at_once() {
    for lines in [
        format!("x: {}", "y".repeat(100_000)),
        (0..90)
            .map(|n| format!("x-{n}: {}\r\n", "y".repeat(1_100)))
            .collect::<String>(),
    ] {
        let stage = Stage::with(OK).await;
        let token = stage.token("proxy");
        let request = format!(
            "GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n{lines}"
        );
        // The end of the head is never sent.
        let reply = Raw::send(stage.at, request).await.reply().await;
        assert_eq!(reply.status, 431);
        stage.end().await.none();
    }
}

#[tokio::test]
async fn more_than_a_hundred_headers_are_a_431() {
    let lines: String = (0..120).map(|n| format!("x-{n}: y\r\n")).collect();
    let lines = format!("host: a\r\nauthorization: Bearer TOKEN\r\n{lines}x: y");
    assert_eq!(rejected(&lines).await, "431");
}

/// Only the path selects the upstream: a caller can't choose a target host.
#[tokio::test]
async fn an_absolute_uri_with_another_host_goes_to_the_upstream_of_its_path() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let evil = elsewhere.local_addr().expect("an address");
    let stage = Stage::with(OK).await;
    for authority in [evil, stage.stock.addr] {
        let (_, reply) = stage
            .send(&format!(
                "GET http://{authority}/maps/1?a=b HTTP/1.1\r\nhost: {authority}\r\n\
                 authorization: Bearer TOKEN\r\n\r\n"
            ))
            .await;
        assert_eq!(reply.status, 200);
    }
    let maps = stage.maps.addr.to_string();
    let seen = stage.end().await;
    assert!(seen.orders.is_empty() && seen.stock.is_empty());
    assert_eq!(seen.maps.len(), 2);
    for seen in seen.maps {
        assert_eq!(seen.request_line(), "GET /maps/1?a=b HTTP/1.1");
        assert_eq!(seen.all("host"), [&maps]);
        assert_eq!(seen.all("authorization"), [""; 0]);
    }
    let nobody = tokio::time::timeout(std::time::Duration::ZERO, elsewhere.accept()).await;
    assert!(nobody.is_err(), "{evil} was called");
}

#[tokio::test]
async fn a_host_that_differs_changes_neither_the_upstream_nor_what_it_gets() {
    let stage = Stage::with(OK).await;
    for host in ["evil.example".to_owned(), stage.stock.addr.to_string()] {
        let (_, reply) = stage
            .send(&format!(
                "GET /maps/1 HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer TOKEN\r\n\r\n"
            ))
            .await;
        assert_eq!(reply.status, 200);
    }
    let maps = stage.maps.addr.to_string();
    let seen = stage.end().await;
    assert_eq!(seen.maps.len(), 2);
    for seen in seen.maps {
        assert_eq!(seen.all("host"), [&maps]);
        assert_eq!(seen.all("authorization"), [""; 0]);
    }
}

#[tokio::test]
async fn rfc9112_3_2_a_missing_duplicate_or_different_host_is_a_400() {
    for (target, hosts) in [
        ("/orders/1", ""),
        ("/orders/1", "host: a\r\nhost: a\r\n"),
        ("http://a/orders/1", "host: b\r\n"),
        ("http://a@b/orders/1", "host: a\r\n"),
        ("http://a/orders/1", ""),
    ] {
        let stage = Stage::with(OK).await;
        let (_raw, reply) = stage
            .send(&format!(
                "GET {target} HTTP/1.1\r\n{hosts}authorization: Bearer TOKEN\r\n\r\n"
            ))
            .await;
        assert_eq!(reply.status, 400, "{target} {hosts}");
        stage.end().await.none();
    }
}

/// A route that costs a use can't be reached for free by another spelling of its path.
#[tokio::test]
async fn an_ambiguous_path_never_reaches_an_upstream() {
    for (path, status) in [
        ("/orders/../tickets/1", 400),
        ("/orders/%2e%2e/tickets/1", 400),
        ("/orders/..%2ftickets/1", 400),
        ("/orders/..;/tickets/1", 400),
        ("/orders/%252e%252e/tickets/1", 400),
        ("//tickets/1", 400),
        ("/./tickets/1", 400),
        ("/Tickets/1", 404),
        ("/%74ickets/1", 400),
        ("/tickets;x/1", 400),
        ("/tickets%3bx/1", 400),
        ("/;x/tickets/1", 400),
        ("/ticketsx/1", 404),
        ("/nothing/1", 404),
        ("/", 404),
        ("*", 400),
    ] {
        let stage = Stage::with(OK).await;
        let (_raw, reply) = stage
            .send(&format!(
                "GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\r\n"
            ))
            .await;
        assert_eq!(reply.status, status, "{path}");
        stage.end().await.none();
    }
}

#[tokio::test]
async fn trap_40_every_path_that_is_routed_to_tickets_costs_the_token() {
    for wire in Wire::ALL {
        for path in ["/tickets", "/tickets?x", "/tickets/", "/tickets/1"] {
            let stage = Stage::with(OK).await;
            let token = stage.token("proxy");
            let mut client = Client::connect(stage.at, wire).await;
            let first = client.send(get(path, &token)).await.expect("an answer");
            assert_eq!(first.verdict(), "200", "{path}");
            let again = client.send(get("/orders/1", &token)).await;
            let again = again.expect("an answer").verdict();
            assert_eq!(again, "401 invalid_token", "{path}");
            drop(client);
            stage.end().await.one();
        }
    }
}

#[tokio::test]
async fn connect_and_trace_are_a_501() {
    for target in [
        "CONNECT orders:80",
        "CONNECT 127.0.0.1:22",
        "TRACE /stock/1",
    ] {
        let stage = Stage::with(OK).await;
        let (mut raw, reply) = stage
            .send(&format!(
                "{target} HTTP/1.1\r\nhost: orders:80\r\nauthorization: Bearer TOKEN\r\n\r\n"
            ))
            .await;
        assert_eq!(reply.status, 501, "{target}");
        raw.more("GET /orders/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await;
        let rest = raw.rest().await;
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 401"),
            "{rest}"
        );
        stage.end().await.none();
    }
}

/// RFC 9110 §10.1.1: a rejected client need not send its body, and the upstream never sees the
/// expectation.
#[tokio::test]
async fn rfc9110_10_1_1_the_proxy_answers_expectations_after_checking_the_token() {
    let stage = Stage::with(OK).await;
    let head =
        "POST /orders/1 HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n";
    let mut raw = Raw::send(stage.at, format!("{head}\r\n")).await;
    assert_eq!(raw.head().await.0, 401);
    drop(raw);

    let token = stage.token("proxy");
    let request = format!("{head}authorization: Bearer {token}\r\n\r\n");
    let mut raw = Raw::send(stage.at, request).await;
    assert_eq!(raw.head().await.0, 100);
    raw.more("hello").await;
    assert_eq!(raw.reply().await.status, 200);
    drop(raw);
    let seen = stage.end().await;
    assert_eq!(seen.one().all("expect"), [""; 0]);
    assert_eq!(seen.one().body, "hello");
}

#[tokio::test]
async fn rfc9110_2_5_http_1_0_is_forwarded_as_http_1_1_and_answered_as_http_1_0() {
    let stage = Stage::with(OK).await;
    let token = stage.token("proxy");
    let request = format!("GET /orders/1 HTTP/1.0\r\nauthorization: Bearer {token}\r\n\r\n");
    let answer = Raw::send(stage.at, request).await.rest().await;
    assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    let seen = stage.end().await;
    assert_eq!(seen.one().request_line(), "GET /orders/1 HTTP/1.1");
    assert_eq!(seen.one().all("via"), ["1.0 hyper-proxy"]);
}

/// RFC 9112 §2.2: lines that end in a bare LF may be accepted, but are forwarded with CRLF.
#[tokio::test]
async fn rfc9112_2_2_bare_lf_between_lines_is_not_forwarded() {
    let stage = Stage::with(OK).await;
    let (_, reply) = stage
        .send("GET /orders/1 HTTP/1.1\nhost: a\nauthorization: Bearer TOKEN\nx: y\n\n")
        .await;
    assert_eq!(reply.status, 200);
    let seen = stage.end().await;
    let head = &seen.one().head;
    assert_eq!(head.matches('\n').count(), head.matches("\r\n").count());
    assert_eq!(seen.one().all("x"), ["y"]);
}

/// RFC 9700 §4.13, RFC 9110 §7.6.1: a caller can set neither proxy headers nor connection options.
#[tokio::test]
async fn rfc9700_4_13_proxy_headers_from_a_caller_are_not_forwarded() {
    let stage = Stage::with(OK).await;
    let (_, reply) = stage
        .send(
            "GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\
             forwarded: for=1.2.3.4\r\nx-forwarded-for: 1.2.3.4\r\nx-forwarded-host: b\r\n\
             x-forwarded-proto: https\r\nx-real-ip: 1.2.3.4\r\nproxy-authorization: Basic YTpi\r\n\
             proxy-connection: keep-alive\r\nkeep-alive: 5\r\nte: gzip\r\nconnection: x-mine, te\r\n\
             x-mine: 1\r\nhttp2-settings: a\r\nvia: 1.1 before\r\nx-other: 2\r\n\r\n",
        )
        .await;
    assert_eq!(reply.status, 200);
    let orders = stage.orders.addr;
    let seen = stage.end().await;
    let mut lines: Vec<_> = seen.one().head.trim_end().lines().skip(1).collect();
    lines.retain(|line| !line.starts_with("authorization: "));
    lines.sort_unstable();
    let host = format!("host: {orders}");
    let expected = [
        &*host,
        "via: 1.1 before",
        "via: 1.1 hyper-proxy",
        "x-other: 2",
    ];
    assert_eq!(lines, expected);
}

/// TRAPS 41: the proxy's own credentials go only to the upstream of the path, under that upstream's
/// name.
#[tokio::test]
async fn trap_41_the_proxys_credentials_come_without_headers_of_the_caller() {
    let stage = Stage::with(OK).await;
    let (_, reply) = stage
        .send(
            "GET /stock/1 HTTP/1.1\r\nhost: evil-tenant.internal\r\nauthorization: Bearer TOKEN\r\n\
             forwarded: host=evil\r\nx-forwarded-host: evil\r\nx-forwarded-server: evil\r\n\
             x-original-host: evil\r\nx-host: evil\r\nx-original-url: /admin\r\n\
             x-rewrite-url: /admin\r\n\r\n",
        )
        .await;
    assert_eq!(reply.status, 200);
    let stock = stage.stock.addr;
    let seen = stage.end().await;
    assert_eq!(seen.stock.len(), 1);
    let mut lines: Vec<_> = seen.stock[0].head.trim_end().lines().skip(1).collect();
    lines.sort_unstable();
    let basic = STANDARD.encode("proxy:proxy-secret");
    let (authorization, host) = (
        format!("authorization: Basic {basic}"),
        format!("host: {stock}"),
    );
    assert_eq!(lines, [&*authorization, &*host, "via: 1.1 hyper-proxy"]);
}

/// TRAPS 46: in any case, and on any of several header lines.
#[tokio::test]
async fn trap_46_headers_named_by_connection_are_rejected_or_removed_on_the_wire() {
    for connection in [
        "connection: cookie",
        "connection: close, Host",
        "connection: x\r\nconnection:\tCONTENT-length",
        "connection: Content-Type,te",
    ] {
        let lines = format!("host: a\r\nauthorization: Bearer TOKEN\r\n{connection}");
        assert_eq!(
            rejected(&lines).await,
            "400 invalid_request",
            "{connection}"
        );
    }
    let stage = Stage::with(OK).await;
    let (_, reply) = stage
        .send(
            "GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\
             connection: via, x-original-authorization, x-mine, proxy-authorization\r\n\
             x-mine: 1\r\ncookie: a=1\r\n\r\n",
        )
        .await;
    assert_eq!(reply.status, 200);
    let seen = stage.end().await;
    assert_eq!(seen.one().all("via"), ["1.1 hyper-proxy"]);
    assert_eq!(seen.one().all("cookie"), ["a=1"]);
    assert_eq!(seen.one().all("x-mine"), [""; 0]);
    assert_eq!(seen.one().all("connection"), [""; 0]);
}
