//! Tests the shutdown: running calls end as spent or returned, and the authorization server learns
//! of it.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    http::{StatusCode, header},
    routing::{get as answer, post},
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
};
use tower_revoke::RevocationList;
use tower_revoke_testing::TestIssuer;
use tower_revoke_tests::{Client, Wire, get};

use crate::{
    kit::{DEMO, Example, Stage, is_active, serve},
    raw::Raw,
    upstream::{Act, OK, Upstream},
};
use hyper_proxy::Upstreams;

/// Through the program, with a call in progress.
#[tokio::test]
async fn on_sigterm_a_running_call_finishes_and_the_program_exits_with_0() {
    for path in ["/tickets/1", "/orders/1"] {
        let mut demo = Example::start(DEMO).await;
        let token = demo.token("scope=proxy+OTT").await;
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
             transfer-encoding: chunked\r\n\r\n6\r\nbefore\r\n"
        );
        let mut raw = Raw::send(demo.at, request).await;
        let (status, _) = raw.head().await;
        assert_eq!(status, 200);
        assert!(raw.take(9).await.ends_with("before"));
        demo.program.terminate();
        // New connections are rejected while this call continues.
        while tokio::net::TcpStream::connect(demo.at).await.is_ok() {}
        raw.more("5\r\nafter\r\n0\r\n\r\n").await;
        let rest = raw.rest().await;
        assert!(
            rest.contains("after") && rest.ends_with("0\r\n\r\n"),
            "{rest}"
        );
        let stopped = demo.program.says("stopped: ").await;
        assert!(stopped.ends_with(" 0 left untold"), "{stopped}");
        assert_eq!(demo.program.ended().await.code(), Some(0));
    }
}

/// The same inside the test, where the state can be checked afterwards: spent here and revoked at
/// the issuer.
#[tokio::test]
async fn a_call_that_ends_during_the_shutdown_is_spent_and_reported() {
    for (path, scope) in [("/tickets/1", "proxy"), ("/orders/1", "proxy OTT")] {
        let stage = Stage::with(Act::Echo("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")).await;
        let (at, token) = (stage.at, stage.token(scope));
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
             content-length: 5\r\n\r\nhe"
        );
        let mut raw = Raw::send(at, request).await;
        raw.head().await;
        let (served, _orders, issuer, list) = stage.stop();
        while tokio::net::TcpStream::connect(at).await.is_ok() {}
        assert!(!served.is_finished());
        raw.more("llo").await;
        assert_eq!(raw.rest().await, "hello");
        let drained = served.await.expect("it ends");
        assert_eq!((drained.queued, drained.reserved), (0, 0));
        assert!(!is_active(issuer.url(), &token).await);
        assert_spent(issuer.url(), &list, &token).await;
    }
}

/// A call that outlasts the shutdown limit is cut off, as if the client had left.
#[tokio::test]
async fn a_call_that_outlasts_the_shutdown_is_cut_off_spent_and_reported() {
    for (path, scope) in [("/tickets/1", "proxy"), ("/orders/1", "proxy OTT")] {
        for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"] {
            let act = Act::AnswerTheHead(answer);
            let stage = Stage::set(act, Duration::from_millis(500)).await;
            let token = stage.token(scope);
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
            let raw = Raw::send(stage.at, request).await;
            stage.orders.heads(1).await;
            let (served, _orders, issuer, list) = stage.stop();
            let drained = served.await.expect("it ends");
            assert_eq!((drained.queued, drained.reserved), (0, 0));
            assert!(!raw.rest().await.contains("\r\n\r\nhalf\r\n"));
            assert!(!is_active(issuer.url(), &token).await);
            assert_spent(issuer.url(), &list, &token).await;
        }
    }
}

/// Asserts that another proxy over the same list rejects the token.
async fn assert_spent(issuer: &str, list: &RevocationList, token: &str) {
    let upstreams = Upstreams {
        orders: "127.0.0.1:1".into(),
        stock: "127.0.0.1:2".into(),
        maps: "127.0.0.1:3".into(),
    };
    let never = std::future::pending();
    let (at, _served) = serve(issuer, list, upstreams, Duration::ZERO, never).await;
    let mut client = Client::connect(at, Wire::Http1).await;
    let answer = client.send(get("/orders/1", token)).await;
    assert_eq!(answer.expect("an answer").verdict(), "401 invalid_token");
}

