//! The program: starts a test authorization server and the API, and prints commands to try.
//!
//! Usage: `cargo run -p axum-router [-- ADDRESS]`. The address defaults to 127.0.0.1:3000.

#![expect(clippy::print_stdout, reason = "it tells how to call it")]

use std::{io, net::SocketAddr, process::ExitCode};

use axum_router::{App, Limits, serve, write_export};
use example_issuer::Issuer;
use tokio::net::{TcpListener, TcpSocket};
use tower_revoke::{JwtVerifier, MemoryStore, RevocationList, Tickets, core::BoxError};
use tracing::Level;

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let address = match address(std::env::args().skip(1)) {
        Ok(address) => address,
        Err(unknown) => {
            println!(
                "unknown argument `{unknown}`; try: cargo run -p axum-router [-- 127.0.0.1:3000]"
            );
            return Ok(ExitCode::from(2));
        }
    };
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(Level::INFO)
        .init();

    let issuer = Issuer::start().await?;
    println!("issuer: {}", issuer.url());
    let files = tempfile::tempdir()?;
    let export = files.path().join("export.bin");
    write_export(&export)?;

    let store = MemoryStore::new();
    let list = RevocationList::new(store.clone());
    let tickets = Tickets::new("events", store, list.clone())?;
    let tokens = JwtVerifier::discover(issuer.url())
        .audience("orders")
        .revocations(list.clone())
        .build()?;
    let app = App::new(tokens, list, tickets, export);

    let stopping = app.stopping.clone();
    let signal = stop_signal()?;
    tokio::spawn(async move {
        signal.await;
        stopping.cancel();
    });
    let socket = listen(address)?;
    let api = format!("http://{}", socket.local_addr()?);
    println!("listening on {api}\n");
    println!(
        "ISSUER={}\nAPI={api}\n{}",
        issuer.url(),
        include_str!("../try.sh")
    );
    let stopped = serve(socket, app, Limits::default()).await;
    println!("stopped: {stopped}");
    Ok(match stopped.owed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn address(mut arguments: impl Iterator<Item = String>) -> Result<SocketAddr, String> {
    let address = match arguments.next() {
        None => SocketAddr::from(([127, 0, 0, 1], 3000)),
        Some(argument) => argument.parse().map_err(|_| argument)?,
    };
    match arguments.next() {
        None => Ok(address),
        Some(unknown) => Err(unknown),
    }
}

/// Binds like `TcpListener::bind`, with a larger backlog: its default is 128 connections, and a
/// burst of callers beyond that is turned away.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Lets a restart bind while old connections are in TIME_WAIT.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4_096)
}

/// Returns a future of SIGINT or SIGTERM. The handlers are installed at once.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        // If Ctrl-C can't be handled, the program is ended by other means.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
