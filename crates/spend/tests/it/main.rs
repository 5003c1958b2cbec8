//! Tests of the layers without sockets.

#![allow(clippy::unwrap_used, reason = "a test that stops has failed")]

mod commits;
mod layer;
mod observe;
mod paths;
mod servers;
mod shared;
mod support;
