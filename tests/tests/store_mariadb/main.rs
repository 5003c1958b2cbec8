//! The store for MariaDB and MySQL on real servers of MariaDB.

mod conformance;
mod crash;
mod feed;
mod keeping;
mod opening;
mod pool;
mod stalled;
mod tools;
