//! Tests the PostgreSQL store on real servers.

mod conformance;
mod crash;
mod feed;
mod keeping;
mod opening;
mod pool;
mod snapshot;
mod stalled;
mod standby;
mod unfit;
