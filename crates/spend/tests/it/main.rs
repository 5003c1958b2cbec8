//! What the layer promises, without sockets.

#![allow(clippy::unwrap_used, reason = "a test that stops has failed")]

mod layer;
mod owed;
mod paths;
mod shared;
mod support;
