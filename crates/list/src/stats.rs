//! The counters of a list, for metrics.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tower_revoke_core::UnixTime;

use crate::SnapshotState;

/// The counters of a list since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListStats {
    /// The configured maximum age of an answer.
    pub max_staleness: Duration,
    /// The number of answers that needed no call to the store.
    pub served: u64,
    /// The number of look-ups of a token in the store.
    pub asked: u64,
    /// The number of calls of any kind that the store did not answer in time.
    pub failures: u64,
    /// The age of the oldest answer that was ever served, counted from before the look-up. Never
    /// more than `max_staleness`.
    pub oldest_served: Duration,
    /// When the store last answered a call. `None` if it never has.
    pub last_answer: Option<UnixTime>,
    /// Since when no call has failed. `None` if the last one failed, or none was answered yet.
    pub answering_since: Option<UnixTime>,
    /// Since when every call has failed. `None` while the store answers.
    pub failing_since: Option<UnixTime>,
    /// The approximate number of cached answers.
    pub kept: u64,
    /// The state of the mirror.
    pub mirror: MirrorState,
    /// The number of entries of the mirror: listed keys, lifts, and uses that were taken through
    /// this list.
    pub mirrored: u64,
    /// How long ago the last call of the feed began that returned everything. It is less than
    /// `max_staleness` for a live mirror. `None` if the mirror can't answer.
    pub mirror_lag: Option<Duration>,
    /// How often the mirror was reloaded after the first load.
    pub mirror_reloads: u64,
    /// The number of entries that were written back to a store that had lost them.
    pub written_back: u64,
    /// What became of the [snapshot](crate::MirrorSnapshot) that was found at the start.
    pub snapshot: SnapshotState,
    /// How often a snapshot was written.
    pub snapshots_written: u64,
    /// How often a snapshot could not be written.
    pub snapshot_failures: u64,
    /// How often a snapshot was ignored: damaged, forged, too old, or of another store.
    pub snapshots_rejected: u64,
    /// The number of streams that watch for the end of their token now.
    pub watches: u64,
    /// How many such streams have been told so far that their token has ended.
    pub ended_watches: u64,
}

/// The state of a list's mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MirrorState {
    /// The list has no mirror. Each token is looked up in the store, within `max_staleness`.
    ///
    /// Either the store needs none or has no feed, or `mirror_capacity` is zero, or the list was not
    /// used in a tokio runtime yet.
    #[default]
    Off,
    /// The mirror is being loaded for the first time. Tokens are looked up in the store in the
    /// meantime, but the list is not ready.
    Loading,
    /// The mirror is younger than `max_staleness`, and every check is answered from memory.
    Live,
    /// The mirror is too old because the feed fails, or the list is writing back to a store that
    /// has lost entries. Each token is looked up in the store, within `max_staleness`.
    Lost,
    /// More is listed than
    /// [`mirror_capacity`](crate::RevocationListBuilder::mirror_capacity). Each token is looked up
    /// in the store, within `max_staleness`, until what is listed fits again.
    Full,
}

/// The number of stripes of a counter that every request increments. On a single atomic, cores
/// would contend for its cache line.
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
    /// In Unix seconds. 0 if the store never answered.
    last_answer: AtomicU64,
    /// So far; 0 if not.
    answering_since: AtomicU64,
    failing_since: AtomicU64,
}

static NEXT_STRIPE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STRIPE: usize = NEXT_STRIPE.fetch_add(1, Ordering::Relaxed) % STRIPES;
}

impl Counters {
    pub(crate) fn served(&self, age: Duration) {
        STRIPE.with(|stripe| self.served[*stripe].0.fetch_add(1, Ordering::Relaxed));
        let age = millis(age);
        // A plain load first: the maximum rarely changes, and a load doesn't contend.
        if self.oldest_served_millis.load(Ordering::Relaxed) < age {
            self.oldest_served_millis.fetch_max(age, Ordering::Relaxed);
        }
    }

    pub(crate) fn asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, now: UnixTime) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        turn(&self.failing_since, &self.answering_since, now);
    }

    pub(crate) fn answered(&self, now: UnixTime) {
        self.last_answer.fetch_max(now.as_secs(), Ordering::Relaxed);
        turn(&self.answering_since, &self.failing_since, now);
    }

    pub(crate) fn has_answered(&self) -> bool {
        self.last_answer.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn snapshot(&self, kept: u64) -> ListStats {
        ListStats {
            served: self
                .served
                .iter()
                .map(|stripe| stripe.0.load(Ordering::Relaxed))
                .sum(),
            asked: self.asked.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            oldest_served: Duration::from_millis(self.oldest_served_millis.load(Ordering::Relaxed)),
            last_answer: time(&self.last_answer),
            answering_since: time(&self.answering_since),
            failing_since: time(&self.failing_since),
            kept,
            ..ListStats::default()
        }
    }
}

/// Notes since when it has been so, and that it is no longer as before. Reads before it writes, since
/// it hardly ever turns.
fn turn(since: &AtomicU64, before: &AtomicU64, now: UnixTime) {
    if since.load(Ordering::Relaxed) == 0 {
        since.store(now.as_secs(), Ordering::Relaxed);
    }
    if before.load(Ordering::Relaxed) != 0 {
        before.store(0, Ordering::Relaxed);
    }
}

fn time(secs: &AtomicU64) -> Option<UnixTime> {
    let secs = secs.load(Ordering::Relaxed);
    (secs > 0).then(|| UnixTime::from_secs(secs))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
