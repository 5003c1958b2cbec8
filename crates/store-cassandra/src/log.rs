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
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tower_revoke_core::{Clock, KeyDigest, internal::LogLimit};

use crate::{
    buckets::{Buckets, Kept, bucket_of, closes, drop_buckets, end_of},
    client::{Client, Deadline},
    error::Failure,
    statements::Statements,
};

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

/// The handle through which the store appends entries.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    asked: mpsc::Sender<Append>,
    open: Arc<InFlight>,
}

struct Append {
    keys: Vec<Changed>,
    reply: oneshot::Sender<Result<i64, Failure>>,
}

/// Writes in flight by the numbers of their entries, and keys to announce again.
#[derive(Debug, Default)]
struct InFlight {
    begun: Mutex<BTreeMap<i64, usize>>,
    again: Mutex<Vec<(Instant, Vec<Changed>)>>,
}

fn locked<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl InFlight {
    fn done(&self, seq: i64) {
        let mut begun = locked(&self.begun);
        if let Some(count) = begun.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                begun.remove(&seq);
            }
        }
    }

    /// The number before `next` up to which all writes are complete.
    fn settled(&self, next: i64) -> i64 {
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

    async fn append(&self, keys: Vec<Changed>, deadline: Deadline) -> Result<i64, Failure> {
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
    open: Arc<InFlight>,
    writer: i64,
    next: i64,
    /// The number that the last entry stated as complete, and whether it had keys.
    told: i64,
    had_keys: bool,
    heartbeat: Option<Instant>,
    /// The bucket in the register. Readers find the last entry from there on.
    registered: i64,
    buckets: Buckets,
    /// Whether there may be buckets to delete.
    trims: bool,
    not_maintained: LogLimit,
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
            open: Arc::clone(&open),
            writer: fastrand::i64(..),
            next: 1,
            told: 0,
            had_keys: false,
            heartbeat: None,
            registered: 0,
            buckets: Buckets::new(kept),
            trims: false,
            not_maintained: LogLimit::default(),
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
        let (seq, mark, settled) = (self.next, fastrand::i64(..), self.open.settled(self.next));
        let bucket = bucket_of(seq);
        // A number is used once, even if its entry fails.
        self.next += 1;
        let values = (self.writer, bucket, seq, mark, settled, closes(seq), bytes);
        self.client
            .execute(deadline, &self.statements.write, values)
            .await?;
        self.told = settled;
        self.had_keys = !keys.is_empty();
        self.buckets.wrote(seq, mark, keys.len());
        if closes(seq) {
            self.next = end_of(bucket) + 1;
        }
        Ok(())
    }

    /// Writes an entry that states that all writes are complete, if no other does.
    async fn while_idle(&mut self) {
        let due = self.open.due(Instant::now());
        // An entry without keys needs no such statement.
        let not_told = self.open.settled(self.next) - self.told;
        let is_told = not_told <= i64::from(!self.had_keys);
        if (!due.is_empty() || !is_told) && self.write(&due).await.is_err() {
            self.open.postpone(due);
        }
        self.maintain().await;
    }

    async fn register(&mut self, deadline: Deadline) -> Result<(), Failure> {
        let bucket = self.buckets.last();
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
        let is_behind = self.buckets.last() > self.registered;
        let is_due = |heartbeat: Instant| is_behind || heartbeat.elapsed() >= HEARTBEAT;
        let maintained = async {
            if self.heartbeat.is_some_and(is_due) {
                self.register(self.client.deadline()).await?;
            }
            match std::mem::take(&mut self.trims) {
                true => self.trim().await,
                false => Ok(()),
            }
        };
        if let Err(error) = maintained.await
            && let Some(count) = self.not_maintained.count(self.clock.uptime(), 1)
        {
            tracing::warn!(
                target: "tower_revoke::store_cassandra",
                %error,
                count,
                "the log was not registered or trimmed"
            );
        }
    }

    /// Deletes the buckets that are not to be kept.
    async fn trim(&mut self) -> Result<(), Failure> {
        let Some(((seq, mark), buckets)) = self.buckets.over(self.told) else {
            return Ok(());
        };
        let (deadline, last) = (self.client.deadline(), *buckets.end());
        self.client
            .execute(
                deadline,
                &self.statements.trimmed,
                (seq, seq, mark, self.writer),
            )
            .await?;
        drop_buckets(
            &self.client,
            &self.statements,
            deadline,
            self.writer,
            buckets,
        )
        .await?;
        self.buckets.dropped(last);
        Ok(())
    }
}
