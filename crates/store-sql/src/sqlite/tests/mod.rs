//! Tests that look inside: the conformance suite, what is kept, and what becomes of its room.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod conformance;
mod keeping;
