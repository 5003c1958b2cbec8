//! Tests calls over a real socket, where servers decide when to drop bodies.

use std::{convert::Infallible, future::pending};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tower::{Layer, service_fn};
use tower_revoke_monitor::MonitorLayer;
use tower_revoke_testing::{Gate, ScriptedBody};

use crate::support::*;

/// A server for one connection, and the client's end.
async fn connect(layer: &MonitorLayer, gate: Gate) -> (TcpStream, JoinHandle<()>) {
    let service = layer.layer(service_fn(move |request: Request<Incoming>| {
        identify(&request, caller("ann"));
        let gate = gate.clone();
        async move { Ok::<_, Infallible>(answer(&request, &gate).await) }
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("valid");
    let client = TcpStream::connect(listener.local_addr().expect("valid"));
    let (client, server) = tokio::join!(client, listener.accept());
    let (server, _) = server.expect("valid");
    let service = TowerToHyperService::new(service);
    let connection = tokio::spawn(async move {
        let builder = auto::Builder::new(TokioExecutor::new());
        // A client that leaves ends it with an error.
        let _ = builder
            .serve_connection(TokioIo::new(server), service)
            .await;
    });
    (client.expect("valid"), connection)
}

async fn answer(request: &Request<Incoming>, gate: &Gate) -> Answer {
    let body = match request.uri().path() {
        "/never" => pending().await,
        "/half" => ScriptedBody::new().data("half").wait_for(gate).data("rest"),
        "/broken" => ScriptedBody::new().data("half").fail(),
        // Like `Full`, without a Content-Length, which hyper adds.
        _ => ScriptedBody::new().data("hello").hint(5),
    };
    let status = match request.uri().path() {
        "/none" => StatusCode::NO_CONTENT,
        "/missing" => StatusCode::NOT_FOUND,
        "/down" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// Makes one exchange, `None` if it was cut off, and waits for the connection to end.
async fn exchange(layer: &MonitorLayer, method: Method, path: &str) -> Option<Response<Bytes>> {
    let (client, connection) = connect(layer, Gate::closed()).await;
    let (mut sender, driver) = http1::handshake(TokioIo::new(client)).await.expect("valid");
    let driver = tokio::spawn(driver);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .body(Empty::<Bytes>::new());
    let whole = async {
        let response = sender.send_request(request.ok()?).await.ok()?;
        let (head, body) = response.into_parts();
        Some(Response::from_parts(
            head,
            body.collect().await.ok()?.to_bytes(),
        ))
    };
    let response = whole.await;
    drop(sender);
    // A body that is cut off ends it with an error.
    let _ = driver.await;
    connection.await.expect("no panic");
    response
}

#[tokio::test]
async fn trap_10_24_each_outcome_is_counted_once_over_a_socket() {
    for (method, path, expected) in [
        (Method::GET, "/", SUCCESS),
        (Method::HEAD, "/", SUCCESS),
        (Method::GET, "/none", SUCCESS),
        (Method::GET, "/missing", FAILURE),
        (Method::GET, "/down", EXCEPTION),
    ] {
        let layer = MonitorLayer::service("orders");
        exchange(&layer, method.clone(), path).await.unwrap();
        assert_eq!(numbers(&total(&layer)), expected, "{method} {path}");
        let snapshot = layer.monitor().snapshot();
        let ann = &snapshot.services["orders"].clients["ann"];
        assert_eq!(numbers(ann), expected, "{method} {path}");
    }
    let layer = MonitorLayer::service("orders");
    assert!(exchange(&layer, Method::GET, "/broken").await.is_none());
    assert_eq!(numbers(&total(&layer)), EXCEPTION);
}

#[tokio::test]
async fn trap_11_content_length_is_unchanged() {
    let layer = MonitorLayer::service("orders");
    for method in [Method::GET, Method::HEAD] {
        let response = exchange(&layer, method.clone(), "/").await.unwrap();
        assert_eq!(response.headers()["content-length"], "5", "{method}");
        assert!(!response.headers().contains_key("transfer-encoding"));
    }
    let response = exchange(&layer, Method::GET, "/none").await.unwrap();
    assert!(!response.headers().contains_key("content-length"));
}

#[tokio::test]
async fn trap_15_a_client_that_leaves_before_the_head_is_cancelled() {
    let layer = MonitorLayer::service("orders");
    let (mut client, connection) = connect(&layer, Gate::closed()).await;
    client
        .write_all(b"GET /never HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    drop(client);
    connection.await.unwrap();
    assert_eq!(numbers(&total(&layer)), CANCELLED);
}

#[tokio::test]
async fn trap_15_a_client_that_leaves_in_the_body_is_cancelled() {
    let layer = MonitorLayer::service("orders");
    let gate = Gate::closed();
    let (mut client, connection) = connect(&layer, gate).await;
    client
        .write_all(b"GET /half HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut seen = Vec::new();
    while !seen.windows(4).any(|window| window == b"half") {
        assert_ne!(client.read_buf(&mut seen).await.unwrap(), 0);
    }
    assert_eq!(numbers(&total(&layer)), IN_FLIGHT);
    drop(client);
    connection.await.unwrap();
    assert_eq!(numbers(&total(&layer)), CANCELLED);
}

/// Over HTTP/2, the stream is reset and the connection continues.
#[tokio::test]
async fn trap_15_a_stream_that_is_reset_is_cancelled() {
    let layer = MonitorLayer::service("orders");
    let (client, connection) = connect(&layer, Gate::closed()).await;
    let io = TokioIo::new(client);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut sender, driver) = handshake.await.unwrap();
    let driver = tokio::spawn(driver);
    for path in ["/half", "/"] {
        let request = Request::builder().uri(format!("http://localhost{path}"));
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let mut body = sender.send_request(request).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        if path == "/" {
            body.collect().await.unwrap();
        }
    }
    drop(sender);
    let _ = driver.await.unwrap();
    connection.await.unwrap();
    assert_eq!(numbers(&total(&layer)), [0, 1, 0, 0, 1, 0]);
}
