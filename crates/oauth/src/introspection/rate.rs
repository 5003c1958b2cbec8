//! Limits how often the server is asked about unknown tokens.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Admits a number of events in each second, all of them at once if they come so.
#[derive(Debug)]
pub(super) struct Rate {
    interval: Duration,
    /// The uptime at which the events that were admitted are all paid for.
    paid_at: Mutex<Duration>,
}

const SECOND: Duration = Duration::from_secs(1);

impl Rate {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            interval: SECOND / per_second.max(1),
            paid_at: Mutex::default(),
        }
    }

    /// Returns whether an event is admitted now.
    pub(super) fn admits(&self, uptime: Duration) -> bool {
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = uptime.max(*paid_at) + self.interval;
        let is_admitted = next <= uptime + SECOND;
        if is_admitted {
            *paid_at = next;
        }
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_than_the_rate_after_a_burst() {
        let rate = Rate::new(10);
        let admitted = |millis| rate.admits(Duration::from_millis(millis));
        let count = |millis| (0..100).filter(|_| admitted(millis)).count();
        assert_eq!(count(0), 10);
        assert_eq!(count(99), 0);
        assert_eq!(count(100), 1);
        assert_eq!(count(600), 5);
        assert_eq!(count(60_000), 10);
    }
}
