//! G2 over real sockets: of many calls with one token, exactly as many reach the service as the
//! token has uses.

use std::{
    convert::Infallible,
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::task::JoinSet;
use tower::service_fn;
use tower_revoke::UseLimitLayer;
use tower_revoke_testing::rounds;
use tower_revoke_tests::{Client, Server, Wire, World, get};

const CALLS: usize = 10_000;
const CONNECTIONS: usize = 16;

/// Sends [`CALLS`] calls with one token over HTTP/1 connections and HTTP/2 streams at once. Returns
/// the counts of 200, of 401 and of other responses, and how often the service was called.
async fn race(layer: &UseLimitLayer) -> (usize, usize, usize, usize) {
    let world = World::new();
    let reached = Arc::new(AtomicUsize::new(0));
    let count = reached.clone();
    let service = service_fn(move |_: Request<Incoming>| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("won"))) }
    });
    let server = Server::start(world.protect(layer, service)).await;
    let token = world.token();
    let mut tasks = JoinSet::new();
    let per_connection = CALLS / CONNECTIONS;
    for connection in 0..CONNECTIONS {
        let (addr, token) = (server.addr, token.clone());
        if connection % 2 == 0 {
            tasks.spawn(async move {
                let mut client = Client::connect(addr, Wire::Http1).await;
                let mut statuses = Vec::with_capacity(per_connection);
                for _ in 0..per_connection {
                    let answer = client.send(get("/", &token)).await;
                    statuses.push(answer.expect("a head").verdict());
                }
                statuses
            });
        } else {
            tasks.spawn(async move {
                let client = Client::connect(addr, Wire::Http2).await;
                let mut streams = JoinSet::new();
                for _ in 0..per_connection {
                    let mut stream = client.another();
                    let request = get("/", &token);
                    streams.spawn(
                        async move { stream.send(request).await.expect("a head").verdict() },
                    );
                }
                streams.join_all().await
            });
        }
    }
    let verdicts = tasks.join_all().await.concat();
    assert_eq!(verdicts.len(), CALLS);
    let of = |verdict: &str| verdicts.iter().filter(|given| *given == verdict).count();
    let (won, rejected) = (of("200"), of("401 invalid_token"));
    let rest = CALLS - won - rejected;
    (won, rejected, rest, reached.load(Ordering::SeqCst))
}

/// TRAPS 1: check, then consume.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_01_g2_one_winner_of_ten_thousand_calls() {
    for _ in 0..rounds(4, 20) {
        let counts = race(&UseLimitLayer::single()).await;
        assert_eq!(counts, (1, CALLS - 1, 0, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_01_g2_n_winners_for_n_uses() {
    for n in [2_u16, 7, 100] {
        let limit = NonZeroU16::new(n).expect("not zero");
        let counts = race(&UseLimitLayer::new(limit.into())).await;
        let n = usize::from(n);
        assert_eq!(counts, (n, CALLS - n, 0, n));
    }
}
