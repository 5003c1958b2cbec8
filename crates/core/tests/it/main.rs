//! The end-of-body hook and the log of rejections, as another crate sees them.

#![allow(clippy::unwrap_used, reason = "a test that stops has failed")]

mod end;
mod log;
