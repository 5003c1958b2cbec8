//! The program: serves, prints commands to try, and stops on SIGTERM or Ctrl-C.
//!
//! Usage: `cargo run -p tonic-service [-- ADDRESS]`.

#![expect(clippy::print_stdout, reason = "it says where it is")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use axum::Router;
use example_issuer::Issuer;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tonic_service::App;
use tower_revoke::{MonitorDashboard, RevocationList, core::BoxError};

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let Ok(address) = address.parse::<SocketAddr>() else {
        println!("unknown argument `{address}`; try: cargo run -p tonic-service [-- ADDRESS]");
        return Ok(ExitCode::from(2));
    };
    let issuer = Issuer::start().await?;
    println!("issuer: {}", issuer.url());
    let socket = TcpListener::bind(address).await?;
    let address = socket.local_addr()?;

    let app = App::new(RevocationList::in_memory());
    // Who calls what is for operators: no port of the service shows it, and loopback is guard enough here.
    let dashboard = MonitorDashboard::unprotected(app.monitor().clone());
    let loopback = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let counts = loopback.local_addr()?;
    tokio::spawn(
        async move { axum::serve(loopback, Router::new().fallback_service(dashboard)).await },
    );
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    println!("counting on http://{counts}");
    println!("listening on http://{address}");
    print_lines(issuer.url(), address, counts);
    let stopped = app.serve(socket, issuer.url(), stop).await?;
    println!("stopped: {stopped}");
    Ok(ExitCode::SUCCESS)
}

fn print_lines(issuer: &str, at: SocketAddr, counts: SocketAddr) {
    println!(
        r#"
# is it up, and what is counted: in a browser, http://{counts}/
curl -s -w '%{{http_code}}\n' http://{at}/ready
curl -s -w '\n' http://{counts}/usage.json
curl -s http://{counts}/metrics

# gRPC with nothing but curl. No token: grpc-status 16, before any message is read
grpc() {{ curl -s --http2-prior-knowledge -X POST -D - -H 'content-type: application/grpc' -H 'te: trailers' -o /dev/null http://{at}/orders.v1.Orders/Place "$@"; }}
grpc

# a token is good for one call, and buys one tea: grpc-status 0 in the trailers, then 16 without any
TOKEN=$(curl -s -X POST "{issuer}/token?scope=orders")
printf '\0\0\0\0\7\12\3tea\20\1' | grpc -H "Authorization: Bearer $TOKEN" --data-binary @-
grpc -H "Authorization: Bearer $TOKEN"

# without the scope `orders`: 7
TOKEN=$(curl -s -X POST "{issuer}/token")
grpc -H "Authorization: Bearer $TOKEN"

# a token that is ended by HTTP has ended for gRPC too: 16
TOKEN=$(curl -s -X POST "{issuer}/token?scope=orders")
curl -s -X POST -H "Authorization: Bearer $TOKEN" http://{at}/logout
grpc -H "Authorization: Bearer $TOKEN""#
    );
}
