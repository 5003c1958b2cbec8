//! Tests that need no server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod settings;
#[cfg(feature = "sqlite")]
mod sqlite_opening;
