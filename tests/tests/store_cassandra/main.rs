//! Tests the Cassandra store on real servers.

mod conformance;
mod contention;
mod crash;
mod feed;
mod opening;
mod purge;
mod tools;
