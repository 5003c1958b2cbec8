//! Tests HTTP/2 requests that would become different ones on HTTP/1: each is rejected before it
//! reaches an upstream.

use crate::{
    frames::{Fate, send},
    kit::Stage,
    upstream::{Act, OK},
};

type Fields<'a> = Vec<(&'a str, &'a str)>;

fn head<'a>(path: &'a str, token: &'a str) -> Fields<'a> {
    vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", path),
        ("authorization", token),
    ]
}

/// Sends a POST with these fields, which replace the default ones of the same name, and returns its
/// fate.
async fn fate(stage: &Stage, more: &[(&str, &str)], body: Option<&str>) -> Fate {
    let token = format!("Bearer {}", stage.token("proxy"));
    let mut fields = head("/orders/1", &token);
    for (name, value) in more {
        match fields
            .iter_mut()
            .find(|(known, _)| known == name && name.starts_with(':'))
        {
            Some(field) => field.1 = value,
            None => fields.push((name, value)),
        }
    }
    send(stage.at, &fields, body, None).await
}

/// The baseline: the tests below prove nothing if this request fails.
#[tokio::test]
async fn a_well_formed_request_reaches_the_upstream() {
    let stage = Stage::with(OK).await;
    assert_eq!(
        fate(&stage, &[("x", "y")], Some("hello")).await,
        Fate::Answer(200)
    );
    assert_eq!(
        fate(&stage, &[("content-length", "5")], Some("hello")).await,
        Fate::Answer(200)
    );
    let none = send(stage.at, &head("/orders/1", "")[..4], None, None).await;
    assert_eq!(none, Fate::Answer(401));
    let seen = stage.end().await.orders;
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].all("transfer-encoding"), ["chunked"]);
    assert_eq!(seen[0].body, "5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(seen[1].all("content-length"), ["5"]);
    assert_eq!(seen[1].body, "hello");
    assert!(seen.iter().all(|seen| seen.all("host").len() == 1));
}

#[tokio::test]
async fn rfc9113_8_2_2_connection_specific_fields_make_a_request_malformed() {
    for field in [
        ("connection", "authorization"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "5"),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
    ] {
        let stage = Stage::with(OK).await;
        let fate = fate(&stage, &[field], Some("0\r\n\r\nGET /orders/hidden")).await;
        assert_eq!(fate, Fate::Reset, "{field:?}");
        stage.end().await.none();
    }
}

#[tokio::test]
async fn rfc9113_8_2_1_bytes_that_would_end_a_line_make_a_request_malformed() {
    for field in [
        ("x", "y\r\nauthorization: Bearer other"),
        ("x", "y\nz: 1"),
        ("x", "y\rz: 1"),
        ("x", "y\0"),
        ("x\r\nz", "1"),
        ("x: y", "1"),
        ("x y", "1"),
        ("X", "1"),
        ("", "1"),
        (
            ":path",
            "/orders/1 HTTP/1.1\r\nhost: b\r\n\r\nGET /orders/hidden",
        ),
        (":path", "/orders/1\r\nx: y"),
        (":path", "/orders/1 x"),
        (":path", ""),
        (":path", "orders/1"),
        (":method", "GET /orders/hidden HTTP/1.1\r\nx:"),
        (":method", "GET /"),
        (":authority", "a\r\nx: y"),
        (":authority", "a/b"),
        (":scheme", "http://b/orders/hidden?"),
        (":unknown", "1"),
    ] {
        let stage = Stage::with(OK).await;
        let fate = fate(&stage, &[field], None).await;
        assert!(
            [Fate::Reset, Fate::Answer(400)].contains(&fate),
            "{field:?} {fate:?}"
        );
        stage.end().await.none();
    }
}

#[tokio::test]
async fn rfc9113_8_3_1_a_host_that_differs_from_the_authority_is_a_400() {
    for host in ["b", "a:81", "a, b", ""] {
        let stage = Stage::with(OK).await;
        assert_eq!(
            fate(&stage, &[("host", host)], None).await,
            Fate::Answer(400),
            "{host}"
        );
        stage.end().await.none();
    }
    let stage = Stage::with(OK).await;
    assert_eq!(
        fate(&stage, &[("host", "a")], None).await,
        Fate::Answer(200)
    );
    let orders = stage.orders.addr.to_string();
    assert_eq!(stage.end().await.one().all("host"), [orders]);
}

