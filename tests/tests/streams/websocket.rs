//! WebSockets on axum, over HTTP/1.1 and HTTP/2.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{
        Error, Message, client::IntoClientRequest, handshake::client::Request,
        protocol::frame::coding::CloseCode,
    },
};
use tower_revoke::{Revocation, RevocationKey, TokenLifetimeLayer};

use crate::kit::{App, ISSUER};

fn handshake(app: &App, path: &str, token: &str) -> Request {
    let url = format!("ws://{}{path}", app.at);
    let mut request = url.into_client_request().expect("a request");
    let value = format!("Bearer {token}").parse().expect("a value");
    request.headers_mut().insert("authorization", value);
    request
}

#[tokio::test]
async fn rfc6455_7_4_1_a_websocket_closes_with_1008_and_the_reason() {
    let app = App::start(TokenLifetimeLayer::new()).await;
    let handshake = handshake(&app, "/chat", &app.token("1", "ann"));
    let (mut socket, _) = connect_async(handshake).await.expect("a WebSocket");
    socket.send(Message::text("hello")).await.expect("open");
    let back = socket.next().await.expect("a message");
    assert_eq!(back.expect("no error"), Message::text("hello"));
    let rule = Revocation::all_of(RevocationKey::subject(ISSUER, "ann")).expect("a rule");
    app.list.revoke(rule).await.expect("revoked");
    let close = socket.next().await.expect("a close").expect("no error");
    let Message::Close(Some(close)) = close else {
        panic!("{close:?}");
    };
    assert_eq!(close.code, CloseCode::Policy);
    assert_eq!(close.reason.as_str(), "the token was revoked");
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
}
