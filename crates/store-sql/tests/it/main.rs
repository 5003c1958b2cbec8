//! What the stores of a database do without a server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod settings;
#[cfg(feature = "sqlite")]
mod sqlite_opening;
