//! Starts the example as a program, or its routes inside the test.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use axum_router::{App, Limits, Stopped, serve};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tower_revoke::{
    BearerToken, JwtVerifier, MemoryStore, Reason, RevocationList, Tickets, core::TokenVerifier,
};
use tower_revoke_testing::{ScriptedStore, StoreScript, TestIssuer};
pub(crate) use tower_revoke_tests::{
    curl::{Reply, WIRES, call, show},
    program::Example,
};

/// The name of the program.
pub(crate) const SHOP: &str = "axum-router";

/// The same routes inside the test, over a scripted store.
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
        let memory = MemoryStore::new();
        let (store, script) = ScriptedStore::over(memory.clone());
        // Without a mirror, which would keep answering for a while after the store fails.
        let list = RevocationList::builder(store)
            .mirror_capacity(0)
            .store_timeout(Duration::from_millis(500))
            .build()
            .expect("valid settings");
        let tokens = JwtVerifier::issuer(issuer.issuer())
            .audience("orders")
            .jwks(issuer.jwks().to_string())
            .revocations(list.clone())
            .build()
            .expect("a verifier");
        let tickets = Tickets::new("events", memory, list.clone()).expect("tickets");
        let app = App::new(tokens, list, tickets, export.clone());
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

    /// Waits until the service has stopped; the shutdown must have been requested before.
    pub(crate) async fn stopped(self) -> Stopped {
        self.served.await.expect("it stops")
    }
}

/// Returns the list's reason to reject a token, or `None` if the list accepts it.
pub(crate) async fn status_of(app: &App, token: &str) -> Option<Reason> {
    let token = BearerToken::new(token).expect("a token");
    let verdict = app.tokens.verify(&token).await;
    verdict.err().map(|rejection| rejection.reason())
}
