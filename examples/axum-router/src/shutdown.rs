//! Serving until told to stop, and stopping so that no token is left undecided.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use axum::serve::ListenerExt;
use tokio::{net::TcpListener, time::timeout};

use crate::{App, router};

/// How long running calls may take. No token that ends with its response outlives it: it is the
/// deadline of those too.
pub(crate) const CALLS_END_WITHIN: Duration = Duration::from_secs(10);

/// What a shutdown waits for, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For running calls to end.
    pub calls: Duration,
    /// Then, for what is owed to be written down.
    pub owed: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: CALLS_END_WITHIN,
            owed: Duration::from_secs(5),
        }
    }
}

/// How the shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Whether all calls ended by themselves; the others are cut off with the program.
    pub all_calls_ended: bool,
    /// How many revocations could not be written down.
    pub owed: u32,
}

impl Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = match self.all_calls_ended {
            true => "all calls ended",
            false => "some calls were cut off",
        };
        match self.owed {
            0 => write!(f, "{calls}, nothing is owed"),
            owed => write!(f, "{calls}, still owed: {owed}"),
        }
    }
}

/// Serves until `app.stopping` is cancelled; then takes no more calls, lets those that run come to
/// their end, and waits until every token that they were to end is written down.
pub async fn serve(socket: TcpListener, app: App, limits: Limits) -> Stopped {
    let (slots, stopping) = (app.slots.clone(), app.stopping.clone());
    // Else the last bytes of a response, which wait for the store, wait for the client's
    // acknowledgement of the others too (Nagle's algorithm).
    let socket = socket.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let server =
        axum::serve(socket, router(app)).with_graceful_shutdown(stopping.clone().cancelled_owned());
    let server = tokio::spawn(server.into_future());
    stopping.cancelled().await;
    let all_calls_ended = timeout(limits.calls, server).await.is_ok();
    let owed = match timeout(limits.owed, slots.idle()).await {
        Ok(()) => 0,
        Err(_) => slots.len(),
    };
    Stopped {
        all_calls_ended,
        owed,
    }
}
