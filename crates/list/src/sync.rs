//! The locks of the memory store in one place, so that a test can compile it over shuttle's.

pub(crate) use std::sync::{Mutex, MutexGuard};
