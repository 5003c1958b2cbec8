//! Tests of the monitor layer through its public API.

mod clients;
mod composites;
mod contexts;
#[cfg(feature = "dashboard")]
mod dashboard;
mod evictions;
#[cfg(feature = "metrics")]
mod facade;
mod history;
mod minutes;
mod outcomes;
#[cfg(feature = "prometheus")]
mod prometheus;
mod sockets;
mod streams;
mod support;
#[cfg(feature = "tower-http")]
mod tower_http;
mod usage;
