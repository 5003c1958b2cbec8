//! What the store does without a server.

mod opening;
