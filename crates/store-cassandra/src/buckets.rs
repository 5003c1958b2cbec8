//! The buckets of a log: partitions of some hundreds of entries, each deleted as a whole.
//!
//! Every bucket has an entry that closes it before there is a next one. So readers find the last entry
//! from any earlier bucket on, without a pointer: that would be overwritten, and could lose against an
//! older one if the clock of a server is behind.

use std::{collections::VecDeque, ops::RangeInclusive, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use crate::{
    client::{Client, Deadline},
    error::Failure,
    statements::Statements,
};

/// About how many entries a bucket has.
const ENTRIES: i64 = 256;

/// The numbers of a bucket's entries: the upper half of a number is its bucket. Most are not used.
const NUMBERS: i64 = 1 << 32;

/// Concurrent deletions.
const DELETED_AT_ONCE: usize = 16;

/// Returns the bucket of an entry.
pub(crate) fn bucket_of(seq: i64) -> i64 {
    seq / NUMBERS
}

/// Returns the last number of a bucket.
pub(crate) fn end_of(bucket: i64) -> i64 {
    bucket * NUMBERS + (NUMBERS - 1)
}

/// Returns whether an entry closes its bucket. If it fails, the next one does.
pub(crate) fn closes(seq: i64) -> bool {
    seq % NUMBERS >= ENTRIES
}

/// Deletes buckets of a log.
pub(crate) async fn drop_buckets(
    client: &Client,
    statements: &Statements,
    deadline: Deadline,
    writer: i64,
    buckets: RangeInclusive<i64>,
) -> Result<(), Failure> {
    stream::iter(buckets)
        .map(|bucket| client.execute(deadline, &statements.trim, (writer, bucket)))
        .buffer_unordered(DELETED_AT_ONCE)
        .try_for_each(async |_| Ok(()))
        .await
}

/// How much of its log a writer keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) capacity: u64,
    pub(crate) retention: Duration,
}

/// What a writer remembers of its buckets.
#[derive(Debug)]
pub(crate) struct Buckets {
    kept: Kept,
    /// Oldest first. The last one is still written to.
    known: VecDeque<Bucket>,
    /// The first bucket that may not have been deleted.
    first: i64,
}

#[derive(Debug)]
struct Bucket {
    number: i64,
    /// The number and the mark of its last entry, and when that was written.
    last: (i64, i64),
    written: Instant,
    changes: u64,
}

impl Buckets {
    pub(crate) fn new(kept: Kept) -> Self {
        Self {
            kept,
            known: VecDeque::new(),
            first: 0,
        }
    }

    /// Returns the bucket with the last entry.
    pub(crate) fn last(&self) -> i64 {
        self.known.back().map_or(0, |bucket| bucket.number)
    }

    /// Counts an entry that was written.
    pub(crate) fn wrote(&mut self, seq: i64, mark: i64, keys: usize) {
        let number = bucket_of(seq);
        let before = match self.last() == number {
            true => self.known.pop_back(),
            false => None,
        };
        let changes = before.map_or(0, |bucket| bucket.changes);
        self.known.push_back(Bucket {
            number,
            last: (seq, mark),
            written: Instant::now(),
            // An entry without keys counts, so that the number of buckets is bounded, too.
            changes: changes + keys.max(1) as u64,
        });
    }

    /// Returns the buckets that are too old or beyond the capacity, and their last entry.
    ///
    /// What is not `settled` stays, and so does the last full bucket, whatever the capacity, for
    /// followers that are nearly at the end.
    pub(crate) fn over(&self, settled: i64) -> Option<((i64, i64), RangeInclusive<i64>)> {
        let full = self.known.len().saturating_sub(2);
        let mut left: u64 = self.known.iter().map(|bucket| bucket.changes).sum();
        let over = self.known.iter().take(full).take_while(|bucket| {
            left -= bucket.changes;
            let is_old = bucket.written.elapsed() >= self.kept.retention;
            bucket.last.0 <= settled && (is_old || left >= self.kept.capacity)
        });
        let last = over.last()?;
        Some((last.last, self.first..=last.number))
    }

    /// Forgets buckets up to one that was deleted.
    pub(crate) fn dropped(&mut self, last: i64) {
        self.known.retain(|bucket| bucket.number > last);
        self.first = last + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// Writes full buckets, whose entries have one key each.
    fn written(capacity: u64, retention: Duration, count: i64) -> Buckets {
        let mut buckets = Buckets::new(Kept {
            capacity,
            retention,
        });
        let mut seq = 1;
        while bucket_of(seq) < count {
            buckets.wrote(seq, -seq, 1);
            seq = match closes(seq) {
                true => end_of(bucket_of(seq)) + 1,
                false => seq + 1,
            };
        }
        buckets
    }

    #[test]
    fn a_log_keeps_its_capacity_and_a_full_bucket() {
        // The first bucket has no number 0.
        let buckets = written(600, DAY, 10);
        let ((last, mark), over) = buckets.over(i64::MAX).expect("more than is kept");
        assert_eq!((over, last, mark), (0..=6, end_of(5) + 257, -last));
        assert_eq!(buckets.known.len(), 10);
        assert!(written(600, DAY, 3).over(i64::MAX).is_none());
        let (_, all) = written(0, DAY, 10).over(i64::MAX).expect("buckets");
        let (_, old) = written(u64::MAX, Duration::ZERO, 10)
            .over(i64::MAX)
            .expect("buckets");
        assert_eq!((all, old), (0..=7, 0..=7));
    }

    #[test]
    fn what_is_not_complete_is_kept() {
        let mut buckets = written(0, DAY, 10);
        let (_, over) = buckets.over(end_of(3)).expect("buckets");
        assert_eq!(over, 0..=3);
        assert!(buckets.over(end_of(0) - NUMBERS + 5).is_none());
        buckets.dropped(3);
        let (_, over) = buckets.over(end_of(4)).expect("a bucket");
        assert_eq!((over, buckets.last()), (4..=4, 9));
    }
}
