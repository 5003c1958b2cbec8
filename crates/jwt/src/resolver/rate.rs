//! How often tokens may cause work.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// So many a second, and as many at once.
pub(crate) struct RateLimit {
    interval: Duration,
    /// The uptime at which everything that was allowed so far is paid for.
    paid_at: Mutex<Duration>,
}

impl RateLimit {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            paid_at: Mutex::default(),
        }
    }

    /// Whether one more is allowed now, which is then counted.
    pub(crate) fn allows(&self, uptime: Duration) -> bool {
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let after = (*paid_at).max(uptime) + self.interval;
        let is_allowed = after <= uptime + Duration::from_secs(1);
        if is_allowed {
            *paid_at = after;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_allowed_as_time_has_passed_for() {
        let rate = RateLimit::new(10);
        let at = |millis| {
            (0..100)
                .filter(|_| rate.allows(Duration::from_millis(millis)))
                .count()
        };
        assert_eq!(at(5_000), 10);
        assert_eq!(at(5_000), 0);
        assert_eq!(at(5_099), 0);
        assert_eq!(at(5_100), 1);
        assert_eq!(at(5_400), 3);
        assert_eq!(at(60_000), 10, "what was not used is not saved up");
    }
}
