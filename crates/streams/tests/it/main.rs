//! Tests of the layers through their public API.

#![allow(clippy::unwrap_used, reason = "a test that stops has failed")]

mod body;
mod compile_time;
mod events;
mod grpc;
mod lifetime;
mod readiness;
mod support;
mod upgrades;
mod versions;
