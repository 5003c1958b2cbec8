//! Tests over sockets that live streams end with their token, as their protocol says.

#![expect(clippy::print_stdout, reason = "what was measured is printed")]

mod browser;
mod http;
mod keys;
mod kit;
mod monitor;
mod nodes;
mod outages;
mod websocket;
