//! How long something took: a histogram of atomics.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::Latency;

#[derive(Debug)]
pub(crate) struct Times {
    sum_nanos: AtomicU64,
    min_nanos: AtomicU64,
    max_nanos: AtomicU64,
    buckets: [AtomicU64; Latency::BUCKETS],
}

impl Default for Times {
    fn default() -> Self {
        Self {
            sum_nanos: AtomicU64::default(),
            min_nanos: AtomicU64::new(u64::MAX),
            max_nanos: AtomicU64::default(),
            buckets: Default::default(),
        }
    }
}

impl Times {
    pub(crate) fn record(&self, took: Duration) {
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

    pub(crate) fn take_over(&self, gone: Self) {
        let sum = gone.sum_nanos.into_inner();
        self.sum_nanos.fetch_add(sum, Relaxed);
        for (to, from) in self.buckets.iter().zip(gone.buckets) {
            to.fetch_add(from.into_inner(), Relaxed);
        }
        self.keep_extremes(gone.min_nanos.into_inner(), gone.max_nanos.into_inner());
    }

    pub(crate) fn read(&self) -> Latency {
        let mut latency = Latency {
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Relaxed)),
            sum: Duration::from_nanos(self.sum_nanos.load(Relaxed)),
            ..Latency::default()
        };
        let min = self.min_nanos.load(Relaxed);
        if min != u64::MAX {
            latency.min = Some(Duration::from_nanos(min));
            // Written after the minimum, so it may lack a value that is being recorded.
            let max = self.max_nanos.load(Relaxed).max(min);
            latency.max = Some(Duration::from_nanos(max));
        }
        latency
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
