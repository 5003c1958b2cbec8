//! The suites of this crate find what they are there to find.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod conformance;
mod minimal_store;
