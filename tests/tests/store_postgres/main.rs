//! Tests the PostgreSQL store on real servers.

#![expect(clippy::print_stdout, reason = "what was measured is printed")]

mod conformance;
mod crash;
mod feed;
mod followers;
mod keeping;
mod opening;
mod pool;
mod snapshot;
mod stalled;
mod standby;
mod unfit;
