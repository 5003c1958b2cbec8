//! Starts the proxy as a program or inside the test, and calls it with curl.

use std::{future::Future, net::SocketAddr, time::Duration};

use example_issuer::Issuer;
use hyper_proxy::{Proxy, Upstreams};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tower_revoke::{MemoryStore, RevocationList, ShutdownReport};
use tower_revoke_testing::{ScriptedStore, StoreScript};
use tower_revoke_tests::curl::curl;
pub(crate) use tower_revoke_tests::{curl::WIRES, program::Example};

use crate::{
    raw::{Raw, Reply},
    upstream::{Act, Seen, Upstream},
};

/// The name of the program.
pub(crate) const DEMO: &str = "hyper-proxy";

/// Whether the authorization server still considers a token active.
pub(crate) async fn is_active(issuer: &str, token: &str) -> bool {
    let url = format!("{issuer}/introspect");
    let form = format!("token={token}");
    let output = curl(&["-f", "-u", "orders:secret", "-d", &form, &url]).await;
    match output.stdout.as_slice() {
        br#"{"active":true}"# => true,
        br#"{"active":false}"# => false,
        _ => panic!("{output:?}"),
    }
}

/// Waits until the token has been revoked at the authorization server.
pub(crate) async fn told(issuer: &str, token: &str) {
    let told = async { while is_active(issuer, token).await {} };
    let within = Duration::from_secs(30);
    tokio::time::timeout(within, told)
        .await
        .expect("the authorization server is told");
}

/// The proxy inside the test, with a scripted store and scripted upstreams.
pub(crate) struct Stage {
    pub(crate) at: SocketAddr,
    pub(crate) issuer: Issuer,
    pub(crate) list: RevocationList,
    pub(crate) store: StoreScript,
    pub(crate) orders: Upstream,
    pub(crate) stock: Upstream,
    pub(crate) maps: Upstream,
    stop: oneshot::Sender<()>,
    served: JoinHandle<ShutdownReport>,
}

impl Stage {
    pub(crate) async fn with(act: Act) -> Self {
        Self::set(act, Duration::from_secs(30)).await
    }

    /// Starts it with another shutdown limit.
    pub(crate) async fn set(act: Act, grace: Duration) -> Self {
        let issuer = Issuer::start().await.expect("a free port");
        let (store, script) = ScriptedStore::over(MemoryStore::new());
        // Without a mirror, which would answer for a store that fails.
        let list = RevocationList::builder(store)
            .mirror_capacity(0)
            .store_timeout(Duration::from_millis(200))
            .build()
            .expect("valid settings");
        let [orders, stock, maps] = [
            Upstream::start(act.clone()).await,
            Upstream::start(act.clone()).await,
            Upstream::start(act).await,
        ];
        let upstreams = Upstreams {
            orders: orders.addr.to_string(),
            stock: stock.addr.to_string(),
            maps: maps.addr.to_string(),
        };
        let (stop, stopped) = oneshot::channel();
        let (at, served) = serve(issuer.url(), &list, upstreams, grace, async move {
            let _ = stopped.await;
        })
        .await;
        Self {
            at,
            issuer,
            list,
            store: script,
            orders,
            stock,
            maps,
            stop,
            served,
        }
    }

    /// Issues a token with this scope.
    pub(crate) fn token(&self, scope: &str) -> String {
        self.issuer.token().audience("orders").scope(scope).sign()
    }

    /// Shuts the proxy down and waits for all its connections to end; returns what the upstreams
    /// received.
    pub(crate) async fn end(self) -> Seen3 {
        let (stop, served) = (self.stop, self.served);
        let _ = stop.send(());
        let drained = served.await.expect("the server ends cleanly");
        for upstream in [&self.orders, &self.stock, &self.maps] {
            upstream.is_alone().await;
        }
        Seen3 {
            orders: self.orders.seen(),
            stock: self.stock.seen(),
            maps: self.maps.seen(),
            drained,
        }
    }

    /// Requests the shutdown without waiting for it.
    pub(crate) fn stop(self) -> (JoinHandle<ShutdownReport>, Upstream, Issuer, RevocationList) {
        let _ = self.stop.send(());
        (self.served, self.orders, self.issuer, self.list)
    }

    /// Sends these bytes, in which `TOKEN` stands for a valid token; returns the connection and the
    /// first response.
    pub(crate) async fn send(&self, request: &str) -> (Raw, Reply) {
        let request = request.replace("TOKEN", &self.token("proxy"));
        let mut raw = Raw::send(self.at, request).await;
        let reply = raw.reply().await;
        (raw, reply)
    }
}

/// The messages that the upstreams received, read after the shutdown.
pub(crate) struct Seen3 {
    pub(crate) orders: Vec<Seen>,
    pub(crate) stock: Vec<Seen>,
    pub(crate) maps: Vec<Seen>,
    pub(crate) drained: ShutdownReport,
}

impl Seen3 {
    /// Returns the only request that arrived, which is at `/orders` and has one `Authorization`
    /// header.
    pub(crate) fn one(&self) -> &Seen {
        assert!(self.stock.is_empty() && self.maps.is_empty());
        assert_eq!(self.orders.len(), 1, "{:#?}", self.orders);
        let seen = &self.orders[0];
        assert!(seen.is_whole, "{seen:#?}");
        assert_eq!(seen.all("authorization").len(), 1, "{seen:#?}");
        seen
    }

    /// Asserts that no upstream received anything.
    pub(crate) fn none(&self) {
        let all = [&self.orders, &self.stock, &self.maps];
        assert!(all.iter().all(|seen| seen.is_empty()), "{all:#?}");
    }
}

/// Serves on a free port.
pub(crate) async fn serve(
    issuer: &str,
    list: &RevocationList,
    upstreams: Upstreams,
    grace: Duration,
    stop: impl Future<Output = ()> + Send + 'static,
) -> (SocketAddr, JoinHandle<ShutdownReport>) {
    let proxy = Proxy::new(issuer, list.clone(), upstreams).expect("a proxy");
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = socket.local_addr().expect("a bound socket");
    (at, tokio::spawn(proxy.serve(socket, grace, stop)))
}
