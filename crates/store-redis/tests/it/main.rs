//! Tests that need no server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod opening;
