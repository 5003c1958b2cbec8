//! The example, started either way, and curl to call it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use axum_router::{App, Limits, Stopped, serve};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tower_revoke::{
    BearerToken, JwtVerifier, MemoryStore, Reason, RevocationList, core::TokenVerifier,
};
use tower_revoke_testing::{ScriptedStore, StoreScript, TestIssuer};
use tower_revoke_tests::program::{Program, curl};

/// How curl speaks, in its own words.
pub(crate) const WIRES: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

/// An answer, as curl wrote it down.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status");
        Self {
            status: status.parse().expect("a number"),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// The value of a header, if it came once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|line| {
            let (given, value) = line.split_once(": ")?;
            given.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = values.next();
        assert_eq!(values.next(), None, "{name} came twice");
        value
    }

    /// Status and error code, such as `401 invalid_token`.
    pub(crate) fn verdict(&self) -> String {
        let challenge = self.header("www-authenticate").unwrap_or_default();
        let code = challenge.split("error=\"").nth(1);
        match code.and_then(|rest| rest.split('"').next()) {
            Some(code) => format!("{} {code}", self.status),
            None => self.status.to_string(),
        }
    }
}

/// Calls `http://AT/PATH`.
pub(crate) async fn call(at: SocketAddr, path: &str, more: &[&str]) -> Reply {
    let url = format!("http://{at}{path}");
    let output = curl(&[&["-i", "--globoff", &url], more].concat()).await;
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(!text.is_empty(), "{:?}", output.stderr);
    Reply::read(&text)
}

/// Calls with a token in the header.
pub(crate) async fn show(at: SocketAddr, wire: &str, path: &str, token: &str) -> Reply {
    let header = format!("Authorization: Bearer {token}");
    call(at, path, &[wire, "-H", &header]).await
}

/// The program, and the authorization server in it.
pub(crate) struct Shop {
    pub(crate) program: Program,
    pub(crate) issuer: String,
    pub(crate) at: SocketAddr,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let mut program = Program::start("axum-router", |command| {
            command.arg("127.0.0.1:0");
        });
        let issuer = program.says("issuer: ").await;
        let at = program.address("listening on ").await;
        Self {
            program,
            issuer,
            at,
        }
    }

    /// A token, by the query of the issuer's `/token`, such as `subject=ann&scope=api`.
    pub(crate) async fn token(&self, query: &str) -> String {
        let url = format!("{}/token?{query}", self.issuer);
        let output = curl(&["-f", "-X", "POST", &url]).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) async fn show(&self, wire: &str, path: &str, token: &str) -> Reply {
        show(self.at, wire, path, token).await
    }
}

/// The same routes inside the test, over a store that does what the test says.
pub(crate) struct Inside {
    pub(crate) app: App,
    pub(crate) at: SocketAddr,
    pub(crate) store: StoreScript,
    pub(crate) export: PathBuf,
    issuer: TestIssuer,
    served: JoinHandle<Stopped>,
    _files: TempDir,
}

impl Inside {
    pub(crate) async fn open(limits: Limits) -> Self {
        let files = TempDir::new().expect("a temp dir");
        let export = files.path().join("export.bin");
        let issuer = TestIssuer::new("https://id.example.com");
        let (store, script) = ScriptedStore::over(MemoryStore::new());
        // Without a mirror, which answers a while longer when the store is down.
        let list = RevocationList::builder(store)
            .mirror_limit(0)
            .answer_within(Duration::from_millis(500))
            .build();
        let tokens = JwtVerifier::issuer(issuer.issuer())
            .audience("orders")
            .jwks(issuer.jwks().to_string())
            .revocations(list.clone())
            .build()
            .expect("a verifier");
        let app = App::new(tokens, list, export.clone());
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = socket.local_addr().expect("a bound socket");
        Self {
            served: tokio::spawn(serve(socket, app.clone(), limits)),
            app,
            at,
            store: script,
            export,
            issuer,
            _files: files,
        }
    }

    pub(crate) fn token(&self, scope: &str) -> String {
        let token = self.issuer.token().audience("orders");
        token.scope(scope).sign()
    }

    /// Waits until it has stopped, as it was told before.
    pub(crate) async fn stopped(self) -> Stopped {
        self.served.await.expect("it stops")
    }
}

/// What the list says of a token: `None`, or why it is refused.
pub(crate) async fn standing(app: &App, token: &str) -> Option<Reason> {
    let token = BearerToken::new(token).expect("a token");
    let verdict = app.tokens.verify(&token).await;
    verdict.err().map(|rejection| rejection.reason())
}
