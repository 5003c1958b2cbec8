//! What the layer promises, without sockets.

mod common;
mod layer;
mod owed;
