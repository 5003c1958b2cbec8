//! Tests that requests never wait for an authorization server that is slow, down or broken: all of them
//! end while its calls are under way or queued.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, response::Response as AxumResponse};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::{net::TcpListener, sync::Semaphore};
use tower::{ServiceBuilder, ServiceExt, service_fn, util::Either};
use tower_revoke_core::{
    Authenticated, BearerContext, BearerToken, Endpoint, RejectionFormat, Revocations,
};
use tower_revoke_http::HttpsClient;
use tower_revoke_list::RevocationList;
use tower_revoke_oauth::{DeliveryFailure, RevocationClient};
use tower_revoke_spend::{RevokeAfterResponseLayer, UseLimitLayer};
use tower_revoke_store_embedded::{EmbeddedStore, OutboxKeys};

use crate::support::{SECRET, verified};

const LONG: Duration = Duration::from_secs(60);
const CALLS: usize = 60;

/// The largest number of requests at one time.
const CONCURRENCY: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sick {
    /// Nobody listens.
    Down,
    Fails,
    Busy,
    /// A 200 that comes when the test is over, as after a long time.
    Slow,
    /// A 200 of 100 MB.
    Huge,
}

/// An authorization server, and what the test knows of its calls.
#[derive(Clone)]
struct Server {
    sick: Sick,
    seen: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
    open: Arc<Semaphore>,
}

impl Server {
    async fn start(sick: Sick) -> (Self, SocketAddr) {
        let server = Self {
            sick,
            seen: Arc::default(),
            under_way: Arc::default(),
            sent: Arc::default(),
            open: Arc::new(Semaphore::new(0)),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        if sick != Sick::Down {
            let own = server.clone();
            let router = Router::new().fallback(move || own.clone().respond());
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        }
        (server, address)
    }

    async fn respond(self) -> AxumResponse {
        const PIECE: &[u8] = &[b' '; 16 * 1024];
        self.seen.fetch_add(1, Ordering::SeqCst);
        let response = Response::builder();
        let response = match self.sick {
            Sick::Down | Sick::Fails => response.status(500).body(Body::empty()),
            Sick::Busy => {
                let busy = response.status(503).header("retry-after", "3600");
                busy.body(Body::empty())
            }
            Sick::Slow => {
                self.under_way.fetch_add(1, Ordering::SeqCst);
                let _open = self.open.acquire().await.unwrap();
                response.body(Body::empty())
            }
            Sick::Huge => {
                let sent = self.sent.clone();
                let pieces = stream::iter(0..100 * 1024 / 16).map(move |_| {
                    sent.fetch_add(PIECE.len(), Ordering::SeqCst);
                    Ok::<_, Infallible>(Bytes::from_static(PIECE))
                });
                response.body(Body::from_stream(pieces))
            }
        };
        response.unwrap()
    }
}

/// Makes calls with a token each, half of them through each of the two layers.
async fn calls(client: &RevocationClient) {
    let list: Arc<dyn Revocations> = RevocationList::in_memory().into();
    for n in 0..CALLS {
        let name = format!("token-{n}");
        let claims =
            json!({"iss": "https://id.example.com", "sub": name, "exp": 4_000_000_000_u64});
        let token = verified(&name, claims).with_revocations(list.clone());
        let token = Arc::new(token.unwrap());
        let mut request = Request::new(());
        let extensions = request.extensions_mut();
        extensions.insert(BearerContext::new(
            Arc::new(RejectionFormat::default()),
            Some(BearerToken::new(&name).unwrap()),
        ));
        extensions.insert(Authenticated::new(token));
        let layer = match n % 2 {
            0 => Either::Left(UseLimitLayer::single().also_at(client.clone())),
            _ => Either::Right(RevokeAfterResponseLayer::new().also_at(client.clone())),
        };
        let service =
            ServiceBuilder::new()
                .layer(layer)
                .service(service_fn(async |_: Request<()>| {
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
                }));
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "hello");
    }
}

async fn no_call_waits(sick: Sick, with_outbox: bool) {
    let (server, address) = Server::start(sick).await;
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::new(&format!("http://{address}/revoke")).unwrap();
    let mut client = RevocationClient::builder(endpoint)
        .client_credentials("shop", SECRET)
        .http_client(HttpsClient::new().unwrap())
        .max_concurrency(CONCURRENCY)
        .request_timeout(10 * LONG);
    if with_outbox {
        let store = EmbeddedStore::builder(folder.path().join("outbox")).request_timeout(LONG);
        let store = store.open().unwrap();
        client = client.outbox(store.outbox(OutboxKeys::new(&[1; 32])));
    }
    let client = client.build().unwrap();
    calls(&client).await;
    // All calls have ended, and the server has revoked nothing.
    let stats = client.stats();
    let left = (stats.queued, stats.delivered, stats.rejected);
    assert_eq!(left, (CALLS, 0, 0), "{sick:?}");

    let failure = async || loop {
        if let Some(failure) = client.stats().last_failure {
            return failure;
        }
        tokio::task::yield_now().await;
    };
    match sick {
        Sick::Down => assert_eq!(failure().await, DeliveryFailure::Unreachable),
        Sick::Fails => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            assert_eq!(failure().await, DeliveryFailure::Server(status));
        }
        Sick::Busy => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            assert_eq!(failure().await, DeliveryFailure::Busy(status));
            // The pause that it asked for concerns all tokens.
            assert!(server.seen.load(Ordering::SeqCst) <= CONCURRENCY);
        }
        Sick::Huge => {
            assert_eq!(failure().await, DeliveryFailure::TooLarge);
            // A few MB are in the buffers of the sockets.
            let seen = server.seen.load(Ordering::SeqCst);
            let sent = server.sent.load(Ordering::SeqCst);
            assert!(sent < seen * (20 << 20), "{sent} bytes in {seen} responses");
        }
        Sick::Slow => {
            while server.under_way.load(Ordering::SeqCst) < CONCURRENCY {
                tokio::task::yield_now().await;
            }
            assert_eq!(server.seen.load(Ordering::SeqCst), CONCURRENCY);
            server.open.add_permits(CALLS);
            let report = client.shutdown(LONG).await;
            assert!(report.is_complete());
            assert_eq!(report.delivered, CALLS as u64);
        }
    }
}

#[tokio::test]
async fn no_call_waits_for_a_server_that_is_down() {
    no_call_waits(Sick::Down, false).await;
    no_call_waits(Sick::Down, true).await;
}

#[tokio::test]
async fn no_call_waits_for_a_server_that_fails() {
    no_call_waits(Sick::Fails, false).await;
    no_call_waits(Sick::Fails, true).await;
}

#[tokio::test]
async fn rfc7009_2_2_1_no_call_waits_for_a_server_that_asks_to_come_back_later() {
    no_call_waits(Sick::Busy, false).await;
    no_call_waits(Sick::Busy, true).await;
}

#[tokio::test]
async fn no_call_waits_for_a_server_that_is_slow() {
    no_call_waits(Sick::Slow, false).await;
    no_call_waits(Sick::Slow, true).await;
}

#[tokio::test]
async fn no_call_waits_for_a_response_of_100_mb_and_most_of_it_is_not_read() {
    no_call_waits(Sick::Huge, false).await;
    no_call_waits(Sick::Huge, true).await;
}
