//! The status of a token, cached beside the token.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The last answer "valid" of a list about one token, so that the next request needs no look-up. No
/// other answer is ever kept here.
#[derive(Debug, Default)]
pub struct CachedStatus {
    /// The list's version when it was asked, plus one; 0 if it never was.
    version: AtomicU64,
    asked_at_millis: AtomicU64,
}

impl CachedStatus {
    /// Keeps a good answer. `version` and `asked_at`, the clock's uptime, must have been read
    /// *before* the store was asked, in any order.
    pub fn keep(&self, version: u64, asked_at: Duration) {
        let millis = u64::try_from(asked_at.as_millis()).unwrap_or(u64::MAX);
        self.asked_at_millis.store(millis, Ordering::Release);
        self.version
            .store(version.wrapping_add(1), Ordering::Release);
    }

    /// Returns whether no good answer was kept so far.
    pub fn is_empty(&self) -> bool {
        self.version.load(Ordering::Relaxed) == 0
    }

    /// Returns the uptime at which the list was asked, if its version is still `version`.
    ///
    /// Writers may overlap, so this may be the time of another good answer, but never of one that
    /// was asked for before the version was read.
    pub fn asked_at(&self, version: u64) -> Option<Duration> {
        (self.version.load(Ordering::Acquire) == version.wrapping_add(1))
            .then(|| Duration::from_millis(self.asked_at_millis.load(Ordering::Acquire)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_answer_is_kept_under_its_version() {
        let status = CachedStatus::default();
        assert!(status.is_empty());
        assert_eq!(status.asked_at(3), None);
        let asked_at = Duration::from_millis(7);
        status.keep(3, asked_at);
        assert!(!status.is_empty());
        assert_eq!(status.asked_at(3), Some(asked_at));
        assert_eq!(status.asked_at(4), None);
    }
}
