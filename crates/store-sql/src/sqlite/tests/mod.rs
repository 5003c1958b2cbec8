//! Tests that use internals: the conformance suite, what is stored, and the space that a purge
//! frees.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod conformance;
mod keeping;
