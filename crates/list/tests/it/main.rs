//! Tests of the list and the memory store through the public API.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(unreachable_pub, reason = "the modules of a test are all private")]

mod api;
mod audit;
mod conformance;
mod fail_closed;
mod further_keys;
mod memory;
mod mirror;
mod model;
mod operators;
mod purge;
mod retention;
mod simulation;
mod staleness;
mod support;
mod under_load;
mod watch;
mod watch_tending;
