//! The surroundings of the demo: backends that return the headers they receive, echo bodies and
//! speak WebSocket, and the commands to try.

use std::{convert::Infallible, net::SocketAddr};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::ws::{WebSocket, WebSocketUpgrade},
    http::{HeaderMap, Uri},
    response::Response,
    routing::get,
};
use futures_util::stream;
use tokio::net::TcpListener;

/// Starts a backend on a free loopback port.
pub(crate) async fn backend() -> std::io::Result<SocketAddr> {
    let router = Router::new()
        .route("/{mount}/download", get(download))
        .route("/{mount}/websocket", get(websocket))
        .fallback(get(headers).post(echo));
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let at = socket.local_addr()?;
    tokio::spawn(async move { axum::serve(socket, router).await });
    Ok(at)
}

/// Returns the request line's target and the headers that it received, one a line.
async fn headers(uri: Uri, headers: HeaderMap) -> String {
    let lines = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    format!("GET {uri}\n{}", lines.collect::<String>())
}

/// Echoes the body while it arrives.
async fn echo(body: Body) -> Body {
    body
}

/// Streams 50 MB in chunks, without a length.
async fn download() -> Body {
    let pieces = (0..800).map(|_| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 62_500])));
    Body::from_stream(stream::iter(pieces))
}

async fn websocket(upgrade: WebSocketUpgrade, headers: HeaderMap) -> Response {
    let authorization = headers.get("authorization");
    let authorization = authorization.map_or("none".into(), |value| {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    });
    upgrade.on_upgrade(async move |socket| echo_messages(socket, authorization).await)
}

/// Sends the `Authorization` of the handshake, then echoes all messages.
async fn echo_messages(mut socket: WebSocket, authorization: String) {
    if socket.send(authorization.into()).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Prints the commands to try.
pub(crate) fn print_lines(issuer: &str, at: SocketAddr) {
    println!(
        r#"
# what each upstream gets: the caller's Authorization, the proxy's own, none
TOKEN=$(curl -s -X POST "{issuer}/token?scope=proxy")
curl -s -H "Authorization: Bearer $TOKEN" http://{at}/orders/1
curl -s -H "Authorization: Bearer $TOKEN" http://{at}/stock/1
curl -s -H "Authorization: Bearer $TOKEN" --http2-prior-knowledge http://{at}/maps/1

# a ticket costs the token: 200, then 401; the authorization server has heard of it
curl -s -o /dev/null -w '%{{http_code}}\n' -H "Authorization: Bearer $TOKEN" http://{at}/tickets/1
curl -s -o /dev/null -w '%{{http_code}}\n' -H "Authorization: Bearer $TOKEN" http://{at}/orders/1
curl -s -w '\n' -u orders:secret -d "token=$TOKEN" {issuer}/introspect

# a token with the scope OTT is good for one call, anywhere: one 200 of 50
TOKEN=$(curl -s -X POST "{issuer}/token?scope=proxy%20OTT")
for i in $(seq 50); do curl -s -o /dev/null -w '%{{http_code}}\n' -H "Authorization: Bearer $TOKEN" http://{at}/maps/1 & done | sort | uniq -c"#
    );
}
