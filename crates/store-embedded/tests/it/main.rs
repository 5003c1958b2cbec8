//! The store of one folder, as its user sees it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod opening;
