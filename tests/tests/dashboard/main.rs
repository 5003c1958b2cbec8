//! Tests the page of a monitor in a real browser.

mod failures;
mod hostile;
mod kit;
mod looks;
mod operate;
