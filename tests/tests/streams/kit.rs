//! A server with a stream of each kind, and curl as the client.

use std::{convert::Infallible, net::SocketAddr, process::Stdio, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code::POLICY},
    response::{
        Html, IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::{any, get, post},
};
use futures_util::{Stream, StreamExt};
use tokio::{
    io::{AsyncReadExt, BufReader},
    net::TcpListener,
    process::{Child, ChildStdout, Command},
    time::{interval, timeout},
};
use tokio_stream::wrappers::IntervalStream;
use tower_revoke::{
    JwtVerifier, Monitor, RequireBearerLayer, RevocationList, TokenLifetime, TokenLifetimeLayer,
};
use tower_revoke_testing::{TestAlgorithm, TestIssuer, TestToken};

pub(crate) const ISSUER: &str = "https://id.example.com";

/// An upper bound for events that take a moment, on a busy machine.
const IN_THE_END: Duration = Duration::from_secs(60);

/// An issuer, a list, and a server for its tokens.
pub(crate) struct App {
    issuer: TestIssuer,
    pub(crate) list: RevocationList,
    pub(crate) at: SocketAddr,
    pub(crate) monitor: Monitor,
}

impl App {
    pub(crate) async fn start(layer: TokenLifetimeLayer) -> Self {
        Self::over(RevocationList::in_memory(), layer).await
    }

    pub(crate) async fn over(list: RevocationList, layer: TokenLifetimeLayer) -> Self {
        let issuer = TestIssuer::with(ISSUER, TestAlgorithm::ES256);
        let tokens = JwtVerifier::issuer(ISSUER)
            .audience("api")
            .jwks(issuer.jwks().to_string())
            .rule_claim("tenant")
            .leeway(Duration::ZERO)
            .revocations(list.clone())
            .build()
            .expect("a verifier");
        let monitor = Monitor::new();
        let router = Router::new()
            .route("/events", get(events))
            .route("/chunks", get(chunks))
            .route("/length", get(length))
            .route("/chat", any(chat))
            .route("/forgotten", any(forgotten))
            .route("/upload", post(upload))
            .layer(layer.request_bodies())
            .layer(layer)
            // Browsers can set no header for an `EventSource` or a WebSocket.
            .layer(RequireBearerLayer::new(tokens).cookie("token"))
            .layer(monitor.layer("app"))
            .route("/", get(async || Html("<!doctype html>")));
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = socket.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(socket, router).await });
        Self {
            issuer,
            list,
            at,
            monitor,
        }
    }

    /// A token of `subject`, with every claim that a rule may name.
    pub(crate) fn claims(&self, jti: &str, subject: &str) -> TestToken<'_> {
        let token = self.issuer.token().audience("api").jwt_id(jti);
        let token = token.subject(subject);
        ["client_id", "sid", "tenant"]
            .into_iter()
            .fold(token, |token, name| {
                token.claim(name, format!("{name} of {subject}"))
            })
    }

    pub(crate) fn token(&self, jti: &str, subject: &str) -> String {
        self.claims(jti, subject).sign()
    }

    pub(crate) async fn listen(&self, path: &str, token: &str, more: &[&str]) -> Listener {
        Listener::of(self.at, path, token, more).await
    }
}

fn ticks() -> impl Stream<Item = ()> {
    IntervalStream::new(interval(Duration::from_millis(20))).map(|_| ())
}

async fn events() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(ticks().map(|()| Ok(Event::default().data("tick"))))
}

async fn chunks() -> Body {
    Body::from_stream(ticks().map(|()| Ok::<_, Infallible>("tick\n")))
}

async fn length() -> Response {
    let length = [("content-length", "1000000000")];
    (length, chunks().await).into_response()
}

async fn chat(upgrade: WebSocketUpgrade, mut lifetime: TokenLifetime) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        let end = tokio::select! {
            () = echo(&mut socket) => return,
            end = lifetime.ended() => end,
        };
        let reason = end.to_string().into();
        let close = CloseFrame {
            code: POLICY,
            reason,
        };
        // Until the client has closed too: to a browser, the end is not clean otherwise.
        let closed = async {
            let _ = socket.send(Message::Close(Some(close))).await;
            while let Some(Ok(_)) = socket.recv().await {}
        };
        let _ = timeout(Duration::from_secs(5), closed).await;
    })
}

async fn echo(socket: &mut WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

/// The mistake: nobody watches the token.
async fn forgotten(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket| echo(&mut socket).await)
}

/// Says how the upload ended.
async fn upload(body: Body) -> String {
    let mut frames = body.into_data_stream();
    let mut bytes = 0;
    while let Some(frame) = frames.next().await {
        match frame {
            Ok(frame) => bytes += frame.len(),
            Err(error) => return format!("cut off: {error}"),
        }
    }
    format!("{bytes} bytes")
}

/// A curl process that has received something.
pub(crate) struct Listener {
    curl: Child,
    out: BufReader<ChildStdout>,
    seen: Vec<u8>,
}

impl Listener {
    pub(crate) async fn of(at: SocketAddr, path: &str, token: &str, more: &[&str]) -> Self {
        let mut curl = Command::new("curl")
            .args(["--disable", "--silent", "--no-buffer", "--max-time", "120"])
            .arg("-H")
            .arg(format!("Authorization: Bearer {token}"))
            .arg(format!("http://{at}{path}"))
            .args(more)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("curl is installed");
        let out = BufReader::new(curl.stdout.take().expect("a pipe"));
        let mut listener = Self {
            curl,
            out,
            seen: Vec::new(),
        };
        listener.reads().await;
        listener
    }

    /// Reads something.
    async fn reads(&mut self) -> usize {
        let mut buffer = [0; 4_096];
        let read = timeout(IN_THE_END, self.out.read(&mut buffer)).await;
        let read = read.expect("it says something in time").expect("a pipe");
        self.seen.extend_from_slice(&buffer[..read]);
        read
    }

    /// Waits until two more ticks have come, which were sent after this call began.
    pub(crate) async fn goes_on(&mut self) {
        for _ in 0..3 {
            assert!(self.reads().await > 0, "the stream has ended");
        }
    }

    /// Waits until the response ends; returns curl's exit code and what it has received.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        while self.reads().await > 0 {}
        let status = self.curl.wait().await.expect("curl ends");
        let seen = String::from_utf8(self.seen).expect("text");
        (status.code(), seen)
    }
}
