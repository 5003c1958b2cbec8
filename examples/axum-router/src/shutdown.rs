//! Serving, and a graceful shutdown that leaves no revocation unwritten.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use axum::serve::ListenerExt;
use tokio::{net::TcpListener, time::timeout};

use crate::{App, router};

/// How long running calls may take to end.
///
/// It is also the deadline of tokens that are revoked after their response, so that none of these
/// is still pending when the calls are cut off.
pub(crate) const CALLS_END_WITHIN: Duration = Duration::from_secs(10);

/// The time limits of a shutdown.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long to wait for running calls to end.
    pub calls: Duration,
    /// How long to wait then for pending revocations to be written.
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

/// The result of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Whether all calls ended in time. Others are cut off when the program exits.
    pub all_calls_ended: bool,
    /// How many pending revocations could not be written.
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

/// Serves until `app.stopping` is cancelled, then shuts down gracefully.
///
/// A shutdown accepts no more calls, waits for running ones to end, and then for the revocations
/// that they have caused.
pub async fn serve(socket: TcpListener, app: App, limits: Limits) -> Stopped {
    let (pending, stopping) = (app.pending.clone(), app.stopping.clone());
    // Nagle's algorithm would hold back the last bytes of a response, which wait for the store,
    // until the client has acknowledged all bytes before them.
    let socket = socket.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let server =
        axum::serve(socket, router(app)).with_graceful_shutdown(stopping.clone().cancelled_owned());
    let server = tokio::spawn(server.into_future());
    stopping.cancelled().await;
    let all_calls_ended = timeout(limits.calls, server).await.is_ok();
    let owed = pending.shutdown(limits.owed).await.pending;
    Stopped {
        all_calls_ended,
        owed,
    }
}
