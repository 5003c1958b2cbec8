//! The log of one handle: numbered entries with the keys that it writes, for followers of the feed.
//!
//! An entry is written beside the write that it announces, not after it, and states up to which number
//! all earlier writes are complete. A follower reads entries that were not complete again the next
//! time. So nobody has to compare clocks, and a write costs no second round trip.
//!
//! Entries carry keys and not their state, which followers look up:
//! * An entry is written before the outcome of its write is known, so it could carry no more than an
//!   intention. A use that lost, or a revocation that failed, must not be announced as a fact.
//! * An entry with the outcome, written after the write, would cost a second round trip, and still have
//!   no order among the entries of other writers: the log of one writer may be read before a lift or a
//!   return in the log of another one, and again after it. A look-up returns a state at least as new as
//!   each entry that was read before it, so what is reported of a key never goes back. Merging by
//!   `at` can't replace it: a use that is returned and taken again has no time to compare, and a
//!   follower keeps lifts only as long as they matter to itself.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tower_revoke_core::{Clock, KeyDigest, internal::LogLimit};

use crate::{
    client::{Client, Deadline},
    error::Failure,
    statements::Statements,
};

/// About how many entries a bucket has, which is one partition of the log.
const ENTRIES: i64 = 256;

/// The numbers of a bucket's entries: the upper half of a number is its bucket. The numbers that a
/// bucket doesn't use are never used.
const NUMBERS: i64 = 1 << 32;

/// Concurrent deletions of buckets.
const DELETED_AT_ONCE: usize = 16;

/// About how many keys share one entry.
const AT_ONCE: usize = 256;

/// How long after the last entry one follows that states that all writes are complete.
const IDLE: Duration = Duration::from_millis(250);

/// How often a writer renews its registration and deletes old entries.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// When a key whose write has an unknown outcome is announced again: after the servers have given up,
/// and once more.
const AGAIN: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

/// The number of failed calls that are remembered. In a long outage most were never sent.
const MOST_AGAIN: usize = 65_536;

/// The table in which a key has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Table {
    #[default]
    Revoked,
    Uses,
}

/// A changed key, and its table.
pub(crate) type Changed = (Table, KeyDigest);

/// Returns the bucket of an entry.
pub(crate) fn bucket_of(seq: i64) -> i64 {
    seq / NUMBERS
}

/// Returns the last number of a bucket.
pub(crate) fn end_of(bucket: i64) -> i64 {
    bucket * NUMBERS + NUMBERS - 1
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

/// The handle through which the store appends entries.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    asked: mpsc::Sender<Append>,
    open: Arc<InFlight>,
}

struct Append {
    keys: Vec<Changed>,
    reply: oneshot::Sender<Result<u64, Failure>>,
}

/// Writes in flight by the numbers of their entries, and keys to announce again.
#[derive(Debug, Default)]
struct InFlight {
    begun: Mutex<BTreeMap<u64, usize>>,
    again: Mutex<Vec<(Instant, Vec<Changed>)>>,
}

fn locked<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl InFlight {
    fn done(&self, seq: u64) {
        let mut begun = locked(&self.begun);
        if let Some(count) = begun.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                begun.remove(&seq);
            }
        }
    }

    /// The number before `next` up to which all writes are complete.
    fn settled(&self, next: u64) -> u64 {
        let begun = locked(&self.begun);
        let first = begun.first_key_value().map_or(next, |(first, _)| *first);
        first.min(next) - 1
    }

    fn due(&self, now: Instant) -> Vec<Changed> {
        let mut again = locked(&self.again);
        let mut due = Vec::new();
        again.retain(|(when, keys)| {
            let is_due = *when <= now;
            if is_due {
                due.extend_from_slice(keys);
            }
            !is_due
        });
        due
    }

    /// Announces keys again later, whose entry could not be written.
    fn postpone(&self, due: Vec<Changed>) {
        if !due.is_empty() {
            locked(&self.again).push((Instant::now() + AGAIN[0], due));
        }
    }
}

impl Log {
    /// Executes a write and announces it, concurrently.
    pub(crate) async fn logged<T>(
        &self,
        keys: Vec<Changed>,
        deadline: Deadline,
        write: impl Future<Output = T>,
        failed: impl Fn(&T) -> bool,
    ) -> Result<T, Failure> {
        let (told, written) = tokio::join!(self.append(keys.clone(), deadline), write);
        if told.is_err() || failed(&written) {
            let now = Instant::now();
            let mut again = locked(&self.open.again);
            if again.len() < MOST_AGAIN {
                again.extend(AGAIN.map(|after| (now + after, keys.clone())));
            }
        }
        self.open.done(told?);
        Ok(written)
    }

