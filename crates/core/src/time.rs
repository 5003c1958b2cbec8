//! Time as the project reads it: seconds since 1970, and a clock that tests can hold still.

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
    /// The first second of 1970: said before anything else.
    pub const EPOCH: Self = Self(0);

    /// `secs` seconds after 1970 began.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs)
    }

    /// Seconds since 1970 began.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// The time `by` later; the far end of time if there is none. Parts of a second are cut off.
    #[must_use]
    pub const fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.as_secs()))
    }

    /// The time `by` earlier; 1970 if there is none. Parts of a second are cut off.
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

/// Where the time comes from. Clones read the same clock.
///
/// Three readings, for three uses:
/// * [`now`](Self::now), the wall clock, which may be stepped: is this token expired?
/// * [`uptime`](Self::uptime), which only ever grows: how old is this answer?
/// * [`steady_now`](Self::steady_now), the wall clock as it was at the start plus the uptime, so
///   that no later step moves it: what may be forgotten?
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
    /// The machine's clocks.
    #[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
    pub fn system() -> Self {
        Self {
            started_at: wall_now(),
            source: Source::System {
                started: Instant::now(),
            },
        }
    }

    /// A clock that stands still until its hand is moved.
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

    /// The wall clock.
    pub fn now(&self) -> UnixTime {
        match &self.source {
            Source::System { .. } => wall_now(),
            Source::Manual(hand) => {
                let secs = hand.0.start + hand.uptime().as_secs();
                UnixTime(secs.saturating_add_signed(hand.0.wall_offset.load(Ordering::SeqCst)))
            }
        }
    }

    /// How long this clock has run; never goes back.
    pub fn uptime(&self) -> Duration {
        match &self.source {
            Source::System { started } => started.elapsed(),
            Source::Manual(hand) => hand.uptime(),
        }
    }

    /// The wall clock at the start plus the uptime: not moved by a step of the wall clock.
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

/// The hand of a [`Clock::manual`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Manual>);

#[derive(Debug)]
struct Manual {
    start: u64,
    uptime_millis: AtomicU64,
    wall_offset: AtomicI64,
}

impl ManualClock {
    /// Lets time pass, to the millisecond.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.uptime_millis.fetch_add(millis, Ordering::SeqCst);
    }

    /// Steps the wall clock by `secs` without letting time pass, as NTP or an operator may.
    pub fn step_wall(&self, secs: i64) {
        self.0.wall_offset.fetch_add(secs, Ordering::SeqCst);
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.0.uptime_millis.load(Ordering::SeqCst))
    }
}
