//! The counters of one client: atomics, without a lock where calls are not rejected.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tower_revoke_core::{Outcome, Reason};

use crate::{Counts, Latency, methods::Bytes};

/// As what a call is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    /// Of a rejection, if it is one of ours.
    pub(crate) reason: Option<Reason>,
}

impl End {
    pub(crate) fn rejected(reason: Reason) -> Self {
        Self {
            outcome: Outcome::Rejected,
            reason: Some(reason),
        }
    }
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        let reason = None;
        Self { outcome, reason }
    }
}

/// The outcomes that are counted without a reason, each at the index that it is as a number.
pub(crate) const OUTCOMES: [(Outcome, &str); 4] = [
    (Outcome::Success, "success"),
    (Outcome::Failure, "failure"),
    (Outcome::Exception, "exception"),
    (Outcome::Cancelled, "cancelled"),
];

/// The label of a rejection by a classifier of the program's, which has no reason.
pub(crate) const NO_REASON: &str = "unspecified";

#[derive(Debug)]
pub(crate) struct Counters {
    /// Those in flight are those that began and are not counted as ended.
    begun: AtomicU64,
    ended: [AtomicU64; OUTCOMES.len()],
    // One client sees few reasons, and a rejection is not on the fast path.
    rejected: Mutex<Vec<(Option<Reason>, u64)>>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    sum_nanos: AtomicU64,
    min_nanos: AtomicU64,
    max_nanos: AtomicU64,
    buckets: [AtomicU64; Latency::BUCKETS],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            begun: AtomicU64::default(),
            ended: Default::default(),
            rejected: Mutex::default(),
            bytes_in: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
            sum_nanos: AtomicU64::default(),
            min_nanos: AtomicU64::new(u64::MAX),
            max_nanos: AtomicU64::default(),
            buckets: Default::default(),
        }
    }
}

impl Counters {
    /// Counts a call in flight.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    /// Un-counts a call that was attributed to another client.
    pub(crate) fn end_elsewhere(&self) {
        self.begun.fetch_sub(1, Relaxed);
    }

    /// Ends a call that has begun.
    pub(crate) fn count(&self, end: End, took: Duration, bytes: Bytes) {
        bytes.add_to(&self.bytes_in, &self.bytes_out);
        let Some(counter) = self.ended.get(end.outcome as usize) else {
            return self.reject(end.reason, 1);
        };
        counter.fetch_add(1, Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Relaxed);
        if let Some(bucket) = self.buckets.get(bucket_of(nanos)) {
            bucket.fetch_add(1, Relaxed);
        }
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

    /// A poisoned lock is taken: a panic can't leave the list half changed.
    fn rejected(&self) -> MutexGuard<'_, Vec<(Option<Reason>, u64)>> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Merges the counts of a client that has made room, and to which no call counts any more.
    pub(crate) fn take_over(&self, gone: Self) {
        let sums = [
            (&self.begun, gone.begun),
            (&self.bytes_in, gone.bytes_in),
            (&self.bytes_out, gone.bytes_out),
            (&self.sum_nanos, gone.sum_nanos),
        ];
        let ended = self.ended.iter().zip(gone.ended);
        let buckets = self.buckets.iter().zip(gone.buckets);
        for (to, from) in sums.into_iter().chain(ended).chain(buckets) {
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
        let [success, failure, exception, cancelled] = self.ended.each_ref().map(read);
        let mut counts = Counts {
            success,
            failure,
            exception,
            cancelled,
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            ..Counts::default()
        };
        for (reason, times) in self.rejected().iter() {
            counts.rejected += times;
            let label = reason.map_or(NO_REASON, Reason::label);
            *counts.rejected_by.entry(label).or_default() += times;
        }
        // Read last, so that no more calls have ended than begun.
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
            // Written after the minimum, so it may lack a call that is being counted.
            let max = read(&self.max_nanos).max(min);
            latency.max = Some(Duration::from_nanos(max));
        }
        counts
    }
}

/// Returns the first bucket whose bound, 2^i µs, is not below. The last bucket has no bound.
fn bucket_of(nanos: u64) -> usize {
    let micros = nanos.div_ceil(1_000);
    let log2 = u64::BITS - micros.saturating_sub(1).leading_zeros();
    (log2 as usize).min(Latency::BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_counted_at_its_own_index() {
        for (index, (outcome, _)) in OUTCOMES.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
        assert_eq!(Outcome::Rejected as usize, OUTCOMES.len());
    }

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
