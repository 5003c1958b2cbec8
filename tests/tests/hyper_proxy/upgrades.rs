//! Tests that WebSockets pass after a check of the handshake, and that no other upgrade does.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{
    Error, Message, client::IntoClientRequest, handshake::client::Request,
};
use tower_revoke::{Revocation, RevocationKey};
use tower_revoke_tests::{
    Client, Wire, get,
    websocket::{connect, opened, tunnel},
};

use crate::{
    kit::{DEMO, Example, Stage, told},
    raw::Raw,
    upstream::{Act, OK},
};

fn handshake(demo: &Example, path: &str, token: Option<&str>) -> Request {
    let url = format!("ws://{}{path}", demo.at);
    let mut request = url.into_client_request().expect("a request");
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().expect("a value");
        request.headers_mut().insert("authorization", value);
    }
    request
}

#[tokio::test]
async fn a_websocket_works_both_ways_and_its_handshake_spends_the_token() {
    let demo = Example::start(DEMO).await;
    for (path, scope, upstreams) in [
        ("/orders/websocket", "proxy", "Bearer TOKEN"),
        ("/orders/websocket", "proxy+OTT", "Bearer TOKEN"),
        ("/tickets/websocket", "proxy", "Bearer TOKEN"),
        (
            "/stock/websocket",
            "proxy+OTT",
            "Basic cHJveHk6cHJveHktc2VjcmV0",
        ),
        ("/maps/websocket", "proxy+OTT", "none"),
    ] {
        let token = demo.token(&format!("scope={scope}")).await;
        let request = handshake(&demo, path, Some(&token));
        let (mut socket, response) = tokio_tungstenite::connect_async(request)
            .await
            .expect("a WebSocket");
        assert_eq!(response.status(), 101);
        let said = socket.next().await.expect("a message").expect("no error");
        assert_eq!(said.to_string(), upstreams.replace("TOKEN", &token));

        // The WebSocket is still open, but its token is spent.
        let costs = scope.ends_with("OTT") || path.starts_with("/tickets");
        let mut client = Client::connect(demo.at, Wire::Http1).await;
        let again = client.send(get("/maps/1", &token)).await;
        let expected = if costs { "401 invalid_token" } else { "200" };
        assert_eq!(
            again.expect("an answer").verdict(),
            expected,
            "{path} {scope}"
        );

        for message in [
            Message::text("hello"),
            Message::binary(vec![7; 300_000]),
            Message::text("and again"),
        ] {
            socket.send(message.clone()).await.expect("it is open");
            let back = socket.next().await.expect("a message");
            assert_eq!(back.expect("no error"), message);
        }
        socket.close(None).await.expect("it is open");
        while let Some(Ok(_)) = socket.next().await {}
        if costs {
            told(&demo.issuer, &token).await;
        }
    }
}

#[tokio::test]
async fn a_handshake_is_rejected_as_any_request_is() {
    let demo = Example::start(DEMO).await;
    let expired = demo.token("scope=proxy&expired").await;
    let narrow = demo.token("scope=other").await;
    let spent = demo.token("scope=proxy+OTT").await;
    let mut client = Client::connect(demo.at, Wire::Http1).await;
    let first = client.send(get("/maps/1", &spent)).await;
    assert_eq!(first.expect("an answer").verdict(), "200");
    for (token, expected) in [
        (None, 401),
        (Some("no.such.token"), 401),
        (Some(&*expired), 401),
        (Some(&*spent), 401),
        (Some(&*narrow), 403),
    ] {
        let request = handshake(&demo, "/orders/websocket", token);
        let rejected = tokio_tungstenite::connect_async(request).await;
        let Err(Error::Http(response)) = rejected else {
            panic!("{rejected:?}");
        };
        assert_eq!(response.status(), expected);
    }
}

const WEBSOCKET: &str = "GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\
                         connection: Upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// `ACCEPT` stands for the answer to the key.
const ACCEPTING: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                         upgrade: websocket\r\nsec-websocket-accept: ACCEPT\r\n\r\n";

