//! What is counted of one client: atomics, without a lock where calls succeed.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tower_revoke_core::{Outcome, Reason};

use crate::{Counts, Latency};

/// How a call is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    Failure,
    Exception,
    Cancelled,
    Rejected(Option<Reason>),
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Success,
            Outcome::Failure => Self::Failure,
            Outcome::Exception => Self::Exception,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Rejected => Self::Rejected(None),
        }
    }
}

/// The label of a rejection that a classifier of the program's saw, and that names no reason.
pub(crate) const NO_REASON: &str = "unspecified";

#[derive(Debug)]
pub(crate) struct Counters {
    /// Those in flight are those that began and are not counted as ended.
    begun: AtomicU64,
    success: AtomicU64,
    failure: AtomicU64,
    exception: AtomicU64,
    cancelled: AtomicU64,
    // Few reasons are ever seen of one client, and a rejection is no fast path.
    rejected: Mutex<Vec<(Option<Reason>, u64)>>,
    sum_nanos: AtomicU64,
    min_nanos: AtomicU64,
    max_nanos: AtomicU64,
    buckets: [AtomicU64; Latency::BUCKETS],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            begun: AtomicU64::new(0),
            success: AtomicU64::new(0),
            failure: AtomicU64::new(0),
            exception: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            rejected: Mutex::default(),
            sum_nanos: AtomicU64::new(0),
            min_nanos: AtomicU64::new(u64::MAX),
            max_nanos: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; Latency::BUCKETS],
        }
    }
}

impl Counters {
    /// One more call, until it is counted.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    /// The call is another client's.
    pub(crate) fn give_away(&self) {
        self.begun.fetch_sub(1, Relaxed);
    }

    /// Ends a call that has begun.
    pub(crate) fn count(&self, verdict: Verdict, took: Duration) {
        let counter = match verdict {
            Verdict::Success => &self.success,
            Verdict::Failure => &self.failure,
            Verdict::Exception => &self.exception,
            Verdict::Cancelled => &self.cancelled,
            Verdict::Rejected(reason) => return self.reject(reason, 1),
        };
        counter.fetch_add(1, Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Relaxed);
        self.buckets[bucket_of(nanos)].fetch_add(1, Relaxed);
        self.keep_extremes(nanos, nanos);
    }

    /// Reads before it writes: once settled, an extreme hardly ever moves.
    fn keep_extremes(&self, min: u64, max: u64) {
        if min < self.min_nanos.load(Relaxed) {
            self.min_nanos.fetch_min(min, Relaxed);
        }
        if max > self.max_nanos.load(Relaxed) {
            self.max_nanos.fetch_max(max, Relaxed);
        }
    }

    fn reject(&self, reason: Option<Reason>, times: u64) {
        let mut rejected = self.rejected();
        match rejected.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += times,
            None => rejected.push((reason, times)),
        }
    }

    /// A panic can't leave the list half changed.
    fn rejected(&self) -> MutexGuard<'_, Vec<(Option<Reason>, u64)>> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the counts of a client that has made room, and to which nobody counts any more.
    pub(crate) fn take_over(&self, gone: Self) {
        for (to, from) in [
            (&self.begun, gone.begun),
            (&self.success, gone.success),
            (&self.failure, gone.failure),
            (&self.exception, gone.exception),
            (&self.cancelled, gone.cancelled),
            (&self.sum_nanos, gone.sum_nanos),
        ] {
            to.fetch_add(from.into_inner(), Relaxed);
        }
        for (to, from) in self.buckets.iter().zip(gone.buckets) {
            to.fetch_add(from.into_inner(), Relaxed);
        }
        self.keep_extremes(gone.min_nanos.into_inner(), gone.max_nanos.into_inner());
        let rejected = gone.rejected.into_inner();
        for (reason, times) in rejected.unwrap_or_else(PoisonError::into_inner) {
            self.reject(reason, times);
        }
    }

    pub(crate) fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let mut counts = Counts {
            success: read(&self.success),
            failure: read(&self.failure),
            exception: read(&self.exception),
            cancelled: read(&self.cancelled),
            ..Counts::default()
        };
        for (reason, times) in self.rejected().iter() {
            counts.rejected += times;
            let label = reason.map_or(NO_REASON, Reason::label);
            *counts.rejected_by.entry(label).or_default() += times;
        }
        // Read last, so that none has ended without having begun.
        let ended = counts.calls();
        counts.in_flight = read(&self.begun).saturating_sub(ended);
        let latency = &mut counts.latency;
        for (to, from) in latency.buckets.iter_mut().zip(&self.buckets) {
            *to = read(from);
        }
        latency.sum = Duration::from_nanos(read(&self.sum_nanos));
        let min = read(&self.min_nanos);
        if min != u64::MAX {
            latency.min = Some(Duration::from_nanos(min));
            // Written after the minimum: a call that is just being counted may have no part in it.
            let max = read(&self.max_nanos).max(min);
            latency.max = Some(Duration::from_nanos(max));
        }
        counts
    }
}

/// The first bucket whose bound, 2^i µs, is not below; the last has none.
fn bucket_of(nanos: u64) -> usize {
    let micros = nanos.div_ceil(1_000);
    let log2 = u64::BITS - micros.saturating_sub(1).leading_zeros();
    (log2 as usize).min(Latency::BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_falls_into_the_first_bucket_that_holds_it() {
        for nanos in [
            0,
            1,
            999,
            1_000,
            1_001,
            2_000,
            2_001,
            4_000,
            1 << 30,
            1 << 40,
        ] {
            let bucket = bucket_of(nanos);
            let latency = Duration::from_nanos(nanos);
            let fits = |bucket: usize| Latency::bound(bucket).is_none_or(|bound| latency <= bound);
            assert!(fits(bucket), "{nanos} ns in {bucket}");
            assert!(bucket == 0 || !fits(bucket - 1), "{nanos} ns in {bucket}");
        }
        assert_eq!(bucket_of(u64::MAX), Latency::BUCKETS - 1);
        assert_eq!(Latency::bound(Latency::BUCKETS - 1), None);
    }
}