/// RFC 9113 §8.1.1: a Content-Length that doesn't match the body.
#[tokio::test]
async fn rfc9113_8_1_1_a_body_that_differs_from_its_length_never_completes() {
    for (length, body) in [
        ("0", "GET /orders/hidden HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("1", "hello"),
        ("9", "hello"),
        ("5, 5", "hello"),
        ("x", "hello"),
    ] {
        let stage = Stage::with(OK).await;
        let fate = fate(&stage, &[("content-length", length)], Some(body)).await;
        assert_ne!(fate, Fate::Answer(200), "{length}");
        for seen in stage.end().await.orders {
            assert!(!seen.is_whole || seen.body.is_empty(), "{length} {seen:#?}");
            assert!(!seen.body.contains("hidden"), "{seen:#?}");
            assert!(!seen.request_line().contains("hidden"), "{seen:#?}");
        }
    }
}

#[tokio::test]
async fn two_authorization_fields_are_a_400() {
    let stage = Stage::with(OK).await;
    let second = ("authorization", "Bearer other");
    assert_eq!(fate(&stage, &[second], None).await, Fate::Answer(400));
    stage.end().await.none();
}

#[tokio::test]
async fn rfc8441_5_connect_opens_no_tunnel_that_the_upstream_has_not_opened() {
    let stage = Stage::with(OK).await;
    let token = format!("Bearer {}", stage.token("proxy"));
    let plain = [
        (":method", "CONNECT"),
        (":authority", "a:80"),
        ("authorization", &token),
    ];
    assert_eq!(send(stage.at, &plain, None, None).await, Fate::Answer(501));
    let mut extended = head("/orders/1", &token);
    extended[0].1 = "CONNECT";
    extended.insert(1, (":protocol", "websocket"));
    extended[1].1 = "connect-udp";
    let fate = send(stage.at, &extended, None, None).await;
    assert!([Fate::Reset, Fate::Answer(501)].contains(&fate), "{fate:?}");
    stage.end().await.none();

    // A handshake that the upstream declines with a 2xx, which would say to the caller that it is open.
    for declined in [
        OK,
        Act::Answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let stage = Stage::with(declined).await;
        let token = format!("Bearer {}", stage.token("proxy"));
        let mut extended = head("/orders/1", &token);
        extended[0].1 = "CONNECT";
        extended.insert(1, (":protocol", "websocket"));
        let fate = send(stage.at, &extended, None, None).await;
        assert_eq!(fate, Fate::Answer(502));
        let seen = stage.end().await;
        assert_eq!(seen.one().request_line(), "GET /orders/1 HTTP/1.1");
    }
}

/// RFC 9110 §6.5.1: a trailer is never taken for a header.
#[tokio::test]
async fn rfc9110_6_5_1_trailers_hold_no_credentials() {
    let stage = Stage::with(OK).await;
    let token = format!("Bearer {}", stage.token("proxy"));
    let trailers = [("authorization", &*token), ("x-sum", "1")];
    let fields = &head("/orders/1", "")[..4];
    let fate = send(stage.at, fields, Some("hello"), Some(&trailers)).await;
    assert_eq!(fate, Fate::Answer(401));
    let mut fields = head("/orders/1", &token);
    fields.push(("trailer", "authorization, x-sum"));
    let other = [("authorization", "Bearer other"), ("x-sum", "1")];
    let fate = send(stage.at, &fields, Some("hello"), Some(&other)).await;
    assert_eq!(fate, Fate::Answer(200));
    assert_eq!(
        stage.end().await.one().body,
        "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"
    );
}

/// RFC 9113 §10.5.1.
#[tokio::test]
async fn rfc9113_10_5_1_a_head_of_100_kb_is_a_431() {
    let long = "y".repeat(4_000);
    let names: Vec<String> = (0..25).map(|n| format!("x-{n}")).collect();
    for (count, expected) in [(5, Fate::Answer(200)), (25, Fate::Answer(431))] {
        let stage = Stage::with(OK).await;
        let lines = names.iter().take(count);
        let fields: Fields<'_> = lines.map(|name| (&**name, &*long)).collect();
        assert_eq!(fate(&stage, &fields, None).await, expected);
        let expected = usize::from(expected == Fate::Answer(200));
        assert_eq!(stage.end().await.orders.len(), expected);
    }
}
