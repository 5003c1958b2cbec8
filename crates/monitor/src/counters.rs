//! The counters of one client: atomics, without a lock where calls are not rejected.

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tower_revoke_core::{Outcome, Reason};

use crate::{Counts, methods::Bytes, streams::Streams, times::Times};

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

#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Those in flight are those that began and are not counted as ended.
    begun: AtomicU64,
    ended: [AtomicU64; OUTCOMES.len()],
    // One client sees few reasons, and a rejection is not on the fast path.
    rejected: Mutex<Vec<(Option<Reason>, u64)>>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    times: Times,
    /// Made with the first stream: most clients have none.
    streams: OnceLock<Box<Streams>>,
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
        self.times.record(took);
    }

    /// Returns the counts of the client's streams.
    pub(crate) fn streams(&self) -> &Streams {
        self.streams.get_or_init(Box::default)
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
        ];
        let ended = self.ended.iter().zip(gone.ended);
        for (to, from) in sums.into_iter().chain(ended) {
            to.fetch_add(from.into_inner(), Relaxed);
        }
        self.times.take_over(gone.times);
        if let Some(gone) = gone.streams.into_inner() {
            self.streams().take_over(*gone);
        }
        let rejected = gone.rejected.into_inner();
        for (reason, times) in rejected.unwrap_or_else(PoisonError::into_inner) {
            self.reject(reason, times);
        }
    }

    /// Returns the lower bits of how many calls have ended, by outcome.
    pub(crate) fn ended(&self) -> [u32; 5] {
        #[expect(clippy::cast_possible_truncation, reason = "differences are small")]
        let low = |count: u64| count as u32;
        let [success, failure, exception, cancelled] = self
            .ended
            .each_ref()
            .map(|counter| low(counter.load(Relaxed)));
        let rejected = self.rejected().iter().map(|(_, times)| times).sum();
        [success, failure, exception, cancelled, low(rejected)]
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
        counts.latency = self.times.read();
        if let Some(streams) = self.streams.get() {
            streams.read_into(&mut counts);
        }
        counts
    }
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
}
