//! WebSockets over HTTP/2 (RFC 8441).

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{
    Request, Response, body::Incoming, client::conn::http2::handshake, ext::Protocol,
    upgrade::Upgraded,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

/// Sends an extended CONNECT, and returns the answer.
///
/// # Panics
/// If the server doesn't speak HTTP/2.
pub async fn connect(
    at: SocketAddr,
    protocol: &'static str,
    path: &str,
    token: &str,
) -> Response<Incoming> {
    let socket = TcpStream::connect(at).await.expect("a server");
    let (mut client, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket))
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    let request = |method: &str, path: &str| {
        let request = Request::builder().method(method);
        request.uri(format!("http://{at}{path}"))
    };
    // The server's settings, which allow extended CONNECT, have come with its first answer.
    let first = request("GET", "/").body(Empty::<Bytes>::new());
    let first = client.send_request(first.expect("a request")).await;
    first.expect("an answer");
    let request = request("CONNECT", path)
        .extension(Protocol::from_static(protocol))
        .header("sec-websocket-version", "13")
        .header("authorization", format!("Bearer {token}"))
        .body(Empty::new());
    let sent = client.send_request(request.expect("a request")).await;
    sent.expect("an answer")
}

/// Returns the tunnel that the answer opens.
///
/// # Panics
/// If it opens none.
pub async fn tunnel(response: Response<Incoming>) -> TokioIo<Upgraded> {
    assert_eq!(response.status(), 200);
    TokioIo::new(hyper::upgrade::on(response).await.expect("a tunnel"))
}

/// Returns the WebSocket in the [`tunnel`].
///
/// # Panics
/// As `tunnel` does.
pub async fn opened(response: Response<Incoming>) -> WebSocketStream<TokioIo<Upgraded>> {
    WebSocketStream::from_raw_socket(tunnel(response).await, Role::Client, None).await
}
