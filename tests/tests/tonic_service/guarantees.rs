//! G1 and G2 over gRPC, with tonic and grpcio clients.

use serde_json::Value;
use tokio::task::JoinSet;
use tonic::Code;

use crate::kit::{Example, Kind, Outcome, call, channel, python, step};

const CALLS: usize = 1_000;
const CONNECTIONS: usize = 8;

fn tally(outcomes: &[Outcome], kind: Kind) -> (usize, usize) {
    let of = |wanted: &Outcome| outcomes.iter().filter(|outcome| *outcome == wanted).count();
    (of(&Outcome::good(kind)), of(&Outcome::spent()))
}

/// Returns the service's own counts: successful calls, and rejected calls.
async fn counted(example: &Example, calls: u64) -> (u64, u64) {
    let number = |counts: &Value, name: &str| counts["total"][name].as_u64().expect("a number");
    let counts = example
        .counts(|counts| number(counts, "success") + number(counts, "rejected") == calls)
        .await;
    (number(&counts, "success"), number(&counts, "rejected"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_01_g2_a_thousand_tonic_calls_with_one_token_have_one_winner() {
    let mut example = Example::start().await;
    for kind in Kind::ALL {
        let token = example.token().await;
        let mut calls = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let channel = channel(example.at).await;
            for _ in 0..CALLS / CONNECTIONS {
                let (channel, token) = (channel.clone(), token.clone());
                calls.spawn(async move { call(&channel, kind, Some(&token)).await });
            }
        }
        let outcomes = calls.join_all().await;
        assert_eq!(tally(&outcomes, kind), (1, CALLS - 1), "{kind:?}");
    }
    assert_eq!(counted(&example, 4_000).await, (4, 3_996));
}

#[tokio::test]
async fn trap_01_g2_a_thousand_grpcio_calls_with_one_token_have_one_winner() {
    let mut example = Example::start().await;
    let token = example.token().await;
    let steps = vec![step(Kind::Place, Some(&token)); CALLS];
    let outcomes = python(example.at, steps, true).await;
    assert_eq!(tally(&outcomes, Kind::Place), (1, CALLS - 1));
    assert_eq!(counted(&example, 1_000).await, (1, 999));
}

/// 1,000 times, over all kinds: a client that has read the trailers calls again immediately.
#[tokio::test]
async fn g1_a_tonic_client_that_has_read_the_trailers_is_rejected() {
    let mut example = Example::start().await;
    let channel = channel(example.at).await;
    for kind in [Kind::Place, Kind::Import, Kind::Quote, Kind::Watch] {
        // A watched price takes longer.
        let times = if kind == Kind::Watch { 25 } else { 325 };
        for _ in 0..times {
            let token = example.token().await;
            let first = call(&channel, kind, Some(&token)).await;
            assert_eq!(first, Outcome::good(kind));
            let second = call(&channel, kind, Some(&token)).await;
            assert_eq!(second, Outcome::spent());
        }
    }
}

#[tokio::test]
async fn g1_a_grpcio_client_that_has_read_the_trailers_is_rejected() {
    let mut example = Example::start().await;
    let mut steps = Vec::with_capacity(2 * CALLS);
    for _ in 0..CALLS {
        let step = step(Kind::Place, Some(&example.token().await));
        steps.extend([step.clone(), step]);
    }
    let outcomes = python(example.at, steps, false).await;
    assert_eq!(outcomes.len(), 2 * CALLS);
    for pair in outcomes.chunks(2) {
        assert_eq!(pair, [Outcome::good(Kind::Place), Outcome::spent()]);
    }
    let codes = outcomes.iter().filter(|outcome| outcome.code == Code::Ok);
    assert_eq!(codes.count(), CALLS);
}