const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// The bytes of both sides, however early they are sent.
#[tokio::test]
async fn rfc9110_7_8_bytes_right_after_the_handshake_arrive() {
    let stage = Stage::with(Act::Echo(SWITCHING)).await;
    let token = stage.token("proxy");
    let request = format!("{WEBSOCKET}early ").replace("TOKEN", &token);
    let mut raw = Raw::send(stage.at, request).await;
    let (status, head) = raw.head().await;
    assert_eq!(status, 101, "{head}");
    assert_eq!(raw.take(6).await, "early ");
    raw.more("late").await;
    assert_eq!(raw.take(4).await, "late");
    drop(raw);
    let seen = stage.end().await;
    assert_eq!(seen.one().all("connection"), ["upgrade"]);
    assert_eq!(seen.one().all("upgrade"), ["websocket"]);
}

#[tokio::test]
async fn a_tunnel_is_closed_when_its_token_ends() {
    let stage = Stage::with(Act::Echo(SWITCHING)).await;
    let request = WEBSOCKET.replace("TOKEN", &stage.token("proxy"));
    let mut raw = Raw::send(stage.at, request).await;
    assert_eq!(raw.head().await.0, 101);
    raw.more("hello").await;
    assert_eq!(raw.take(5).await, "hello");
    let issuer = RevocationKey::issuer(stage.issuer.url());
    let rule = Revocation::all_of(issuer).expect("a rule");
    stage.list.revoke(rule).await.expect("revoked");
    assert_eq!(raw.rest().await, "");
    stage.end().await.one();
}

/// After a handshake that the upstream declines, the connection stays HTTP: what follows is a
/// request, and is checked.
#[tokio::test]
async fn a_handshake_that_is_declined_leaves_no_tunnel() {
    for declined in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 426 Upgrade Required\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\nno",
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno",
    ] {
        let stage = Stage::with(Act::Answer(declined)).await;
        let hidden = "GET /orders/hidden HTTP/1.1\r\nhost: a\r\n\r\n";
        let (mut raw, reply) = stage.send(&format!("{WEBSOCKET}{hidden}")).await;
        assert_eq!(reply.body.len(), 2);
        assert_eq!(raw.reply().await.verdict(), "401");
        drop(raw);
        assert_eq!(
            stage.end().await.one().request_line(),
            "GET /orders/1 HTTP/1.1"
        );
    }
}

/// An `h2c` upgrade would let a caller send requests to the upstream unchecked.
#[tokio::test]
async fn no_other_upgrade_is_forwarded() {
    for upgrade in [
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__",
        "connection: upgrade\r\nupgrade: websocket, h2c",
        "connection: upgrade\r\nupgrade: h2c\r\nupgrade: websocket",
        "connection: upgrade\r\nupgrade: tls/1.0",
        "upgrade: websocket",
        "connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 5",
    ] {
        let stage = Stage::with(OK).await;
        let (_raw, reply) = stage
            .send(&format!(
                "GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n{upgrade}\r\n\r\nhello"
            ))
            .await;
        assert_eq!(reply.status, 200, "{upgrade}");
        let seen = stage.end().await;
        let seen = &seen.orders[0];
        for name in ["connection", "upgrade", "http2-settings"] {
            assert_eq!(seen.all(name), [""; 0], "{upgrade}");
        }
    }
}

