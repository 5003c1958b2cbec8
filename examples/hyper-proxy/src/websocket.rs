//! WebSockets that callers open over HTTP/2 (RFC 8441). With the upstream they are opened over HTTP/1.1.

use http::{
    HeaderValue, Method, Version,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
};
use hyper::{Request, Response, StatusCode, ext::Protocol};
use tungstenite::handshake::{client::generate_key, derive_accept_key};

/// A handshake that the proxy makes for its caller.
pub(crate) struct Handshake {
    /// What the upstream must answer to the key.
    accept: String,
}

impl Handshake {
    /// Turns an extended CONNECT for a WebSocket into a handshake. Other requests are left as they are.
    pub(crate) fn make<B>(request: &mut Request<B>) -> Option<Self> {
        let protocol = request.extensions().get::<Protocol>()?;
        if *request.method() != Method::CONNECT || protocol.as_str() != "websocket" {
            return None;
        }
        let key = generate_key();
        let accept = derive_accept_key(key.as_bytes());
        *request.method_mut() = Method::GET;
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let key = HeaderValue::try_from(key).expect("base64 is a header value");
        headers.insert(SEC_WEBSOCKET_KEY, key);
        Some(Self { accept })
    }

    /// Turns the 101 of the upstream into the answer to the caller. Returns `false` if it doesn't answer
    /// the handshake.
    pub(crate) fn answer<B>(&self, response: &mut Response<B>) -> bool {
        let headers = response.headers_mut();
        let accept = headers.remove(SEC_WEBSOCKET_ACCEPT);
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
        *response.status_mut() = StatusCode::OK;
        accept.is_some_and(|accept| accept == self.accept)
    }
}
