//! WebSockets on axum, over HTTP/1.1 and HTTP/2.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream, connect_async,
    tungstenite::{
        Error, Message, client::IntoClientRequest, handshake::client::Request,
        protocol::frame::coding::CloseCode,
    },
};
use tower_revoke::{Revocation, RevocationKey, TokenLifetimeLayer};
use tower_revoke_tests::websocket::{connect, opened};

use crate::kit::{App, ISSUER};

fn handshake(app: &App, path: &str, token: &str) -> Request {
    let url = format!("ws://{}{path}", app.at);
    let mut request = url.into_client_request().expect("a request");
    let value = format!("Bearer {token}").parse().expect("a value");
    request.headers_mut().insert("authorization", value);
    request
}

/// Opens a WebSocket over HTTP/1.1.
pub(crate) async fn open(app: &App, token: &str) -> WebSocketStream<impl Socket + use<>> {
    let opened = connect_async(handshake(app, "/chat", token)).await;
    let (mut socket, _) = opened.expect("a WebSocket");
    echoes(&mut socket).await;
    socket
}

pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket for S {}

pub(crate) async fn echoes(socket: &mut WebSocketStream<impl Socket>) {
    socket.send(Message::text("hello")).await.expect("open");
    let back = socket.next().await.expect("a message");
    assert_eq!(back.expect("no error"), Message::text("hello"));
}

async fn closes_with_the_reason(app: &App, mut socket: WebSocketStream<impl Socket>) {
    echoes(&mut socket).await;
    let rule = Revocation::all_of(RevocationKey::subject(ISSUER, "ann")).expect("a rule");
    app.list.revoke(rule).await.expect("revoked");
    closes(socket).await;
}

/// Waits until the server closes the WebSocket because the token was revoked.
pub(crate) async fn closes(mut socket: WebSocketStream<impl Socket>) {
    let close = socket.next().await.expect("a close").expect("no error");
    let Message::Close(Some(close)) = close else {
        panic!("{close:?}");
    };
    assert_eq!(close.code, CloseCode::Policy);
    assert_eq!(close.reason.as_str(), "the token was revoked");
}

#[tokio::test]
async fn rfc6455_7_4_1_a_websocket_closes_with_1008_and_the_reason() {
    let app = App::start(TokenLifetimeLayer::new()).await;
    let socket = open(&app, &app.token("1", "ann")).await;
    closes_with_the_reason(&app, socket).await;
}

#[tokio::test]
async fn rfc8441_5_a_websocket_over_http_2_closes_with_1008_and_the_reason() {
    let app = App::start(TokenLifetimeLayer::new()).await;
    let response = connect(app.at, "websocket", "/chat", &app.token("1", "ann")).await;
    closes_with_the_reason(&app, opened(response).await).await;
}

#[tokio::test]
async fn a_websocket_whose_handler_forgets_the_token_is_a_500() {
    let app = App::start(TokenLifetimeLayer::new()).await;
    let handshake = handshake(&app, "/forgotten", &app.token("1", "ann"));
    let rejected = connect_async(handshake).await;
    let Err(Error::Http(response)) = rejected else {
        panic!("{rejected:?}");
    };
    assert_eq!(response.status(), 500);
    let response = connect(app.at, "websocket", "/forgotten", &app.token("1", "ann")).await;
    assert_eq!(response.status(), 500);
}
