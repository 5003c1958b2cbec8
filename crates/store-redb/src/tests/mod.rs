//! Tests of internals: the conformance suite, disk failures, retention and staging.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod conformance;
mod failing;
mod keeping;
mod staging;
