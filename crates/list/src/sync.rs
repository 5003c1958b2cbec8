//! The locks of the memory store in one place, so that a test can compile it over shuttle's.

pub(crate) use std::sync::{Mutex, MutexGuard};

/// Enough that cores seldom meet. A scheduler that walks every order wants few.
pub(crate) const SHARDS: usize = 64;