    async fn append(&self, keys: Vec<Changed>, deadline: Deadline) -> Result<u64, Failure> {
        let (reply, told) = oneshot::channel();
        let sent = deadline
            .bound(self.asked.send(Append { keys, reply }))
            .await?;
        sent.map_err(|_| Failure::Ended)?;
        deadline.bound(told).await?.map_err(|_| Failure::Ended)?
    }
}

pub(crate) struct Writer {
    client: Arc<Client>,
    statements: Arc<Statements>,
    clock: Clock,
    kept: Kept,
    open: Arc<InFlight>,
    writer: i64,
    next: u64,
    /// The number that the last entry stated as complete, and whether it had keys.
    told: u64,
    had_keys: bool,
    heartbeat: Option<Instant>,
    /// The bucket in the register. Readers find the last entry from there on.
    registered: i64,
    /// The buckets that are kept, oldest first. The last one is still written to.
    buckets: VecDeque<Bucket>,
    /// The first bucket that may not have been deleted.
    first: i64,
    /// Whether there may be buckets to delete.
    trims: bool,
    not_there: LogLimit,
    not_trimmed: LogLimit,
}

/// How much of its log a writer keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) capacity: u64,
    pub(crate) retention: Duration,
}

/// What a writer remembers of one of its buckets.
#[derive(Debug)]
struct Bucket {
    number: i64,
    /// The number and the mark of its last entry, and when that was written.
    last: (i64, i64),
    written: Instant,
    changes: u64,
}

impl Writer {
    /// Starts a writer in this runtime, which ends with the last handle.
    pub(crate) fn start(client: Arc<Client>, statements: Arc<Statements>, kept: Kept) -> Log {
        let (asked, asks) = mpsc::channel(4_096);
        let open = Arc::new(InFlight::default());
        let writer = Self {
            client,
            statements,
            clock: Clock::system(),
            kept,
            open: Arc::clone(&open),
            writer: fastrand::i64(..),
            next: 1,
            told: 0,
            had_keys: false,
            heartbeat: None,
            registered: 0,
            buckets: VecDeque::new(),
            first: 0,
            trims: false,
            not_there: LogLimit::default(),
            not_trimmed: LogLimit::default(),
        };
        tokio::spawn(writer.run(asks));
        Log { asked, open }
    }

    async fn run(mut self, mut asks: mpsc::Receiver<Append>) {
        loop {
            let idle = tokio::time::sleep(if self.next == 1 { HEARTBEAT } else { IDLE });
            let first = tokio::select! {
                first = asks.recv() => match first {
                    Some(first) => first,
                    None => break,
                },
                () = idle => {
                    self.while_idle().await;
                    continue;
                }
            };
            let mut some = vec![first];
            let mut count = some[0].keys.len();
            // Callers that were just answered often have another write, which shares the entry.
            tokio::task::yield_now().await;
            while count < AT_ONCE
                && let Ok(more) = asks.try_recv()
            {
                count += more.keys.len();
                some.push(more);
            }
            some.retain(|asked| !asked.reply.is_closed());
            if !some.is_empty() {
                self.serve(some).await;
            }
            self.maintain().await;
        }
        self.while_idle().await;
    }

    async fn serve(&mut self, some: Vec<Append>) {
        let mut keys: Vec<Changed> = some.iter().flat_map(|asked| asked.keys.clone()).collect();
        let due = self.open.due(Instant::now());
        keys.extend(&due);
        keys.sort_unstable();
        keys.dedup();
        let seq = self.next;
        // Before the entry is written: a caller that is answered may complete at once.
        locked(&self.open.begun).insert(seq, some.len());
        let written = self.write(&keys).await;
        if written.is_err() {
            self.open.postpone(due);
        }
        for asked in some {
            let answer = written.clone().map(|()| seq);
            if asked.reply.send(answer).is_err() || written.is_err() {
                // The caller is gone and can't report that the write is complete.
                self.open.done(seq);
            }
        }
    }

