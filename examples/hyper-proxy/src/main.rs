//! The program: serves, prints commands to try, and stops on SIGTERM or Ctrl-C.
//!
//! Usage: `cargo run -p hyper-proxy [-- ADDRESS]`.

#![expect(clippy::print_stdout, reason = "it says where it is")]

mod demo;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use example_issuer::Issuer;
use hyper_proxy::{Proxy, Upstreams};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tower_revoke::{RevocationList, core::BoxError};

/// The time limit of each step of a shutdown: running calls, pending revocations, and their reports
/// to the authorization server.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let Ok(address) = address.parse::<SocketAddr>() else {
        println!("unknown argument `{address}`; try: cargo run -p hyper-proxy [-- ADDRESS]");
        return Ok(ExitCode::from(2));
    };
    let issuer = Issuer::start().await?;
    println!("issuer: {}", issuer.url());
    let upstreams = Upstreams {
        orders: demo::backend().await?.to_string(),
        stock: demo::backend().await?.to_string(),
        maps: demo::backend().await?.to_string(),
    };
    let proxy = Proxy::new(issuer.url(), RevocationList::in_memory(), upstreams)?;
    let socket = TcpListener::bind(address).await?;
    let address = socket.local_addr()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    println!("listening on http://{address}");
    demo::print_lines(issuer.url(), address);
    let drained = proxy.serve(socket, GRACE, stop).await;
    println!(
        "stopped: {} told at the end, {} left untold",
        drained.delivered, drained.queued
    );
    Ok(ExitCode::SUCCESS)
}
