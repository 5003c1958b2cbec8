//! Tests the Redis store on real servers: a single one, Sentinel, and a cluster.

#![expect(clippy::print_stdout, reason = "what a fail-over lost is printed")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod cluster;
mod conformance;
mod crash;
mod feed;
mod freshness;
mod opening;
mod sentinel;
mod uses;
