//! Tests of the RFC 7009 client, over sockets and with paused time.

#![allow(clippy::unwrap_used, reason = "a test that stops has failed")]

mod discovery;
mod introspection;
mod life;
mod outbox;
mod sick;
mod support;
mod timing;
mod wire;
