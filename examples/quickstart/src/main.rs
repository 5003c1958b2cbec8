//! The lifecycle of a token over real sockets, in one command.
//!
//! `cargo run -p quickstart` runs all steps, prints them, and exits with 0 if every result was as
//! expected, else with 1. `cargo run -p quickstart -- serve` keeps the servers running and prints
//! `curl` commands to try.

#![expect(clippy::print_stdout, reason = "it tells a story")]

mod api;
mod client;
mod story;

use std::{net::SocketAddr, process::ExitCode};

use axum::Router;
use example_issuer::Issuer;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tower_revoke::{Monitor, MonitorDashboard, RevocationList, core::BoxError};
use tower_revoke_store_embedded::EmbeddedStore;

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let serve = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("serve") => true,
        Some(other) => {
            println!("unknown argument `{other}`; try: cargo run -p quickstart [-- serve]");
            return Ok(ExitCode::from(2));
        }
    };
    let scene = Scene::set().await?;
    if serve {
        print_curl_lines(&scene);
        tokio::signal::ctrl_c().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let as_promised = story::tell(&scene).await?;
    Ok(if as_promised {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The servers, on free loopback ports: the issuer, the API, and the backends behind it.
struct Scene {
    issuer: Issuer,
    api_at: SocketAddr,
    /// Over a store in a folder, which is deleted at the end.
    list: RevocationList,
    _folder: TempDir,
    monitor: Monitor,
    /// What the monitor counts, for operators: no port of the API shows it.
    monitor_at: SocketAddr,
}

impl Scene {
    async fn set() -> Result<Self, BoxError> {
        let issuer = Issuer::start().await?;
        let backend_at = start(api::backend()).await?;
        let stranger_at = start(api::backend()).await?;
        let folder = tempfile::tempdir()?;
        let store = EmbeddedStore::open(folder.path().join("revocations"))?;
        let list = RevocationList::new(store);
        let monitor = Monitor::new();
        monitor.add_health(list.clone());
        // Loopback is guard enough here.
        let dashboard = MonitorDashboard::unprotected(monitor.clone());
        let api = api::router(
            issuer.url(),
            list.clone(),
            &monitor,
            backend_at,
            stranger_at,
        )?;
        Ok(Self {
            issuer,
            api_at: start(api).await?,
            list,
            _folder: folder,
            monitor,
            monitor_at: start(Router::new().fallback_service(dashboard)).await?,
        })
    }
}

async fn start(router: Router) -> Result<SocketAddr, BoxError> {
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let addr = socket.local_addr()?;
    tokio::spawn(async move { axum::serve(socket, router).await });
    Ok(addr)
}

fn print_curl_lines(scene: &Scene) {
    let Scene {
        issuer,
        api_at,
        monitor_at,
        ..
    } = scene;
    let issuer = issuer.url();
    println!(
        r#"The quickstart is up; end it with Ctrl-C. In a browser, what is counted:

http://{monitor_at}/

In another terminal:

# no token: a challenge
curl -i -w '\n' http://{api_at}/orders

# a token, as often as you like
TOKEN=$(curl -s -X POST {issuer}/token)
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" http://{api_at}/orders

# a route that spends it: 200, then 401 invalid_token, on every route
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" http://{api_at}/invoice
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" http://{api_at}/invoice
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" http://{api_at}/orders

# 50 at once with one token: one 200
TOKEN=$(curl -s -X POST {issuer}/token)
for i in $(seq 50); do curl -s -o /dev/null -w '%{{http_code}}\n' -H "Authorization: Bearer $TOKEN" http://{api_at}/invoice & done | sort | uniq -c

# the header as a named upstream sees it, and as another does
TOKEN=$(curl -s -X POST {issuer}/token)
curl -s -w '\n' -H "Authorization: Bearer $TOKEN" http://{api_at}/upstream/named
curl -s -w '\n' -H "Authorization: Bearer $TOKEN" http://{api_at}/upstream/other

# log out everywhere (a token issued within 30 s after it is rejected too)
curl -i -w '\n' -X POST -H "Authorization: Bearer $TOKEN" http://{api_at}/logout
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" http://{api_at}/orders"#
    );
}
