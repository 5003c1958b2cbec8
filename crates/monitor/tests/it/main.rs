//! The monitor layer by what a user sees of it.

mod clients;
mod evictions;
#[cfg(feature = "metrics")]
mod facade;
mod outcomes;
mod sockets;
mod support;
#[cfg(feature = "tower-http")]
mod tower_http;
