//! Servers and clients over loopback sockets, directly on hyper.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body::Body;
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::Service;
use tower_revoke::core::BoxError;

/// A server on a free loopback port, stopped on drop.
#[derive(Debug)]
pub struct Server {
    /// The address that it listens on.
    pub addr: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Serves HTTP/1.0, HTTP/1.1 and HTTP/2 (by prior knowledge), and upgrades.
    pub async fn start<S, B>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), service).await
    }

    /// The same at a given address, such as that of a server that was dropped.
    pub async fn start_at<S, B>(addr: SocketAddr, service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let listener = TcpListener::bind(addr).await.expect("a free port");
        let addr = listener.local_addr().expect("a bound socket");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("a socket");
                let service = TowerToHyperService::new(service.clone());
                connections.spawn(async move {
                    let mut builder = auto::Builder::new(TokioExecutor::new());
                    builder.http2().max_concurrent_streams(10_000);
                    // A client that leaves, or a body that is cut off, ends the connection.
                    let _ = builder
                        .serve_connection_with_upgrades(TokioIo::new(stream), service)
                        .await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            addr,
            _tasks: tasks,
        }
    }

    /// Returns the verdict of a GET with this token, over a connection of its own.
    pub async fn verdict(&self, wire: Wire, path: &str, token: &str) -> String {
        let mut client = Client::connect(self.addr, wire).await;
        let answer = client.send(get(path, token)).await.expect("a head");
        answer.verdict()
    }
}

/// The protocol of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
}

impl Wire {
    /// Both protocols.
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];
}

/// A client connection.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    _task: JoinSet<()>,
}

type Sent = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Debug)]
enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Sent>),
    Http2(hyper::client::conn::http2::SendRequest<Sent>),
}

/// A response, as far as it was received.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The bytes received.
    pub bytes: Bytes,
    /// The trailers.
    pub trailers: Option<HeaderMap>,
    /// Whether the body is complete, as far as the client can tell.
    pub whole: bool,
}

impl Answer {
    /// Returns status and error code, such as `401 invalid_token`.
    pub fn verdict(&self) -> String {
        let challenge = self.headers.get("www-authenticate");
        let code = challenge.and_then(|value| {
            let (_, rest) = value.to_str().ok()?.split_once("error=\"")?;
            Some(rest.split_once('"')?.0.to_owned())
        });
        match code {
            Some(code) => format!("{} {code}", self.status.as_u16()),
            None => self.status.as_u16().to_string(),
        }
    }
}

impl Client {
    /// Opens a connection.
    pub async fn connect(addr: SocketAddr, wire: Wire) -> Self {
        Self::connect_with_window(addr, wire, 1 << 20).await
    }

    /// Opens a connection. On HTTP/2, the server may send `window` bytes of a body before the
    /// client has read any.
    pub async fn connect_with_window(addr: SocketAddr, wire: Wire, window: u32) -> Self {
        let stream = TcpStream::connect(addr).await.expect("a listening server");
        stream.set_nodelay(true).expect("a socket");
        let io = TokioIo::new(stream);
        let mut tasks = JoinSet::new();
        let sender = match wire {
            Wire::Http1 => {
                let (sender, connection) = hyper::client::conn::http1::handshake(io)
                    .await
                    .expect("a handshake");
                tasks.spawn(async move {
                    let _ = connection.with_upgrades().await;
                });
                Sender::Http1(sender)
            }
            Wire::Http2 => {
                let executor = TokioExecutor::new();
                let (sender, connection) = hyper::client::conn::http2::Builder::new(executor)
                    .initial_stream_window_size(window)
                    .handshake(io)
                    .await
                    .expect("a handshake");
                tasks.spawn(async move {
                    let _ = connection.await;
                });
                Sender::Http2(sender)
            }
        };
        Self {
            sender,
            _task: tasks,
        }
    }

    /// Sends a request and returns the head of the response; its body is not read yet.
    ///
    /// # Errors
    /// The error of hyper, if no head was received.
    pub async fn head<B>(&mut self, request: Request<B>) -> Result<Response<Incoming>, hyper::Error>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let request = request.map(BodyExt::boxed_unsync);
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// The error of hyper, if no head was received.
    pub async fn send<B>(&mut self, request: Request<B>) -> Result<Answer, hyper::Error>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let response = self.head(request).await?;
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        let mut trailers = None;
        let whole = loop {
            match body.frame().await {
                None => break true,
                Some(Err(_)) => break false,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => bytes.extend_from_slice(&data),
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
            }
        };
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            bytes: bytes.into(),
            trailers,
            whole,
        })
    }

    /// Returns a handle for another stream of the same HTTP/2 connection.
    ///
    /// # Panics
    /// On HTTP/1, which has a single stream.
    pub fn another(&self) -> Self {
        let Sender::Http2(sender) = &self.sender else {
            panic!("an HTTP/1 connection has one stream");
        };
        Self {
            sender: Sender::Http2(sender.clone()),
            _task: JoinSet::new(),
        }
    }
}

/// Returns a GET request with a bearer token.
pub fn get(path: &str, token: &str) -> Request<Empty<Bytes>> {
    Request::builder()
        .uri(format!("http://localhost{path}"))
        .header("host", "localhost")
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::new())
        .expect("a request")
}
