//! What the client of RFC 7009 promises: over sockets, and with time held still.

#![allow(clippy::unwrap_used, reason = "a test that stops has failed")]

mod discovery;
mod life;
mod support;
mod timing;
mod wire;
