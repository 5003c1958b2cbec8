//! The last hour, in steps of five seconds.
//!
//! Counters only ever grow. When a step is over, what they have grown by is kept, with the histogram's
//! buckets that are not empty. Steps without calls take no memory.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use histogram::{Config, Histogram, SparseHistogram32};
use serde::Serialize;
use tower_revoke_core::{Clock, UnixTime};

use crate::Latency;

const STEP: Duration = Duration::from_secs(5);

/// The number of steps that are kept: an hour.
pub(crate) const STEPS: u64 = 720;

/// Microseconds up to 67 s, in buckets of at most an eighth of their value.
pub(crate) const CONFIG: Config = match Config::new(3, 26) {
    Ok(config) => config,
    Err(_) => panic!("the powers are in range"),
};

const LARGEST: u64 = (1 << CONFIG.max_value_power()) - 1;

pub(crate) fn step_at(uptime: Duration) -> u64 {
    uptime.as_secs() / STEP.as_secs()
}

/// What counters said at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// By [`Outcome`](tower_revoke_core::Outcome).
    pub(crate) ended: [u64; 5],
    pub(crate) sum_nanos: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) latency: Histogram,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            ended: [0; 5],
            sum_nanos: 0,
            bytes_in: 0,
            bytes_out: 0,
            latency: Histogram::with_config(&CONFIG),
        }
    }
}

impl Reading {
    /// Returns the value for the histogram. 2^i µs is the largest that falls below the value 2^i, where
    /// a bucket begins, so that the buckets of [`Latency`] are whole ones of the histogram.
    pub(crate) fn value_of(nanos: u64) -> u64 {
        nanos.div_ceil(1_000).saturating_sub(1).min(LARGEST)
    }

    /// Returns the upper end of the bucket of a value.
    fn bound_of(value: u64) -> Duration {
        Duration::from_micros(value + 1)
    }

    pub(crate) fn add(&mut self, more: &Self) {
        for (to, from) in self.ended.iter_mut().zip(more.ended) {
            *to += from;
        }
        self.sum_nanos += more.sum_nanos;
        // As the counters do, so that differences are right.
        self.bytes_in = self.bytes_in.wrapping_add(more.bytes_in);
        self.bytes_out = self.bytes_out.wrapping_add(more.bytes_out);
        let buckets = self.latency.as_mut_slice().iter_mut();
        for (to, from) in buckets.zip(more.latency.as_slice()) {
            *to += from;
        }
    }

    fn add_step(&mut self, step: &Step) {
        for (to, from) in self.ended.iter_mut().zip(step.ended) {
            *to += u64::from(from);
        }
        self.sum_nanos += step.sum_nanos;
        self.bytes_in = self.bytes_in.saturating_add(step.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(step.bytes_out);
        let buckets = self.latency.as_mut_slice();
        for (index, count) in step.latency.index().iter().zip(step.latency.count()) {
            if let Some(bucket) = buckets.get_mut(*index as usize) {
                *bucket += u64::from(*count);
            }
        }
    }

    /// Returns the counts by the buckets of [`Latency`].
    pub(crate) fn buckets(&self) -> [u64; Latency::BUCKETS] {
        let mut buckets = [0; Latency::BUCKETS];
        for bucket in &self.latency {
            let log2 = (u64::BITS - bucket.end().leading_zeros()) as usize;
            if let Some(to) = buckets.get_mut(log2.min(Latency::BUCKETS - 1)) {
                *to += bucket.count();
            }
        }
        buckets
    }

    fn quantile(&self, quantile: f64) -> Option<Duration> {
        let bucket = self.latency.quantile_bucket(quantile).ok()??;
        Some(Self::bound_of(bucket.end()))
    }
}

/// What was counted in one step.
#[derive(Debug)]
struct Step {
    number: u64,
    ended: [u32; 5],
    sum_nanos: u64,
    bytes_in: u64,
    bytes_out: u64,
    latency: SparseHistogram32,
}

/// The steps of the last hour that had calls.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// `None` before the first call.
    last: Option<Reading>,
    steps: VecDeque<Step>,
}

impl Past {
    /// Keeps what has been counted since the last step.
    pub(crate) fn close(&mut self, number: u64, now: Reading) {
        while self
            .steps
            .front()
            .is_some_and(|step| step.number + STEPS <= number)
        {
            self.steps.pop_front();
        }
        let last = self.last.get_or_insert_default();
        let narrow = |more: u64| u32::try_from(more).unwrap_or(u32::MAX);
        let mut ended = [0; 5];
        for ((to, now), before) in ended.iter_mut().zip(now.ended).zip(last.ended) {
            *to = narrow(now - before);
        }
        if ended == [0; 5] {
            return;
        }
        let pairs = last.latency.as_slice().iter().zip(now.latency.as_slice());
        let (index, count) = (0_u32..)
            .zip(pairs)
            .filter(|(_, (before, after))| after > before)
            .map(|(index, (before, after))| (index, narrow(after - before)))
            .unzip();
        let mut latency = SparseHistogram32::from_parts(CONFIG, index, count)
            .expect("indices of the same histogram, in their order");
        latency.shrink_to_fit();
        self.steps.push_back(Step {
            number,
            ended,
            sum_nanos: now.sum_nanos - last.sum_nanos,
            bytes_in: now.bytes_in.wrapping_sub(last.bytes_in),
            bytes_out: now.bytes_out.wrapping_sub(last.bytes_out),
            latency,
        });
        *last = now;
    }

