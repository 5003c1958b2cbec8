//! G2 across processes: of many calls with one token, spread over three nodes, one wins.

use std::{collections::BTreeMap, sync::Arc};

use tokio::task::JoinSet;
use tower_revoke_tests::{Client, Wire, get};

use crate::kit::{Node, PATIENT, SPENT, Stage};

const CALLS: usize = 10_000;

/// Half of them HTTP/2 connections with many streams.
const CONNECTIONS_EACH: usize = 4;

/// How many calls got which response.
type Counts = BTreeMap<String, usize>;

/// Calls all nodes at once, over HTTP/1.1 and HTTP/2; call `i` has token `i % tokens`. Returns the
/// responses by token.
async fn race(nodes: &[Node], tokens: Vec<String>) -> Vec<Counts> {
    let tokens = Arc::new(tokens);
    let (places, nodes): (Vec<_>, _) = (nodes.iter().map(|node| node.at).collect(), nodes.len());
    let connections = nodes * CONNECTIONS_EACH;
    let mut callers = JoinSet::new();
    for connection in 0..connections {
        let at = places[connection % nodes];
        let tokens = tokens.clone();
        // Each connection starts at another token, so that every token is used on all nodes at the
        // same time.
        let numbers = (connection..CALLS).step_by(connections);
        callers.spawn(async move {
            let mut said = Vec::new();
            if (connection / nodes).is_multiple_of(2) {
                let mut client = Client::connect(at, Wire::Http1).await;
                for number in numbers {
                    let token = number % tokens.len();
                    let answer = client.send(get("/invoice", &tokens[token])).await;
                    said.push((token, answer.expect("an answer").verdict()));
                }
                return said;
            }
            let client = Client::connect(at, Wire::Http2).await;
            let numbers: Vec<_> = numbers.collect();
            // At most as many streams as a connection allows.
            for some in numbers.chunks(100) {
                let mut streams = JoinSet::new();
                for number in some {
                    let token = number % tokens.len();
                    let request = get("/invoice", &tokens[token]);
                    let mut stream = client.another();
                    streams.spawn(async move {
                        let answer = stream.send(request).await;
                        (token, answer.expect("an answer").verdict())
                    });
                }
                said.extend(streams.join_all().await);
            }
            said
        });
    }
    let mut counts = vec![Counts::new(); tokens.len()];
    let said = callers.join_all().await.concat();
    assert_eq!(said.len(), CALLS);
    for (token, verdict) in said {
        *counts[token].entry(verdict).or_default() += 1;
    }
    counts
}

pub(crate) async fn race_of_three(kind: &'static str, place: String, tokens: usize) {
    let stage = Stage::new(kind, place);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(stage.node(&[PATIENT]).await);
    }
    let tokens = stage.tokens(tokens);
    let each = CALLS / tokens.len();
    let expected = [("200", 1), (SPENT, each - 1)];
    let expected = Counts::from(expected.map(|(verdict, calls)| (verdict.to_owned(), calls)));
    for (number, counts) in race(&nodes, tokens.clone()).await.iter().enumerate() {
        assert_eq!(*counts, expected, "token {number}");
    }
    // A node that starts later has loaded the spent tokens before it listens.
    nodes.push(stage.node(&[PATIENT]).await);
    for node in &nodes {
        let mut caller = node.caller().await;
        for token in &tokens {
            assert_eq!(caller.invoice(token).await, SPENT);
        }
    }
}
