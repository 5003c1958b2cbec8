//! The status of a token, cached beside the token.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Caches the last answer of a list that one token is valid, so that the next request needs no
/// look-up. No other status is ever cached here.
#[derive(Debug, Default)]
pub struct CachedStatus {
    /// The list's version when it was queried, plus one. 0 if it never was.
    version: AtomicU64,
    asked_at_millis: AtomicU64,
}

impl CachedStatus {
    /// Caches the answer that the token is valid.
    ///
    /// `version` and `asked_at`, the clock's uptime, must have been read *before* the store was
    /// queried, in any order.
    pub fn keep(&self, version: u64, asked_at: Duration) {
        let millis = u64::try_from(asked_at.as_millis()).unwrap_or(u64::MAX);
        self.asked_at_millis.store(millis, Ordering::Release);
        self.version
            .store(version.wrapping_add(1), Ordering::Release);
    }

    /// Returns the uptime at which the store was queried, if the version is still `version`.
    ///
    /// Writers may overlap, so the time may belong to another answer, but never to one whose query
    /// began before the version was read.
    pub fn asked_at(&self, version: u64) -> Option<Duration> {
        (self.version.load(Ordering::Acquire) == version.wrapping_add(1))
            .then(|| Duration::from_millis(self.asked_at_millis.load(Ordering::Acquire)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_answer_is_cached_with_its_version() {
        let status = CachedStatus::default();
        for version in [0, 3] {
            assert_eq!(status.asked_at(version), None);
        }
        let asked_at = Duration::from_millis(7);
        status.keep(3, asked_at);
        assert_eq!(status.asked_at(3), Some(asked_at));
        assert_eq!(status.asked_at(4), None);
    }
}
