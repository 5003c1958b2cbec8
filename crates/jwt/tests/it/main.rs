//! Tests the verifier through its public API.
#![cfg(feature = "aws-lc-rs")]
#![allow(clippy::unwrap_used, reason = "this is a test")]
#![allow(unreachable_pub, reason = "the modules of a test are all private")]

mod build;
mod claim_names;
mod claim_values;
mod keys;
mod list;
mod oracle;
#[cfg(feature = "remote")]
mod providers;
#[cfg(feature = "remote")]
mod remote;
#[cfg(feature = "remote")]
mod remote_sockets;
#[cfg(feature = "remote")]
mod resolver;
mod rfc;
mod support;
mod traps;
mod verifier_set;
