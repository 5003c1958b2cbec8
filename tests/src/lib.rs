//! Helpers for the tests across the crates: servers and clients on real sockets, and a stack to
//! test.

pub mod acks;
pub mod chromium;
pub mod conformance;
pub mod crash;
pub mod curl;
pub mod feed;
pub mod issuing;
pub mod load;
mod net;
pub mod node;
mod process;
pub mod program;
pub mod servers;
pub mod sql;
pub mod websocket;
mod world;

pub use self::{
    net::{Answer, Client, Server, Wire, get},
    world::World,
};
