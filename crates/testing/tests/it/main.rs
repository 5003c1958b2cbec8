//! Tests that the suites of this crate catch what they must catch.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod conformance;
mod minimal_store;