    async fn write(&mut self, keys: &[Changed]) -> Result<(), Failure> {
        let deadline = self.client.deadline();
        if self.heartbeat.is_none() {
            self.register(deadline).await?;
        }
        let mut bytes = Vec::with_capacity(keys.len() * 17);
        for (table, key) in keys {
            bytes.push(*table as u8);
            bytes.extend(key.as_bytes());
        }
        let mark = fastrand::i64(..);
        let settled = self.open.settled(self.next);
        let [seq, complete] = [self.next, settled].map(|of| i64::try_from(of).unwrap_or(i64::MAX));
        let number = bucket_of(seq);
        // Every bucket has an entry that says so before there is a next bucket: readers then find the
        // last one without a pointer, which is overwritten, and the clock of a server might be behind.
        let closes = seq % NUMBERS >= ENTRIES;
        // A number is used once, even if its entry fails.
        self.next += 1;
        let values = (self.writer, number, seq, mark, complete, closes, bytes);
        self.client
            .execute(deadline, &self.statements.write, values)
            .await?;
        self.told = settled;
        self.had_keys = !keys.is_empty();
        if self.buckets.back().is_none_or(|last| last.number < number) {
            self.buckets.push_back(Bucket {
                number,
                last: (seq, mark),
                written: Instant::now(),
                changes: 0,
            });
        }
        if let Some(bucket) = self.buckets.back_mut() {
            (bucket.last, bucket.written) = ((seq, mark), Instant::now());
            // An entry without keys counts, so that the number of buckets is bounded, too.
            bucket.changes += keys.len().max(1) as u64;
        }
        if closes {
            self.next = u64::try_from(end_of(number) + 1).unwrap_or(u64::MAX);
        }
        Ok(())
    }

    /// Writes an entry that states that all writes are complete, if no other does.
    async fn while_idle(&mut self) {
        let due = self.open.due(Instant::now());
        // An entry without keys needs no such statement.
        let not_told = self.open.settled(self.next).saturating_sub(self.told);
        let is_told = not_told <= u64::from(!self.had_keys);
        if (!due.is_empty() || !is_told) && self.write(&due).await.is_err() {
            self.open.postpone(due);
        }
        self.maintain().await;
    }

    async fn register(&mut self, deadline: Deadline) -> Result<(), Failure> {
        let bucket = self.buckets.back().map_or(0, |bucket| bucket.number);
        self.client
            .execute(deadline, &self.statements.register, (self.writer, bucket))
            .await?;
        self.heartbeat = Some(Instant::now());
        self.trims = true;
        self.registered = bucket;
        Ok(())
    }

    /// Renews the registration, and deletes old buckets. What fails is done the next time.
    async fn maintain(&mut self) {
        let Some(heartbeat) = self.heartbeat else {
            return;
        };
        let last = self.buckets.back();
        let is_behind = last.is_some_and(|bucket| bucket.number > self.registered);
        if (is_behind || heartbeat.elapsed() >= HEARTBEAT)
            && let Err(error) = self.register(self.client.deadline()).await
        {
            if let Some(count) = self.not_there.count(self.clock.uptime(), 1) {
                tracing::warn!(%error, count, "the writer could not say that it is there");
            }
            return;
        }
        if std::mem::take(&mut self.trims)
            && let Err(error) = self.trim().await
            && let Some(count) = self.not_trimmed.count(self.clock.uptime(), 1)
        {
            tracing::warn!(%error, count, "old changes could not be forgotten");
        }
    }

    /// Deletes the buckets that are too old, or that hold more changes than are kept.
    ///
    /// The last full one stays whatever is kept, for followers that are not quite at the end.
    async fn trim(&mut self) -> Result<(), Failure> {
        let closed = self.buckets.len().saturating_sub(2);
        let mut left: u64 = self.buckets.iter().map(|bucket| bucket.changes).sum();
        let is_over = |bucket: &&Bucket| {
            left -= bucket.changes;
            let is_old = bucket.written.elapsed() >= self.kept.retention;
            let is_settled = u64::try_from(bucket.last.0).is_ok_and(|last| last <= self.told);
            is_settled && (is_old || left >= self.kept.capacity)
        };
        let over = self.buckets.iter().take(closed).take_while(is_over).count();
        let Some(last) = over.checked_sub(1).map(|last| &self.buckets[last]) else {
            return Ok(());
        };
        let (deadline, (seq, mark), number) = (self.client.deadline(), last.last, last.number);
        self.client
            .execute(
                deadline,
                &self.statements.trimmed,
                (seq, seq, mark, self.writer),
            )
            .await?;
        let buckets = self.first..=number;
        drop_buckets(
            &self.client,
            &self.statements,
            deadline,
            self.writer,
            buckets,
        )
        .await?;
        self.buckets.drain(..over);
        self.first = number + 1;
        Ok(())
    }
}
