//! Tests that look inside: the conformance suite, and what happens when the disk fails.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod conformance;
mod failing;
mod keeping;
mod staging;
