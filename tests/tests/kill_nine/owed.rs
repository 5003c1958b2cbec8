//! Kills a process between its responses and the calls of the authorization server: each token that a
//! whole response has ended is revoked at the server after the restart, and the files never hold one.

use std::{
    collections::HashSet,
    fs,
    future::pending,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tower_revoke_testing::{TestAlgorithm, TestIssuer, rounds};
use tower_revoke_tests::{Client, Wire, get, node, program::Program};

/// Calls without an answer when the process is killed.
const CLIENTS: u64 = 8;

/// The longest life of a process, in answers.
const LIFE: u64 = 60;

/// What the authorization server does.
const HANGS: u8 = 0;
/// By turns it fails and revokes.
const STUTTERS: u8 = 1;
const REVOKES: u8 = 2;

/// An authorization server, and the tokens that it has revoked.
struct Server {
    mode: AtomicU8,
    revoked: Mutex<HashSet<String>>,
    count: watch::Sender<usize>,
}

impl Server {
    async fn start() -> (Arc<Self>, SocketAddr) {
        let server = Arc::new(Self {
            mode: AtomicU8::new(HANGS),
            revoked: Mutex::default(),
            count: watch::Sender::new(0),
        });
        let router = Router::new().route("/revoke", post(revoke));
        let router = router.with_state(server.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        (server, address)
    }

    fn revoke(&self, token: String) {
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.insert(token);
        let count = revoked.len();
        // Who waits for the count takes the locks in the other order.
        drop(revoked);
        self.count.send_modify(|last| *last = count.max(*last));
    }

    /// Waits until the server has revoked all these tokens.
    async fn has_revoked(&self, tokens: &[String]) {
        let is_there = |_: &usize| {
            let revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.iter().all(|token| revoked.contains(token))
        };
        let mut count = self.count.subscribe();
        count.wait_for(is_there).await.expect("a server");
    }
}

async fn revoke(State(server): State<Arc<Server>>, form: String) -> StatusCode {
    let token = form_urlencoded::parse(form.as_bytes())
        .find_map(|(name, value)| (name == "token").then(|| value.into_owned()))
        .expect("a token");
    let is_even = server.count.borrow().is_multiple_of(2);
    match server.mode.load(Ordering::SeqCst) {
        HANGS => pending().await,
        STUTTERS if is_even => {
            server.revoke(token);
            return StatusCode::OK;
        }
        STUTTERS => return StatusCode::INTERNAL_SERVER_ERROR,
        _ => {}
    }
    server.revoke(token);
    StatusCode::OK
}

#[tokio::test(flavor = "multi_thread")]
async fn every_owed_revocation_reaches_the_server_after_the_restart() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let issuer = TestIssuer::with(node::ISSUER, TestAlgorithm::ES256);
    let folder = TempDir::new().expect("a temp dir");
    let keys = folder.path().join("keys.json");
    issuer.write_jwks(&keys).expect("a file in the temp dir");
    let (server, address) = Server::start().await;
    let start = |store: &Path| {
        Program::start("outbox-node", |command| {
            command.args([store, &keys]);
            command.arg(format!("http://{address}/revoke"));
        })
    };
    let (mut all, mut late) = (0, 0);
    for round in 0..rounds(10, 100) {
        let store = folder.path().join(format!("revocations-{round}"));
        // Mostly nothing is delivered before the kill.
        let mode = [HANGS, HANGS, HANGS, STUTTERS][random.usize(0..4)];
        server.mode.store(mode, Ordering::SeqCst);
        let life = random.u64(1..LIFE);
        let mut process = start(&store);
        let at = process.address("listening on ").await;
        let ended = calls_until_killed(&issuer, &process, at, life).await;
        drop(process);
        for token in ended.iter().take(2) {
            check_files(&store, token);
        }
        let before = *server.count.borrow();
        server.mode.store(REVOKES, Ordering::SeqCst);
        let _process = start(&store);
        let wait = server.has_revoked(&ended);
        let in_time = tokio::time::timeout(std::time::Duration::from_secs(120), wait).await;
        assert!(
            in_time.is_ok(),
            "an owed revocation was lost in round {round}"
        );
        all += ended.len();
        late += *server.count.borrow() - before;
    }
    println!("{all} tokens were ended by whole responses; {late} were sent after a restart");
    assert!(late > 0);
}

/// Kills the process after so many answers, with further calls on their way. Returns the tokens that
/// whole responses have ended.
async fn calls_until_killed(
    issuer: &TestIssuer,
    process: &Program,
    at: SocketAddr,
    life: u64,
) -> Vec<String> {
    let (answered, mut answers) = mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (issuer, answered) = (issuer.clone(), answered.clone());
        let mut client = Client::connect(at, Wire::Http1).await;
        clients.spawn(async move {
            for call in number.. {
                let token = node::access_token(&issuer, node::CLIENTS[0].0, "grant");
                let path = ["/invoice", "/report"][usize::from(call % 2 == 1)];
                let Ok(answer) = client.send(get(path, &token)).await else {
                    return;
                };
                if !answer.whole {
                    return;
                }
                assert_eq!(answer.status, 200, "{answer:?}");
                if answered.send(token).is_err() {
                    return;
                }
            }
        });
    }
    drop(answered);
    let mut ended = Vec::new();
    while let Some(token) = answers.recv().await {
        ended.push(token);
        if ended.len() as u64 == life {
            process.kill();
        }
    }
    clients.join_all().await;
    ended
}

/// Asserts that no file has the header, the claims or the signature of the token.
fn check_files(folder: &Path, token: &str) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            check_files(&path, token);
            continue;
        }
        let bytes = fs::read(&path).expect("a file");
        // The journal has reserved more than was written.
        let written = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        for part in token.split('.') {
            let part = &part.as_bytes()[part.len().saturating_sub(24)..];
            let mut windows = bytes[..written].windows(part.len());
            assert!(!windows.any(|window| window == part), "{path:?}");
        }
    }
}
