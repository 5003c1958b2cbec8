//! Nodes over one store, tokens for them, and a client to call them.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use http::{Method, StatusCode};
use tempfile::TempDir;
use tower_revoke_testing::{TestAlgorithm, TestIssuer};
use tower_revoke_tests::{Client, Wire, get, node, program::Program};

/// An upper bound for any response; only checks that there is one.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// An upper bound for events that normally take a moment, on a busy machine.
pub(crate) const IN_THE_END: Duration = Duration::from_secs(60);

/// Ten minutes: a mirror polls every quarter of that, so polling can't explain what a test
/// observes.
pub(crate) const PATIENT: &str = "max_staleness=600000";

pub(crate) const SPENT: &str = "401 invalid_token";

/// When nodes learn of writes by other nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told {
    /// The store pushes changes.
    AtOnce,
    /// The mirror polls, every quarter of the staleness bound.
    WhenAsked,
}

/// An issuer, and where its nodes find their store.
pub(crate) struct Stage {
    pub(crate) issuer: TestIssuer,
    files: TempDir,
    kind: &'static str,
    place: String,
}

impl Stage {
    pub(crate) fn new(kind: &'static str, place: String) -> Self {
        let issuer = TestIssuer::with(node::ISSUER, TestAlgorithm::ES256);
        let files = TempDir::new().expect("a temp dir");
        let written = issuer.write_jwks(files.path().join("keys.json"));
        written.expect("a file in the temp dir");
        Self {
            issuer,
            files,
            kind,
            place,
        }
    }

    /// Returns the file with the issuer's keys.
    pub(crate) fn keys(&self) -> PathBuf {
        self.files.path().join("keys.json")
    }

    /// Starts a process without waiting until it listens.
    pub(crate) fn program(&self, settings: &[&str]) -> Program {
        Program::start("store-node", |command| {
            command
                .args([self.kind, &self.place])
                .arg(self.keys())
                .args(settings);
        })
    }

    /// Starts a node and waits until it listens.
    pub(crate) async fn node(&self, settings: &[&str]) -> Node {
        let mut program = self.program(settings);
        let at = program.address("listening on ").await;
        Node {
            at,
            _program: program,
        }
    }

    /// Issues a token for this subject that is valid for an hour.
    pub(crate) fn token(&self, subject: &str) -> String {
        let token = self.issuer.token().audience("api");
        token.subject(subject).sign()
    }

    pub(crate) fn tokens(&self, count: usize) -> Vec<String> {
        let subjects = (0..count).map(|number| number.to_string());
        subjects.map(|subject| self.token(&subject)).collect()
    }
}

/// A node process, killed on drop.
pub(crate) struct Node {
    pub(crate) at: SocketAddr,
    _program: Program,
}

impl Node {
    pub(crate) async fn caller(&self) -> Caller {
        Caller::connect(self.at).await
    }

    /// Returns its metrics, without the prefix that all metrics of a list share.
    pub(crate) async fn metrics(&self) -> BTreeMap<String, f64> {
        let mut client = Client::connect(self.at, Wire::Http1).await;
        let answer = client.send(get("/metrics", "")).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::OK);
        let text = String::from_utf8(answer.bytes.to_vec()).expect("text");
        let series = text.lines().filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            let name = name.strip_prefix("tower_revoke_list_")?;
            Some((name.to_owned(), value.parse().expect("a number")))
        });
        series.collect()
    }

    /// Waits until its metrics satisfy `is_so`.
    pub(crate) async fn tells(&self, what: &str, is_so: impl Fn(&BTreeMap<String, f64>) -> bool) {
        let told = async {
            while !is_so(&self.metrics().await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(IN_THE_END, told).await.is_err() {
            panic!("{what}: {:?}", self.metrics().await);
        }
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let mut client = Client::connect(self.at, Wire::Http1).await;
        let answer = client.send(get("/ready", "")).await.expect("an answer");
        answer.status == StatusCode::NO_CONTENT
    }
}

/// Asserts that no answer of the node was older than its bound, and that the store never failed.
pub(crate) async fn keeps_its_bound(node: &Node) {
    let told = node.metrics().await;
    let (oldest, bound) = (
        told["max_answer_age_seconds"],
        told["max_staleness_seconds"],
    );
    assert!(oldest < bound, "{told:?}");
    assert_eq!(told["store_failures_total"], 0.0, "{told:?}");
}

/// A connection to a node.
pub(crate) struct Caller(pub(crate) Client);

impl Caller {
    pub(crate) async fn connect(at: SocketAddr) -> Self {
        Self(Client::connect(at, Wire::Http1).await)
    }

    /// Returns status and error code, after checking that the response is well-formed: a 503 for a
    /// failing store has a `Retry-After`, and no other response has one.
    pub(crate) async fn ask(&mut self, method: Method, path: &str, token: &str) -> String {
        let mut request = get(path, token);
        *request.method_mut() = method;
        let answer = tokio::time::timeout(ANSWERS_WITHIN, self.0.send(request)).await;
        let answer = answer.expect("a response in bounded time");
        let answer = answer.expect("an open connection");
        assert!(answer.whole, "{answer:?}");
        let come_again = answer.headers.get("retry-after");
        let is_unavailable = answer.status == StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(
            come_again.is_some_and(|secs| secs == "1"),
            is_unavailable,
            "{answer:?}"
        );
        answer.verdict()
    }

    pub(crate) async fn orders(&mut self, token: &str) -> String {
        self.ask(Method::GET, "/orders", token).await
    }

    pub(crate) async fn invoice(&mut self, token: &str) -> String {
        self.ask(Method::GET, "/invoice", token).await
    }

    /// Waits until the token stays rejected; every other response meanwhile must be one of these.
    pub(crate) async fn is_rejected(&mut self, token: &str, meanwhile: &[&str]) {
        self.is_rejected_at("/orders", token, meanwhile).await;
    }

    pub(crate) async fn is_rejected_at(&mut self, path: &str, token: &str, meanwhile: &[&str]) {
        let rejected = async {
            loop {
                let verdict = self.ask(Method::GET, path, token).await;
                if verdict == SPENT {
                    break;
                }
                assert!(meanwhile.contains(&verdict.as_str()), "{verdict}");
            }
        };
        let rejected = tokio::time::timeout(IN_THE_END, rejected).await;
        rejected.expect("the token is rejected in the end");
    }
}
