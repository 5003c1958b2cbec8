//! The counts at one moment, as plain data.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};

/// The counts of all services of a monitor.
///
/// Each number is read by itself while calls go on. A call that ends at that moment may be in one
/// number and not yet in another, and one whose client becomes known may be in flight twice or not
/// at all. Once no call is in flight, all numbers agree. No finished call is ever counted twice or
/// lost, whichever clients make room meanwhile.
///
/// Taking a snapshot costs about as much as copying it. It blocks only the first call of a client
/// that was not seen before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The services by name.
    pub services: BTreeMap<Arc<str>, ServiceSnapshot>,
    /// The upstreams by name, see [`Monitor::upstream`](crate::Monitor::upstream).
    pub upstreams: BTreeMap<Arc<str>, ServiceSnapshot>,
    /// The composites by name, see [`Monitor::composite`](crate::Monitor::composite).
    pub composites: BTreeMap<Arc<str>, ServiceSnapshot>,
}

/// The counts of one service, upstream or composite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServiceSnapshot {
    /// All calls: the sum of `clients`, `anonymous` and `other`.
    pub total: Counts,
    /// By verified client.
    pub clients: BTreeMap<Arc<str>, Counts>,
    /// Calls without a verified token, calls whose token lacks the attribute that names the client,
    /// and calls whose client is not known yet.
    pub anonymous: Counts,
    /// Clients that made room for others, and calls that began while clients were not counted.
    pub other: Counts,
    /// By method, such as `GET /orders/{id}` or `shop.Orders/Get`. A call is counted when it ends, so
    /// none is in flight; rejections have no reasons here, and streams are not counted.
    pub methods: BTreeMap<Arc<str>, Counts>,
    /// How long after a revocation live streams were ended, from when the list learned of it. That
    /// includes the layer's grace, and the time in which the client read nothing.
    pub cut_delay: Latency,
    /// Calls of methods that the service doesn't know, that were only ever rejected, or that found no
    /// room, and calls that began while methods were not counted.
    pub other_methods: Counts,
    /// Of a composite: how many parts ended after it was judged.
    pub late: u64,
}

/// The counts of a service, of a client, or of several clients together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Calls in flight, until the end of the response's body.
    pub in_flight: u64,
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
    /// Rejected calls by [`Reason::label`](tower_revoke_core::Reason::label).
    pub rejected_by: BTreeMap<&'static str, u64>,
    /// Live streams that end with their token: bodies that `TokenLifetimeLayer` watches, and lifetimes
    /// that handlers took, as for WebSockets.
    pub live_streams: u64,
    /// Streams that were ended with their token, by the
    /// [`Reason::label`](tower_revoke_core::Reason::label): `revoked`, `expired` or `unavailable`.
    pub ended_streams: BTreeMap<&'static str, u64>,
    /// The bytes of request bodies, as far as they were announced by `Content-Length`: at most 1 TiB
    /// each, whether or not they were sent.
    pub bytes_in: u64,
    /// The bytes of response bodies that were handed on.
    pub bytes_out: u64,
    /// How long the calls took, without the rejected ones.
    pub latency: Latency,
}

impl Counts {
    /// Returns how many calls have ended.
    pub fn calls(&self) -> u64 {
        self.success + self.failure + self.exception + self.cancelled + self.rejected
    }

    pub(crate) fn add(&mut self, more: &Self) {
        self.in_flight += more.in_flight;
        self.success += more.success;
        self.failure += more.failure;
        self.exception += more.exception;
        self.cancelled += more.cancelled;
        self.rejected += more.rejected;
        for (reason, times) in &more.rejected_by {
            *self.rejected_by.entry(reason).or_default() += times;
        }
        self.live_streams += more.live_streams;
        for (reason, times) in &more.ended_streams {
            *self.ended_streams.entry(reason).or_default() += times;
        }
        self.bytes_in = self.bytes_in.wrapping_add(more.bytes_in);
        self.bytes_out = self.bytes_out.wrapping_add(more.bytes_out);
        self.latency.add(&more.latency);
    }
}

/// How long calls took, from the call to the end of the response's body, whatever their outcome.
/// Rejected calls are left out: they did not reach the service.
///
/// Serialized, times are seconds with a fraction: `sum_seconds`, `min_seconds`, `max_seconds`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// The sum.
    #[serde(rename = "sum_seconds", serialize_with = "as_seconds")]
    pub sum: Duration,
    /// The minimum. `None` before the first call has ended.
    #[serde(rename = "min_seconds", serialize_with = "as_some_seconds")]
    pub min: Option<Duration>,
    /// The maximum. `None` before the first call has ended.
    #[serde(rename = "max_seconds", serialize_with = "as_some_seconds")]
    pub max: Option<Duration>,
    /// How many calls took at most [`bound(i)`](Self::bound) and longer than `bound(i - 1)`.
    pub buckets: [u64; Self::BUCKETS],
}

impl Latency {
    /// How many buckets there are.
    pub const BUCKETS: usize = 27;

    /// Returns the upper bound of a bucket, inclusive: 2^i microseconds, from 1 µs to 33.6 s. `None`
    /// for the last bucket, which has none.
    pub const fn bound(bucket: usize) -> Option<Duration> {
        match bucket + 1 < Self::BUCKETS {
            true => Some(Duration::from_micros(1 << bucket)),
            false => None,
        }
    }

    /// Returns how many calls are in the buckets.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the mean. `None` before the first call has ended.
    pub fn avg(&self) -> Option<Duration> {
        let nanos = self.sum.as_nanos().checked_div(self.count().into())?;
        Some(Duration::from_nanos(
            u64::try_from(nanos).unwrap_or(u64::MAX),
        ))
    }

    fn add(&mut self, more: &Self) {
        self.sum = self.sum.saturating_add(more.sum);
        self.min = [self.min, more.min].into_iter().flatten().min();
        self.max = self.max.max(more.max);
        for (to, from) in self.buckets.iter_mut().zip(more.buckets) {
            *to += from;
        }
    }
}

pub(crate) fn as_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

pub(crate) fn as_some_seconds<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}
