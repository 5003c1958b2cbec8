//! Tests the end-of-body hook and the log of rejections through the public API.

#![allow(clippy::unwrap_used, reason = "a test that stops has failed")]

mod end;
mod log;
