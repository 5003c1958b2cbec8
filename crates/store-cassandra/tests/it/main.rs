//! Tests that need no server.

mod opening;
