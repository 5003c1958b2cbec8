//! G1 and G2 through the program: a token is rejected after the last byte of its response, and one
//! concurrent call wins.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use tokio::task::JoinSet;
use tower_revoke_tests::{Client, Wire, get};

use crate::kit::{DEMO, Example};

/// Fetches tokens from the issuer over one connection.
struct Tokens(Client);

impl Tokens {
    async fn of(demo: &Example) -> Self {
        let at = demo.issuer.strip_prefix("http://").expect("a URL");
        Self(Client::connect(at.parse().expect("an address"), Wire::Http1).await)
    }

    async fn next(&mut self, scope: &str) -> String {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/token?scope={scope}"))
            .header("host", "issuer")
            .body(Empty::<Bytes>::new());
        let answer = self.0.send(request.expect("a request")).await;
        let bytes = answer.expect("an answer").bytes;
        String::from_utf8(bytes.to_vec()).expect("text")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_an_immediate_second_call_is_rejected_a_thousand_times() {
    let demo = Example::start(DEMO).await;
    let mut tokens = Tokens::of(&demo).await;
    for wire in Wire::ALL {
        let mut client = Client::connect(demo.at, wire).await;
        let (mut whole, mut rejected) = (0, 0);
        for _ in 0..1_000 {
            let token = tokens.next("proxy").await;
            let first = client.send(get("/tickets/1", &token)).await;
            let first = first.expect("an answer");
            whole += u32::from(first.whole && first.status == 200);
            let again = client.send(get("/orders/1", &token)).await;
            rejected += u32::from(again.expect("an answer").verdict() == "401 invalid_token");
        }
        assert_eq!((whole, rejected), (1_000, 1_000), "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_01_g2_one_of_1000_calls_at_once_wins() {
    let demo = Example::start(DEMO).await;
    let mut tokens = Tokens::of(&demo).await;
    for wire in Wire::ALL {
        let token = tokens.next("proxy%20OTT").await;
        // All clients connect first, so that all call at once; an HTTP/2 connection carries as many
        // streams as servers allow.
        let mut clients = Vec::new();
        while clients.len() < 1_000 {
            let client = Client::connect(demo.at, wire).await;
            if wire == Wire::Http2 {
                clients.extend((1..100).map(|_| client.another()));
            }
            clients.push(client);
        }
        let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(clients.len()));
        let mut calls = JoinSet::new();
        for mut client in clients {
            let request = get("/maps/1", &token);
            let barrier = barrier.clone();
            calls.spawn(async move {
                barrier.wait().await;
                let answer = client.send(request).await.expect("an answer");
                // The first call of a connection keeps it open for the others.
                (answer.verdict(), client)
            });
        }
        let answers = calls.join_all().await;
        let of = |verdict| answers.iter().filter(|(given, _)| given == verdict).count();
        assert_eq!((of("200"), of("401 invalid_token")), (1, 999), "{wire:?}");
    }
}
