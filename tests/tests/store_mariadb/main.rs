//! Tests the store for MariaDB and MySQL on real MariaDB servers.

mod conformance;
mod crash;
mod feed;
mod keeping;
mod opening;
mod pool;
mod stalled;
mod tools;
mod unfit;
