//! The locks of the memory store and of the watchers, in one place so that a test can replace them
//! by shuttle's.

pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

/// The number of shards, enough that cores rarely contend. The test under shuttle uses fewer, to
/// keep the number of schedules small.
pub(crate) const SHARDS: usize = 64;