/// An authorization server whose `/revoke` answers when the test allows it.
async fn slow_issuer(may: Arc<Semaphore>) -> TestIssuer {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = socket.local_addr().expect("a bound socket");
    let issuer = TestIssuer::new(format!("http://{at}"));
    let keys = issuer.jwks();
    let metadata = json!({
        "issuer": format!("http://{at}"),
        "jwks_uri": format!("http://{at}/keys"),
        "revocation_endpoint": format!("http://{at}/revoke"),
    });
    let revoke = async move || match may.acquire().await {
        Ok(permit) => {
            permit.forget();
            (StatusCode::OK, [(header::CONTENT_TYPE, "text/html")])
        }
        Err(_) => unreachable!("the semaphore is never closed"),
    };
    let router = Router::new()
        .route("/.well-known/openid-configuration", answer(Json(metadata)))
        .route("/keys", answer(Json(keys)))
        .route("/revoke", post(revoke));
    tokio::spawn(async move { axum::serve(socket, router).await });
    issuer
}

#[tokio::test]
async fn undelivered_revocations_are_sent_at_shutdown() {
    let may = Arc::new(Semaphore::new(0));
    let issuer = slow_issuer(may.clone()).await;
    let upstream = Upstream::start(OK).await;
    let upstreams = Upstreams {
        orders: upstream.addr.to_string(),
        stock: "127.0.0.1:2".into(),
        maps: "127.0.0.1:3".into(),
    };
    let list = RevocationList::in_memory();
    let (stop, stopped) = oneshot::channel::<()>();
    let grace = Duration::from_secs(30);
    let stopped = async move { drop(stopped.await) };
    let (at, served) = serve(issuer.issuer(), &list, upstreams, grace, stopped).await;
    for path in ["/tickets/1", "/orders/1", "/tickets/2"] {
        let token = issuer.token().audience("orders").scope("proxy OTT").sign();
        let mut client = Client::connect(at, Wire::Http1).await;
        // The response doesn't wait for the authorization server.
        let answer = client.send(get(path, &token)).await.expect("an answer");
        assert_eq!(answer.verdict(), "200");
    }
    stop.send(()).expect("it listens");
    while tokio::net::TcpStream::connect(at).await.is_ok() {}
    assert!(!served.is_finished());
    may.add_permits(10);
    let drained = served.await.expect("it ends");
    // A ticket revokes its token twice with the scope OTT, but is sent to the issuer once.
    assert_eq!(
        (drained.delivered, drained.queued, drained.reserved),
        (3, 0, 0)
    );
}

/// A server that never answers can't keep the program from stopping.
#[tokio::test]
async fn a_hanging_authorization_server_does_not_block_the_shutdown() {
    let issuer = slow_issuer(Arc::new(Semaphore::new(0))).await;
    let upstream = Upstream::start(OK).await;
    let upstreams = Upstreams {
        orders: upstream.addr.to_string(),
        stock: "127.0.0.1:2".into(),
        maps: "127.0.0.1:3".into(),
    };
    let list = RevocationList::in_memory();
    let (stop, stopped) = oneshot::channel::<()>();
    let grace = Duration::from_millis(200);
    let stopped = async move { drop(stopped.await) };
    let (at, served) = serve(issuer.issuer(), &list, upstreams, grace, stopped).await;
    let token = issuer.token().audience("orders").scope("proxy").sign();
    let mut client = Client::connect(at, Wire::Http1).await;
    let answer = client.send(get("/tickets/1", &token)).await;
    assert_eq!(answer.expect("an answer").verdict(), "200");
    stop.send(()).expect("it listens");
    let drained = served.await.expect("it ends");
    assert_eq!((drained.delivered, drained.queued), (0, 1));
}
