//! Plain numbers about a list, for whoever exports metrics.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tower_revoke_core::UnixTime;

/// What a list has done since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListStats {
    /// The bound itself, as it was set: how old an answer may get.
    pub max_staleness: Duration,
    /// Answers that were given without asking the store.
    pub served: u64,
    /// Questions to the store about a token.
    pub asked: u64,
    /// Calls of any kind that the store did not answer, or not in time.
    pub failures: u64,
    /// The age of the oldest answer that was ever served, counted from before the store was asked:
    /// never more than `max_staleness`.
    pub oldest_served: Duration,
    /// When the store last answered a question. `None` if it never has.
    pub last_answer: Option<UnixTime>,
    /// How many answers are kept, about.
    pub kept: u64,
    /// Whether all that the store lists is known here.
    pub mirror: MirrorState,
    /// How many entries the mirror holds: listed keys, lifts, and uses that were won here.
    pub mirrored: u64,
    /// How long ago the last call of the store's feed began that told everything: a live mirror's
    /// is less than `max_staleness`. `None`: the mirror has no answers to give.
    pub mirror_lag: Option<Duration>,
    /// How often the mirror had to be loaded again, the first time not counted.
    pub mirror_reloads: u64,
    /// How many entries were written back to a store that had forgotten them.
    pub written_back: u64,
}

/// What has become of a list's mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MirrorState {
    /// There is none: the store needs none or has no feed, more is listed than
    /// [`mirror_capacity`](crate::RevocationListBuilder::mirror_capacity), or nothing was asked yet in a
    /// tokio runtime. The store is asked about each token, within `max_staleness`.
    #[default]
    Off,
    /// It is being loaded for the first time. The store is asked in the meantime, but the list is
    /// not ready.
    Loading,
    /// It is younger than `max_staleness`: every question is answered from memory.
    Live,
    /// It is too old, since the feed is broken, or the store has forgotten something and is being
    /// told: the store is asked about each token, within `max_staleness`.
    Lost,
}

/// Numbers that every request moves: one for all cores would be what they wait for.
const STRIPES: usize = 16;

#[derive(Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

#[derive(Default)]
pub(crate) struct Counters {
    served: [Stripe; STRIPES],
    oldest_served_millis: AtomicU64,
    asked: AtomicU64,
    failures: AtomicU64,
    /// In Unix seconds; 0 if it never was.
    last_answer: AtomicU64,
}

static NEXT_STRIPE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STRIPE: usize = NEXT_STRIPE.fetch_add(1, Ordering::Relaxed) % STRIPES;
}

impl Counters {
    pub(crate) fn served(&self, age: Duration) {
        STRIPE.with(|stripe| self.served[*stripe].0.fetch_add(1, Ordering::Relaxed));
        let age = millis(age);
        // Read first: the maximum seldom moves, and reading it costs other cores nothing.
        if self.oldest_served_millis.load(Ordering::Relaxed) < age {
            self.oldest_served_millis.fetch_max(age, Ordering::Relaxed);
        }
    }

    pub(crate) fn asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, now: UnixTime) {
        self.last_answer.fetch_max(now.as_secs(), Ordering::Relaxed);
    }

    pub(crate) fn has_answered(&self) -> bool {
        self.last_answer.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn snapshot(&self, kept: u64) -> ListStats {
        let last_answer = self.last_answer.load(Ordering::Relaxed);
        ListStats {
            served: self
                .served
                .iter()
                .map(|stripe| stripe.0.load(Ordering::Relaxed))
                .sum(),
            asked: self.asked.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            oldest_served: Duration::from_millis(self.oldest_served_millis.load(Ordering::Relaxed)),
            last_answer: (last_answer > 0).then(|| UnixTime::from_secs(last_answer)),
            kept,
            ..ListStats::default()
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
