//! Unix time in seconds, and a clock that tests can control.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};

/// Whole seconds since 1970-01-01T00:00:00Z, as in `exp`, `iat` and `nbf` (RFC 7519 §2).
///
/// ```
/// use std::time::Duration;
/// use tower_revoke_core::UnixTime;
///
/// let exp = UnixTime::from_secs(1_700_000_000);
/// assert_eq!(exp.saturating_add(Duration::from_secs(30)).as_secs(), 1_700_000_030);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The first second of 1970, earlier than any real event.
    pub const EPOCH: Self = Self(0);

    /// Makes the time `secs` seconds after the start of 1970.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs)
    }

    /// Returns the seconds since the start of 1970.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// Adds a duration, saturating at the largest value. Fractions of a second of `by` are dropped.
    #[must_use]
    pub const fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.as_secs()))
    }

    /// Subtracts a duration, saturating at [`EPOCH`](Self::EPOCH). Fractions of a second of `by`
    /// are dropped.
    #[must_use]
    pub const fn saturating_sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by.as_secs()))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The source of the time. Clones read the same clock.
///
/// It has three readings:
/// * [`now`](Self::now) is the wall clock, which may be stepped. It determines whether a token has
///   expired.
/// * [`uptime`](Self::uptime) never decreases. It determines the age of an answer.
/// * [`steady_now`](Self::steady_now) is the wall clock at the start plus the uptime, so no later
///   step moves it. It determines what may be purged.
///
/// ```
/// use std::time::Duration;
/// use tower_revoke_core::{Clock, UnixTime};
///
/// let (clock, hand) = Clock::manual(UnixTime::from_secs(1_000));
/// hand.advance(Duration::from_secs(5));
/// hand.step_wall(-60);
/// assert_eq!(clock.now().as_secs(), 945);
/// assert_eq!(clock.uptime(), Duration::from_secs(5));
/// assert_eq!(clock.steady_now().as_secs(), 1_005);
/// ```
#[derive(Clone, Debug)]
pub struct Clock {
    started_at: UnixTime,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant },
    Manual(ManualClock),
}

impl Clock {
    /// Makes a clock that reads those of the system.
    #[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
    pub fn system() -> Self {
        Self {
            started_at: wall_now(),
            source: Source::System {
                started: Instant::now(),
            },
        }
    }

    /// Makes a clock that moves only through the returned [`ManualClock`].
    pub fn manual(start: UnixTime) -> (Self, ManualClock) {
        let hand = ManualClock(Arc::new(Manual {
            start: start.as_secs(),
            uptime_millis: AtomicU64::new(0),
            wall_offset: AtomicI64::new(0),
        }));
        let clock = Self {
            started_at: start,
            source: Source::Manual(hand.clone()),
        };
        (clock, hand)
    }

    /// Returns the time of the wall clock.
    pub fn now(&self) -> UnixTime {
        match &self.source {
            Source::System { .. } => wall_now(),
            Source::Manual(hand) => {
                let secs = hand.0.start + hand.uptime().as_secs();
                UnixTime(secs.saturating_add_signed(hand.0.wall_offset.load(Ordering::SeqCst)))
            }
        }
    }

    /// Returns how long this clock has run. It never decreases.
    pub fn uptime(&self) -> Duration {
        match &self.source {
            Source::System { started } => started.elapsed(),
            Source::Manual(hand) => hand.uptime(),
        }
    }

    /// Returns the wall clock at the start plus the uptime, which no step of the wall clock moves.
    pub fn steady_now(&self) -> UnixTime {
        self.started_at.saturating_add(self.uptime())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
fn wall_now() -> UnixTime {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime(since_1970.as_secs())
}

/// Moves the [`Clock`] that [`Clock::manual`] returned with it.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Manual>);

#[derive(Debug)]
struct Manual {
    start: u64,
    uptime_millis: AtomicU64,
    wall_offset: AtomicI64,
}

impl ManualClock {
    /// Advances both the uptime and the wall clock, with a resolution of one millisecond.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.uptime_millis.fetch_add(millis, Ordering::SeqCst);
    }

    /// Steps the wall clock by `secs` without advancing the uptime, as NTP or an operator may.
    pub fn step_wall(&self, secs: i64) {
        self.0.wall_offset.fetch_add(secs, Ordering::SeqCst);
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.0.uptime_millis.load(Ordering::SeqCst))
    }
}
