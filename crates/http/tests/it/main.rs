//! Tests each client of this crate over a socket.
#![allow(clippy::unwrap_used, reason = "a test that stops has failed")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    response::Redirect,
    routing::{get, post},
};
use bytes::Bytes;
use http::{Request, Response};
use tokio::{net::TcpListener, task::JoinSet};
use tower_revoke_core::{HttpClient, HttpClientError};
use tower_revoke_http::HttpsClient;

fn clients() -> Vec<Box<dyn HttpClient>> {
    vec![
        Box::new(HttpsClient::new().unwrap()),
        #[cfg(feature = "reqwest")]
        Box::new(tower_revoke_http::ReqwestClient::build(reqwest::Client::builder()).unwrap()),
    ]
}

/// Loopback servers, stopped on drop.
#[derive(Default)]
struct Servers(JoinSet<()>);

impl Servers {
    /// Starts a server and returns its origin.
    async fn start(&mut self, router: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async { axum::serve(listener, router).await.unwrap() };
        self.0.spawn(serve);
        format!("http://{address}")
    }
}

async fn fetch(
    client: &dyn HttpClient,
    url: String,
    limit: usize,
) -> Result<Response<Bytes>, HttpClientError> {
    let request = Request::get(url).body(Bytes::new()).unwrap();
    client.send(request, limit).await
}

#[tokio::test]
async fn a_response_is_complete_whatever_its_status() {
    let mut servers = Servers::default();
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/500", get(async || StatusCode::INTERNAL_SERVER_ERROR));
    let origin = servers.start(router).await;
    for client in clients() {
        let response = fetch(&*client, format!("{origin}/"), 5).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-length"], "5");
        assert_eq!(response.body(), "hello");
        let response = fetch(&*client, format!("{origin}/500"), 5).await.unwrap();
        assert_eq!(response.status(), 500);
        let error = fetch(&*client, format!("{origin}/"), 4).await.unwrap_err();
        assert!(matches!(error, HttpClientError::TooLarge(4)), "{error}");
    }
}

#[tokio::test]
async fn a_request_arrives_whole() {
    let mut servers = Servers::default();
    let echo = async |headers: HeaderMap, body: Bytes| {
        assert_eq!(headers["authorization"], "Basic c2hvcA==");
        assert_eq!(headers["content-length"], "9");
        body
    };
    let origin = servers.start(Router::new().route("/", post(echo))).await;
    for client in clients() {
        let request = Request::post(&origin)
            .header("authorization", "Basic c2hvcA==")
            .body(Bytes::from_static(b"token=abc"))
            .unwrap();
        let response = client.send(request, 100).await.unwrap();
        assert_eq!(response.body(), "token=abc");
    }
}

#[tokio::test]
async fn a_redirect_carries_no_secret_to_a_second_server() {
    let mut servers = Servers::default();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = {
        let calls = calls.clone();
        async move || {
            calls.fetch_add(1, Ordering::Relaxed);
        }
    };
    let second = servers.start(Router::new().fallback(count)).await;
    for (status, redirect) in [
        (303, Redirect::to(&second)),
        (307, Redirect::temporary(&second)),
        (308, Redirect::permanent(&second)),
    ] {
        let first = Router::new().fallback(async move || redirect);
        let first = servers.start(first).await;
        for client in clients() {
            let request = Request::post(&first)
                .header("authorization", "Basic c2hvcA==")
                .body(Bytes::from_static(b"token=abc"))
                .unwrap();
            let error = client.send(request, 100).await.unwrap_err();
            assert!(matches!(error, HttpClientError::Redirect(found) if found == status));
        }
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    fetch(&*clients()[0], second, 0).await.unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_unreachable_server_is_an_error_without_the_url() {
    for client in clients() {
        let url = "http://127.0.0.1:1/secret".to_owned();
        let error = fetch(&*client, url, 5).await.unwrap_err();
        assert!(matches!(error, HttpClientError::Failed(_)));
        assert!(!format!("{error:?}").contains("secret"));
    }
}
