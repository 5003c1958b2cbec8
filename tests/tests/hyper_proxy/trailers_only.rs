//! Tests an HTTP/2 upstream that answers in the middle of an upload: a head with END_STREAM, then
//! RST_STREAM(NO_ERROR), as gRPC servers send it. Fails with h2 0.4.10 to 0.4.15, which lose
//! END_STREAM when the reset arrives before the head was read.

use std::{net::SocketAddr, time::Duration};

use example_issuer::Issuer;
use http::{Request, Uri};
use hyper::body::Incoming;
use hyper_proxy::{Proxy, Upstreams};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke::{MonitorLayer, Outcome, RequireBearerLayer, RevocationList, UseLimitLayer};
use tower_revoke_tests::{Server, World};

use crate::frames::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, fields, frame,
    next,
};

/// `UNAVAILABLE`.
const ANSWER: [(&str, &str); 3] = [
    (":status", "200"),
    ("content-type", "application/grpc"),
    ("grpc-status", "14"),
];

/// How the reset follows the head.
#[derive(Clone, Copy, Debug)]
enum Reset {
    /// In one write, so that both have arrived when either is read.
    InOneWrite,
    /// In a packet of its own.
    InTwoWrites,
}

/// Answers each request as soon as a part of its body has arrived.
async fn upstream(reset: Reset) -> (SocketAddr, JoinSet<()>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = socket.local_addr().expect("a bound socket");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = socket.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("an open socket");
            connections.spawn(answer_all(stream, reset));
        }
    });
    (at, tasks)
}

async fn answer_all(mut stream: TcpStream, reset: Reset) {
    let mut preface = [0; PREFACE.len()];
    if stream.read_exact(&mut preface).await.is_err() {
        return;
    }
    let settings = frame(SETTINGS, 0, 0, &[]);
    let _ = stream.write_all(&settings).await;
    while let Some(came) = next(&mut stream).await {
        if came.kind != DATA {
            continue;
        }
        assert_eq!(came.flags & END_STREAM, 0, "the upload has not ended");
        let both = END_HEADERS | END_STREAM;
        let head = frame(HEADERS, both, came.stream, &fields(&ANSWER));
        let no_error = frame(RST_STREAM, 0, came.stream, &[0; 4]);
        let writes = match reset {
            Reset::InOneWrite => vec![[head, no_error].concat()],
            Reset::InTwoWrites => vec![head, no_error],
        };
        for bytes in writes {
            let _ = stream.write_all(&bytes).await;
        }
    }
}

/// Starts an upload and returns the frames of the response, each as its kind and flags.
async fn upload(at: SocketAddr, path: &str, token: &str) -> Vec<(u8, u8)> {
    let token = format!("Bearer {token}");
    let head = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &token),
    ];
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &fields(&head)));
    bytes.extend(frame(DATA, 0, 1, b"a part"));
    let mut stream = TcpStream::connect(at).await.expect("a listening proxy");
    stream.write_all(&bytes).await.expect("a reading proxy");
    let mut frames = Vec::new();
    while let Some(came) = next(&mut stream).await {
        assert_ne!(came.kind, GOAWAY);
        if came.stream != 1 || ![DATA, HEADERS, RST_STREAM].contains(&came.kind) {
            continue;
        }
        frames.push((came.kind, came.flags));
        if came.flags & END_STREAM != 0 || came.kind == RST_STREAM {
            break;
        }
    }
    frames
}

/// TRAPS 58: to a gRPC client, a head without END_STREAM means that trailers follow.
#[tokio::test]
async fn trap_58_trailers_only_in_mid_upload_still_ends_with_its_head() {
    for reset in [Reset::InOneWrite, Reset::InTwoWrites] {
        the_head_still_ends_the_stream(reset).await;
    }
}

async fn the_head_still_ends_the_stream(reset: Reset) {
    let issuer = Issuer::start().await.expect("a free port");
    let list = RevocationList::in_memory();
    let (orders, _tasks) = upstream(reset).await;
    let upstreams = Upstreams {
        orders: orders.to_string(),
        stock: "127.0.0.1:1".to_owned(),
        maps: "127.0.0.1:2".to_owned(),
    };
    let proxy = Proxy::new(issuer.url(), list, upstreams).expect("a proxy");
    let proxy = proxy.http2_upstreams().expect("a proxy");
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = socket.local_addr().expect("a bound socket");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(proxy.serve(socket, Duration::from_secs(30), async {
        let _ = stopped.await;
    }));

    let token = |scope| issuer.token().audience("orders").scope(scope).sign();
    let head = [(HEADERS, END_HEADERS | END_STREAM)];
    for (path, token) in [
        // A route without a cost, a single use, and a route that revokes the token.
        ("/orders/1", token("proxy")),
        ("/orders/1", token("proxy OTT")),
        ("/tickets/1", token("proxy")),
    ] {
        assert_eq!(upload(at, path, &token).await, head, "{path} {reset:?}");
    }
    let _ = stop.send(());
    let drained = served.await.expect("the server ends cleanly");
    assert_eq!(drained.queued, 0);
}

/// TRAPS 58: monitor and spend go by the status in that head.
#[tokio::test]
async fn trap_58_trailers_only_in_mid_upload_is_counted_by_its_status() {
    let world = World::new();
    let (upstream, _tasks) = upstream(Reset::InOneWrite).await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let forward = service_fn(move |mut request: Request<Incoming>| {
        let uri = Uri::builder()
            .scheme("http")
            .authority(upstream.to_string());
        let uri = uri.path_and_query("/").build().expect("a URI");
        *request.uri_mut() = uri;
        client.clone().oneshot(request)
    });
    let monitor = MonitorLayer::service("orders");
    let counts = monitor.monitor().clone();
    let returned = UseLimitLayer::single().return_on(Outcome::Exception);
    let bearer = RequireBearerLayer::new(world.tokens.clone());
    let server = Server::start((monitor, bearer, returned).layer(forward)).await;
    let token = world.token();
    let head = [(HEADERS, END_HEADERS | END_STREAM)];
    for calls in 1..=3 {
        // The same token each time: its use is returned.
        assert_eq!(upload(server.addr, "/orders/1", &token).await, head);
        let total = &counts.snapshot().services["orders"].total;
        assert_eq!((total.calls(), total.exception), (calls, calls));
    }
}
