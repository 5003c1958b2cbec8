//! The store of one file, as its user sees it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod opening;
