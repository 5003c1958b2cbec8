//! Kills a process with a revocation endpoint over an embedded store, while clients call it: a token
//! that was answered with 200 stays revoked.

use std::{path::Path, process::Command};

use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinSet};
use tower_revoke_testing::{TestAlgorithm, TestIssuer, rounds};
use tower_revoke_tests::{Client, Wire, get, node, program::Program};

/// Calls without an answer when the process is killed.
const CLIENTS: u64 = 8;

/// The longest life of a process, in answers.
const LIFE: u64 = 200;

const REJECTED: &str = "401 invalid_token";

/// The access tokens that the clients of one process revoked, each by itself or with its grant.
#[derive(Default)]
struct Calls {
    /// The answer was 200.
    acknowledged: Vec<String>,
    /// There was no answer.
    unanswered: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc7009_2_2_a_200_that_was_sent_is_kept() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let issuer = TestIssuer::with(node::ISSUER, TestAlgorithm::ES256);
    let folder = TempDir::new().expect("a temp dir");
    let keys = folder.path().join("keys.json");
    issuer.write_jwks(&keys).expect("a file in the temp dir");
    let (mut all, mut unanswered) = (Vec::new(), [0, 0]);
    let rounds = rounds(4, 20);
    for round in 0..rounds {
        let store = folder.path().join("revocations");
        let life = random.u64(1..LIFE);
        let calls = calls_until_killed(&issuer, &store, &keys, round, life).await;
        all.extend(calls.acknowledged);
        let mut node = start(&store, &keys);
        let at = node.address("listening on ").await;
        let mut client = Client::connect(at, Wire::Http1).await;
        for token in &all {
            let answer = client.send(get("/orders", token)).await;
            let verdict = answer.expect("an answer").verdict();
            assert_eq!(verdict, REJECTED, "a 200 was lost in round {round}");
        }
        for token in &calls.unanswered {
            let answer = client.send(get("/orders", token)).await;
            let is_stored = answer.expect("an answer").verdict() == REJECTED;
            unanswered[usize::from(is_stored)] += 1;
        }
    }
    let [lost, stored] = unanswered;
    let answers = all.len();
    println!("{answers} answers; of the calls without, {stored} were stored and {lost} were not");
    assert!(answers > 0);
}

fn start(store: &Path, keys: &Path) -> Program {
    Program::start("store-node", |command: &mut Command| {
        command.arg("embedded").args([store, keys]);
    })
}

/// Kills the process after so many answers, with further calls on their way.
async fn calls_until_killed(
    issuer: &TestIssuer,
    store: &Path,
    keys: &Path,
    round: u64,
    life: u64,
) -> Calls {
    let mut process = start(store, keys);
    let at = process.address("listening on ").await;
    let shop = node::CLIENTS[0];
    let (answered, mut answers) = mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let issuer = issuer.clone();
        let answered = answered.clone();
        let mut client = Client::connect(at, Wire::Http1).await;
        clients.spawn(async move {
            for call in 0_u64.. {
                let grant = format!("{round} {number} {call}");
                let access = node::access_token(&issuer, shop.0, &grant);
                // By turns, the token itself or its grant is revoked.
                let refresh = node::refresh_token(&issuer, shop.0, &grant);
                let presented = [&access, &refresh][usize::from(call % 2 == 1)];
                match client.send(node::revocation(shop, presented)).await {
                    Ok(answer) => {
                        assert_eq!(answer.status, 200, "{answer:?}");
                        if answered.send(access).is_err() {
                            return None;
                        }
                    }
                    Err(_) => return Some(access),
                }
            }
            None
        });
    }
    drop(answered);
    let mut calls = Calls::default();
    while let Some(token) = answers.recv().await {
        calls.acknowledged.push(token);
        if calls.acknowledged.len() as u64 == life {
            process.kill();
        }
    }
    calls.unanswered = clients.join_all().await.into_iter().flatten().collect();
    calls
}
