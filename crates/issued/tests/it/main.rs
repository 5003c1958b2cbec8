//! Tests of issuing opaque tokens, and of their verifier.

#![allow(clippy::unwrap_used, reason = "a test that stops has failed")]

mod issuing;
mod layer;
mod outage;
mod support;
mod verifying;
