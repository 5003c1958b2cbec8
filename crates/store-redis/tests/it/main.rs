//! What the store does without a server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod opening;
