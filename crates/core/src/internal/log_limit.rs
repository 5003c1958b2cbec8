//! Limits how often a recurring event is logged.
//!
//! The time is a parameter, so that tests control it.
//!
//! ```
//! use std::time::Duration;
//! use tower_revoke_core::internal::LogLimit;
//!
//! let rejected = LogLimit::default();
//! let lines = (0..180).filter_map(|secs| rejected.count(Duration::from_secs(secs), 1));
//! assert_eq!(lines.collect::<Vec<_>>(), [1, 60, 60]);
//! ```

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The time window of the limits.
const MINUTE: Duration = Duration::from_secs(60);

/// How many starts of an outage are logged in a minute, so that occasional failures don't flood the
/// log.
const BEGINNINGS: u32 = 3;

/// Allows one log line a minute, and counts the events that are not logged.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<Window>);

impl LogLimit {
    /// Counts `events`. If a line is due, returns the number of events since the last line.
    pub fn count(&self, uptime: Duration, events: u64) -> Option<u64> {
        lock(&self.0).count(uptime, events, 1)
    }
}

/// As [`LogLimit`], for a resource that works or fails. Logs both transitions, and once a minute
/// that the resource still fails.
#[derive(Debug, Default)]
pub struct OutageLog {
    /// Whether the last line reports a failure.
    is_logged: AtomicBool,
    window: Mutex<Window>,
}

impl OutageLog {
    /// Counts a failure. If a line is due, returns the number of failures since the last line.
    pub fn failed(&self, uptime: Duration) -> Option<u64> {
        let mut window = lock(&self.window);
        let at_most = match self.is_logged.load(Ordering::Relaxed) {
            true => 1,
            false => BEGINNINGS,
        };
        let failures = window.count(uptime, 1, at_most)?;
        self.is_logged.store(true, Ordering::Relaxed);
        Some(failures)
    }

    /// Returns whether to log the recovery: on the first success after a logged failure.
    pub fn works(&self) -> bool {
        // A plain load first, since this runs on each success and a swap would contend.
        self.is_logged.load(Ordering::Relaxed) && self.is_logged.swap(false, Ordering::Relaxed)
    }
}

/// A window of one minute, which begins with its first line.
#[derive(Debug, Default)]
struct Window {
    began: Option<Duration>,
    lines: u32,
    not_logged: u64,
}

impl Window {
    fn count(&mut self, uptime: Duration, events: u64, at_most: u32) -> Option<u64> {
        self.not_logged = self.not_logged.saturating_add(events);
        if self.not_logged == 0 {
            return None;
        }
        let is_over = |began| uptime.saturating_sub(began) >= MINUTE;
        if self.began.is_none_or(is_over) {
            self.began = Some(uptime);
            self.lines = 0;
        }
        if self.lines >= at_most {
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.not_logged))
    }
}

fn lock(window: &Mutex<Window>) -> MutexGuard<'_, Window> {
    window.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// TRAPS 48.
    #[test]
    fn trap_48_one_line_a_minute_counts_the_others() {
        let line = LogLimit::default();
        assert_eq!(line.count(secs(5), 1), Some(1));
        assert_eq!(line.count(secs(6), 1), None);
        assert_eq!(line.count(secs(64), 3), None);
        assert_eq!(line.count(secs(65), 1), Some(5));
        assert_eq!(line.count(secs(500), 0), None);
        assert_eq!(line.count(secs(500), 1), Some(1));
    }

    /// TRAPS 48.
    #[test]
    fn trap_48_an_outage_is_logged_when_it_begins_and_ends() {
        let store = OutageLog::default();
        assert!(!store.works());
        assert_eq!(store.failed(secs(0)), Some(1));
        assert_eq!(store.failed(secs(1)), None);
        assert_eq!(store.failed(secs(61)), Some(2));
        assert!(store.works());
        assert!(!store.works());
        // A new outage within the same minute.
        assert_eq!(store.failed(secs(70)), Some(1));
        assert!(store.works());
    }

    /// TRAPS 48: half of all calls fail.
    #[test]
    fn trap_48_occasional_failures_do_not_fill_the_log() {
        let store = OutageLog::default();
        let mut lines = 0;
        let mut failures = 0;
        for call in 0..18_000 {
            let logged = store.failed(Duration::from_millis(call * 10));
            failures += logged.unwrap_or_default();
            lines += usize::from(logged.is_some()) + usize::from(store.works());
        }
        assert_eq!(lines, 18);
        assert!(
            failures > 12_000,
            "what is not logged is counted: {failures}"
        );
    }
}
