//! Tests the Cassandra store on real servers.

mod conformance;
mod contention;
mod crash;
mod opening;
mod tools;
