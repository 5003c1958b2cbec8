//! Tests over sockets that live streams end with their token, as their protocol says.

#![expect(clippy::print_stdout, reason = "what was measured is printed")]

mod http;
mod keys;
mod kit;
mod monitor;
mod nodes;
mod websocket;
