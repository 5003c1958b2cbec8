//! Tests of the store through its public API.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod opening;
