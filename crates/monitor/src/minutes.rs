//! The last hour of the busiest clients, in minutes.
//!
//! Counters only ever grow. The first call of a client in a new minute keeps what they have grown by
//! in the minute of its calls before, if that was one of the busiest clients of the minute. So no call
//! pays for other clients.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::Serialize;
use tower_revoke_core::{Clock, UnixTime};

use crate::{ClientUsage, counters::Counters};

const MINUTE: u64 = 60;

/// The number of minutes that are kept: an hour.
const MINUTES: u32 = 60;

/// The number of clients of a minute that are kept.
const BUSIEST: usize = 1_000;

pub(crate) fn minute_at(uptime: Duration) -> u32 {
    u32::try_from(uptime.as_secs() / MINUTE).unwrap_or(u32::MAX)
}

/// By [`Outcome`](tower_revoke_core::Outcome).
type Calls = [u32; 5];

/// The calls of a client that no minute has yet.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The minute in which they ended.
    minute: AtomicU32,
    /// The lower bits of its counters before them.
    before: Mutex<Calls>,
}

impl Pending {
    pub(crate) fn new(minute: u32) -> Self {
        Self {
            minute: AtomicU32::new(minute),
            before: Mutex::default(),
        }
    }

    /// Makes one of which no minute is kept.
    pub(crate) fn never() -> Self {
        Self::new(u32::MAX)
    }

    /// Whether there may be calls of earlier minutes.
    pub(crate) fn is_before(&self, minute: u32) -> bool {
        self.minute.load(Relaxed) < minute
    }

    /// Begins a minute. Returns the minute before it that had calls, and these.
    fn close(&self, minute: u32, counters: &Counters) -> Option<(u32, Calls)> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        // Another call may have been faster.
        if !self.is_before(minute) {
            return None;
        }
        let now = counters.ended();
        let mut calls = Calls::default();
        for ((calls, now), before) in calls.iter_mut().zip(now).zip(*before) {
            *calls = now.wrapping_sub(before);
        }
        *before = now;
        let ended_in = self.minute.swap(minute, Relaxed);
        (calls != Calls::default()).then_some((ended_in, calls))
    }
}

/// The minutes of the last hour in which clients made calls.
#[derive(Debug, Default)]
pub(crate) struct Minutes(Mutex<VecDeque<Minute>>);

#[derive(Debug)]
struct Minute {
    number: u32,
    /// The least busy one first. A client that has made room in between may be there twice.
    clients: BinaryHeap<Reverse<(u32, Arc<str>, Calls)>>,
}

impl Minutes {
    /// Begins a minute of a client.
    pub(crate) fn close(
        &self,
        minute: u32,
        name: &Arc<str>,
        pending: &Pending,
        counters: &Counters,
    ) {
        if let Some((ended_in, calls)) = pending.close(minute, counters) {
            self.keep(ended_in, name, calls);
        }
    }

    fn keep(&self, number: u32, name: &Arc<str>, calls: Calls) {
        let mut past = self.past();
        let newest = past.back().map_or(number, |last| last.number.max(number));
        while past
            .front()
            .is_some_and(|first| first.number + MINUTES < newest)
        {
            past.pop_front();
        }
        if number + MINUTES < newest {
            return;
        }
        let at = past.partition_point(|minute| minute.number < number);
        if past.get(at).is_none_or(|minute| minute.number != number) {
            let clients = BinaryHeap::new();
            past.insert(at, Minute { number, clients });
        }
        let Some(Minute { clients, .. }) = past.get_mut(at) else {
            return;
        };
        let busy = Reverse((calls.iter().sum(), name.clone(), calls));
        if clients.len() < BUSIEST {
            clients.push(busy);
        } else if let Some(mut least) = clients.peek_mut()
            && busy < *least
        {
            *least = busy;
        }
    }

    /// Adds the minutes that have ended within `span` to the usage of these clients.
    pub(crate) fn add_to(&self, clients: &mut [ClientUsage], clock: &Clock, span: Duration) {
        let now = minute_at(clock.uptime());
        let span = u32::try_from(span.as_secs().div_ceil(MINUTE)).unwrap_or(MINUTES);
        let names = clients.iter().enumerate();
        let names: HashMap<_, _> = names.map(|(at, one)| (one.name.clone(), at)).collect();
        let into_minute = clock.uptime().as_secs() % MINUTE;
        for number in now.saturating_sub(span.min(MINUTES))..now {
            let ago = Duration::from_secs(u64::from(now - number) * MINUTE + into_minute);
            let at = clock.steady_now().saturating_sub(ago);
            // Locked for each, so that calls hardly wait.
            let past = self.past();
            let index = past.binary_search_by_key(&number, |minute| minute.number);
            let Some(minute) = index.ok().and_then(|index| past.get(index)) else {
                continue;
            };
            for Reverse((_, name, calls)) in &minute.clients {
                if let Some(client) = names.get(name).and_then(|at| clients.get_mut(*at)) {
                    ClientMinute::add(&mut client.minutes, at, *calls);
                }
            }
        }
    }

    /// A poisoned lock is taken: nothing under it panics half way through a change.
    fn past(&self) -> MutexGuard<'_, VecDeque<Minute>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The calls of a client that ended within one minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClientMinute {
    /// When it began.
    pub at: UnixTime,
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
}

impl ClientMinute {
    fn add(minutes: &mut Vec<Self>, at: UnixTime, calls: Calls) {
        let [success, failure, exception, cancelled, rejected] = calls.map(u64::from);
        match minutes.last_mut() {
            Some(last) if last.at == at => {
                last.success += success;
                last.failure += failure;
                last.exception += exception;
                last.cancelled += cancelled;
                last.rejected += rejected;
            }
            _ => minutes.push(Self {
                at,
                success,
                failure,
                exception,
                cancelled,
                rejected,
            }),
        }
    }

    /// Returns how many calls ended.
    pub fn calls(&self) -> u64 {
        self.success + self.failure + self.exception + self.cancelled + self.rejected
    }
}
