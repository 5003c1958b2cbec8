//! Tests of the layer through its public API.

#![allow(clippy::unwrap_used, reason = "a test that stops has failed")]

mod body;
mod compile_time;
mod early;
mod limits;
mod readiness;
mod support;
