//! A load on two nodes: callers that compete for the same single-use tokens, and a record of the
//! responses.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tower_revoke_tests::servers::wait_until;

use crate::kit::{Caller, Node, SPENT, Stage};

/// Callers at each node; each competes with its counterpart at the other node.
const CALLERS: usize = 4;

/// Tokens for each pair of callers, so that a test that hangs ends.
const AT_MOST: usize = 50_000;

/// A load that runs until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    callers: JoinSet<()>,
}

/// The responses so far.
#[derive(Default)]
struct Seen {
    /// By node, path and verdict.
    answers: BTreeMap<(usize, &'static str, String), usize>,
    /// By token: the nodes where it was accepted.
    winners: HashMap<String, Vec<usize>>,
}

impl Load {
    /// Starts the load; `known` is a token that both nodes have seen and that is never revoked.
    pub(crate) async fn start(stage: &Arc<Stage>, nodes: [&Node; 2], known: &str) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let pairs: Vec<_> = (0..CALLERS)
            .map(|pair| Tokens {
                stage: stage.clone(),
                pair,
                signed: Arc::default(),
            })
            .collect();
        let mut callers = JoinSet::new();
        for (node, at) in nodes.into_iter().enumerate() {
            for tokens in &pairs {
                let mut caller = at.caller().await;
                assert_eq!(caller.orders(known).await, "200");
                let one = One {
                    node,
                    caller,
                    seen: Arc::clone(&seen),
                    known: known.to_owned(),
                };
                callers.spawn(one.calls(tokens.clone(), stop.clone()));
            }
        }
        Self {
            stop,
            seen,
            callers,
        }
    }

    /// Returns how often this response was received.
    fn count(&self, node: usize, path: &'static str, verdict: &str) -> usize {
        let key = (node, path, verdict.to_owned());
        locked(&self.seen).answers.get(&key).copied().unwrap_or(0)
    }

    /// Waits until each of these responses was received ten more times.
    pub(crate) async fn says(&self, expected: &[(usize, &'static str, &str)]) {
        for (node, path, verdict) in expected {
            let from = self.count(*node, path, verdict);
            let what = format!("node {node} says {verdict} to {path}");
            let is_said = || self.count(*node, path, verdict) >= from + 10;
            wait_until(&what, is_said).await;
        }
    }

    /// Stops the load; returns the accepted tokens, each with the nodes where it was accepted.
    pub(crate) async fn stop(mut self) -> HashMap<String, Vec<usize>> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.callers.join_next().await {
            ended.expect("no caller panics");
        }
        let seen = std::mem::take(&mut *locked(&self.seen));
        println!("{:?}", seen.answers);
        seen.winners
    }
}

/// The tokens that a pair of callers competes for, in order.
#[derive(Clone)]
struct Tokens {
    stage: Arc<Stage>,
    pair: usize,
    signed: Arc<Mutex<Vec<String>>>,
}

impl Tokens {
    /// Signs the token the first time that either caller asks for it.
    fn token(&self, number: usize) -> String {
        let mut signed = locked(&self.signed);
        if number == signed.len() {
            let subject = format!("pair {} token {number}", self.pair);
            signed.push(self.stage.token(&subject));
        }
        signed[number].clone()
    }
}

/// A caller at one node.
struct One {
    node: usize,
    caller: Caller,
    seen: Arc<Mutex<Seen>>,
    known: String,
}

impl One {
    async fn calls(mut self, tokens: Tokens, stop: Arc<AtomicBool>) {
        for number in 0..AT_MOST {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let token = tokens.token(number);
            // Retries, as clients do after a `Retry-After`.
            for _ in 0..3 {
                let verdict = self.caller.invoice(&token).await;
                let is_unavailable = verdict == "503";
                if verdict == "200" {
                    let mut seen = locked(&self.seen);
                    let winners = seen.winners.entry(token.clone()).or_default();
                    winners.push(self.node);
                } else {
                    assert!(is_unavailable || verdict == SPENT, "{verdict}");
                }
                self.said("/invoice", verdict);
                if !is_unavailable {
                    break;
                }
                // Avoids a busy loop against a server that is down.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let verdict = self.caller.orders(&self.known).await;
            assert!(["200", "503"].contains(&verdict.as_str()), "{verdict}");
            self.said("/orders", verdict);
        }
    }

    fn said(&self, path: &'static str, verdict: String) {
        let mut seen = locked(&self.seen);
        *seen.answers.entry((self.node, path, verdict)).or_default() += 1;
    }
}

fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