#[tokio::test]
async fn an_unrequested_101_is_a_502_and_no_tunnel() {
    let plain = "GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\r\n";
    let h2c = "GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer TOKEN\r\n\
               connection: upgrade\r\nupgrade: h2c\r\n\r\n";
    let to_h2c = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    for (request, answer) in [
        (plain, SWITCHING),
        (h2c, to_h2c),
        (WEBSOCKET, to_h2c),
        (WEBSOCKET, "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ] {
        let stage = Stage::with(Act::Echo(answer)).await;
        let hidden = "GET /orders/hidden HTTP/1.1\r\nhost: a\r\n\r\n";
        let (mut raw, reply) = stage.send(&format!("{request}{hidden}")).await;
        assert_eq!(reply.status, 502, "{answer:?}");
        assert_eq!(raw.reply().await.verdict(), "401");
        drop(raw);
        assert_eq!(
            stage.end().await.one().request_line(),
            "GET /orders/1 HTTP/1.1"
        );
    }
}

#[tokio::test]
async fn rfc8441_5_a_websocket_over_http_2_works_until_its_token_ends() {
    let demo = Example::start(DEMO).await;
    let token = demo.token("scope=proxy").await;
    let response = connect(demo.at, "websocket", "/orders/websocket", &token).await;
    for name in ["connection", "upgrade", "sec-websocket-accept"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    let mut socket = opened(response).await;
    let said = socket.next().await.expect("a message").expect("no error");
    assert_eq!(said.to_string(), format!("Bearer {token}"));
    for message in [Message::text("hello"), Message::binary(vec![7; 300_000])] {
        socket.send(message.clone()).await.expect("it is open");
        let back = socket.next().await.expect("a message");
        assert_eq!(back.expect("no error"), message);
    }
    socket.close(None).await.expect("it is open");
    while let Some(Ok(_)) = socket.next().await {}

    let once = demo.token("scope=proxy+OTT").await;
    let first = connect(demo.at, "websocket", "/orders/websocket", &once).await;
    assert_eq!(first.status(), 200);
    let second = connect(demo.at, "websocket", "/orders/websocket", &once).await;
    assert_eq!(second.status(), 401);
}

#[tokio::test]
async fn rfc8441_5_a_tunnel_over_http_2_is_closed_when_its_token_ends() {
    let stage = Stage::with(Act::Echo(ACCEPTING)).await;
    let open = async |subject: &str| {
        let token = stage.issuer.token().subject(subject);
        let token = token.audience("orders").scope("proxy").sign();
        tunnel(connect(stage.at, "websocket", "/orders/1", &token).await).await
    };
    let (mut anns, mut bobs) = (open("ann").await, open("bob").await);
    echoes(&mut anns).await;
    let ann = RevocationKey::subject(stage.issuer.url(), "ann");
    let rule = Revocation::all_of(ann).expect("a rule");
    stage.list.revoke(rule).await.expect("revoked");
    assert_eq!(anns.read(&mut [0; 5]).await.unwrap_or_default(), 0);
    echoes(&mut bobs).await;
    drop((anns, bobs));
    stage.end().await;
}

async fn echoes(tunnel: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    tunnel.write_all(b"hello").await.expect("it is open");
    let mut back = [0; 5];
    tunnel.read_exact(&mut back).await.expect("it is open");
    assert_eq!(&back, b"hello");
}

#[tokio::test]
async fn rfc8441_4_another_protocol_and_a_wrong_answer_open_no_tunnel() {
    let stage = Stage::with(Act::Echo(SWITCHING)).await;
    let token = stage.token("proxy");
    let other = connect(stage.at, "connect-udp", "/orders/1", &token).await;
    assert_eq!(other.status(), 501);
    // Its answer lacks what the key demands (RFC 6455 §4.1).
    let wrong = connect(stage.at, "websocket", "/orders/1", &token).await;
    assert_eq!(wrong.status(), 502);
    let encoded = connect(stage.at, "websocket", "/%6frders/1", &token).await;
    assert_eq!(encoded.status(), 400);
    let seen = stage.end().await;
    let seen = seen.one();
    assert_eq!(seen.request_line(), "GET /orders/1 HTTP/1.1");
    assert_eq!(seen.all("connection"), ["upgrade"]);
    assert_eq!(seen.all("sec-websocket-key").len(), 1);
}

/// HTTP/2 has no Upgrade header.
#[tokio::test]
async fn rfc9113_8_6_http_2_has_no_upgrade() {
    let demo = Example::start(DEMO).await;
    let token = format!("Authorization: Bearer {}", demo.token("scope=proxy").await);
    let upgrade = ["-H", "Connection: upgrade", "-H", "Upgrade: websocket"];
    let more = [&["--http2-prior-knowledge", "-H", &token], &upgrade[..]].concat();
    let reply = demo.call("/maps/1", &more).await;
    assert!(!reply.body.contains("upgrade"), "{}", reply.body);
}