    /// Returns what was counted in the steps that have ended within `span`, merged into about `most` steps.
    pub(crate) fn spans(&self, clock: &Clock, span: Duration, most: usize) -> SeriesHistory {
        let now = step_at(clock.uptime());
        let first = now.saturating_sub(step_at(span).min(STEPS));
        let began = |number: u64| {
            let ago = (now - number) * STEP.as_secs();
            let into_step = clock.uptime().as_secs() % STEP.as_secs();
            let ago = Duration::from_secs(ago + into_step);
            clock.steady_now().saturating_sub(ago)
        };
        let span_of = |first: u64, end: u64, counted: &Reading| {
            Span::new(began(first), (end - first) * STEP.as_secs(), counted)
        };
        let recent = || self.steps.iter().filter(|step| step.number >= first);
        let mut all = Reading::default();
        for step in recent() {
            all.add_step(step);
        }
        let mut steps = Vec::new();
        if most > 0 {
            // Groups begin at the same times whenever they are asked for, so that a drawing does not flicker.
            let width = (now - first).div_ceil(most as u64).max(1);
            let recent: Vec<_> = recent().collect();
            for group in recent.chunk_by(|a, b| a.number / width == b.number / width) {
                let mut merged = Reading::default();
                group.iter().for_each(|step| merged.add_step(step));
                let number = group.first().map_or(0, |step| step.number) / width * width;
                steps.push(span_of(
                    number.max(first),
                    (number + width).min(now),
                    &merged,
                ));
            }
        }
        SeriesHistory {
            total: span_of(first, now, &all),
            steps,
        }
    }
}

/// What was counted within some time, see [`Monitor::history`](crate::Monitor::history).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct History {
    /// The services by name.
    pub services: BTreeMap<Arc<str>, ServiceHistory>,
    /// The upstreams by name.
    pub upstreams: BTreeMap<Arc<str>, ServiceHistory>,
    /// The composites by name.
    pub composites: BTreeMap<Arc<str>, ServiceHistory>,
}

/// What was counted of a service, an upstream or a composite within some time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServiceHistory {
    /// All calls.
    pub all: SeriesHistory,
    /// By method.
    pub methods: BTreeMap<Arc<str>, SeriesHistory>,
    /// Calls of no known method.
    pub other_methods: SeriesHistory,
}

/// What was counted of a service, an upstream, a composite or a method within some time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SeriesHistory {
    /// All of it.
    pub total: Span,
    /// The steps of five seconds that had calls, the oldest first.
    pub steps: Vec<Span>,
}

/// The calls that ended within some time.
///
/// Serialized, times are seconds: `p50_seconds`, `p90_seconds`, `p99_seconds`, `sum_seconds`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Span {
    /// When it began.
    pub at: UnixTime,
    /// How many seconds it lasted, which is less than what was asked for soon after the start.
    pub seconds: u64,
    /// Successful calls.
    pub success: u64,
    /// Calls that the service declined.
    pub failure: u64,
    /// Calls that failed.
    pub exception: u64,
    /// Calls whose client left.
    pub cancelled: u64,
    /// Calls that a layer of tower-revoke rejected.
    pub rejected: u64,
    /// The bytes of request bodies with a `Content-Length`.
    pub bytes_in: u64,
    /// The bytes of response bodies.
    pub bytes_out: u64,
    /// The sum of the latencies.
    #[serde(rename = "sum_seconds", serialize_with = "crate::snapshot::as_seconds")]
    pub sum: Duration,
    /// The median latency, at most an eighth too high. `None` without calls.
    #[serde(
        rename = "p50_seconds",
        serialize_with = "crate::snapshot::as_some_seconds"
    )]
    pub p50: Option<Duration>,
    /// The latency that 90 % of the calls did not exceed.
    #[serde(
        rename = "p90_seconds",
        serialize_with = "crate::snapshot::as_some_seconds"
    )]
    pub p90: Option<Duration>,
    /// The latency that 99 % of the calls did not exceed.
    #[serde(
        rename = "p99_seconds",
        serialize_with = "crate::snapshot::as_some_seconds"
    )]
    pub p99: Option<Duration>,
}

impl Default for Span {
    fn default() -> Self {
        Self::new(UnixTime::EPOCH, 0, &Reading::default())
    }
}

impl Span {
    fn new(at: UnixTime, seconds: u64, counted: &Reading) -> Self {
        let [success, failure, exception, cancelled, rejected] = counted.ended;
        Self {
            at,
            seconds,
            success,
            failure,
            exception,
            cancelled,
            rejected,
            bytes_in: counted.bytes_in,
            bytes_out: counted.bytes_out,
            sum: Duration::from_nanos(counted.sum_nanos),
            p50: counted.quantile(0.5),
            p90: counted.quantile(0.9),
            p99: counted.quantile(0.99),
        }
    }

    /// Returns how many calls ended.
    pub fn calls(&self) -> u64 {
        self.success + self.failure + self.exception + self.cancelled + self.rejected
    }
}
