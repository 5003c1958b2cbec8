//! The clients of one service: found without a lock, and bounded.
//!
//! A call only stores the time in its client. The least recently seen client is looked for when room
//! is needed: the ledger orders clients by the time that they had when they were last put into it, which
//! is never later than their true one. So the first client whose two times agree is the least recently
//! seen, and each call causes at most one step of the search.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tower_revoke_core::Clock;

use crate::{
    ClientUsage, ServiceSnapshot,
    counters::Counters,
    minutes::{self, Minutes, Pending},
    series::{Series, ServiceSeries},
};

/// Names are cut to this many bytes, which bounds the memory of a service.
const LONGEST_NAME: usize = 256;

/// The least number of clients that have made room at which their counts are merged.
const SWEEP_AT: usize = 64;

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) counters: Counters,
    pub(crate) series: Series,
    minute: Pending,
    name: Arc<str>,
    /// The uptime of the clock.
    seen_nanos: AtomicU64,
    /// Whether it has made room: a call that noted it must look its name up again.
    is_gone: AtomicBool,
}

impl Client {
    fn new(name: Arc<str>, series: Series, now: Duration, minute: Pending) -> Self {
        Self {
            counters: Counters::default(),
            series,
            minute,
            name,
            seen_nanos: AtomicU64::new(nanos(now)),
            is_gone: AtomicBool::new(false),
        }
    }

    /// Returns whether it still has counts of its own, and is seen `now`.
    pub(crate) fn see_again(&self, now: Duration) -> bool {
        self.seen_nanos.store(nanos(now), Relaxed);
        !self.is_gone.load(Relaxed)
    }
}

fn nanos(uptime: Duration) -> u64 {
    u64::try_from(uptime.as_nanos()).unwrap_or(u64::MAX)
}

#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) anonymous: Arc<Client>,
    pub(crate) series: ServiceSeries,
    pub(crate) other: Arc<Client>,
    max: usize,
    known: papaya::HashMap<Arc<str>, Arc<Client>>,
    minutes: Minutes,
    ledger: Mutex<Ledger>,
}

/// Locked to add clients, to remove them, and to sum them up.
#[derive(Debug, Default)]
struct Ledger {
    /// By the time at which they were seen, and by their number, since several may be seen at once.
    by_age: BTreeMap<(u64, u64), Arc<Client>>,
    added: u64,
    /// Clients that have made room, to which calls in flight may still count.
    retired: Vec<Arc<Client>>,
    sweep_at: usize,
}

impl Clients {
    pub(crate) fn new(series: ServiceSeries, max: usize) -> Self {
        let nameless = |series| {
            let name = Arc::from("");
            Arc::new(Client::new(name, series, Duration::ZERO, Pending::never()))
        };
        Self {
            anonymous: nameless(series.of_anonymous()),
            other: nameless(series.of_other()),
            series,
            max,
            known: papaya::HashMap::new(),
            minutes: Minutes::default(),
            ledger: Mutex::default(),
        }
    }

    /// Returns the verified client of this name, which is seen `now`.
    pub(crate) fn find(&self, name: &str, now: Duration) -> Arc<Client> {
        let name = cut(name);
        if let Some(client) = self.known.pin().get(name) {
            client.seen_nanos.store(nanos(now), Relaxed);
            return client.clone();
        }
        self.add(name, now)
    }

    fn add(&self, name: &str, now: Duration) -> Arc<Client> {
        let mut ledger = self.ledger();
        let known = self.known.pin();
        // Another call may have been faster.
        if let Some(client) = known.get(name) {
            return client.clone();
        }
        while ledger.by_age.len() >= self.max {
            let Some(oldest) = ledger.pop_least_recent() else {
                // The capacity is 0.
                return self.other.clone();
            };
            known.remove(&oldest.name);
            oldest.is_gone.store(true, Relaxed);
            self.close_minute(&oldest, u32::MAX);
            ledger.retire(oldest, &self.other.counters);
        }
        let name: Arc<str> = Arc::from(name);
        let series = self.series.of_client(&name);
        let client = Arc::new(Client::new(
            name.clone(),
            series,
            now,
            Pending::new(minutes::minute_at(now)),
        ));
        known.insert(name, client.clone());
        ledger.added += 1;
        let age = (nanos(now), ledger.added);
        ledger.by_age.insert(age, client.clone());
        client
    }

    /// Begins the minute of a client in which a call of it is counted `now`. To be called before.
    pub(crate) fn keep_pace(&self, client: &Client, now: Duration) {
        let minute = minutes::minute_at(now);
        if client.minute.is_before(minute) {
            self.close_minute(client, minute);
        }
    }

    #[cold]
    fn close_minute(&self, client: &Client, minute: u32) {
        let Client {
            name,
            minute: pending,
            counters,
            ..
        } = client;
        self.minutes.close(minute, name, pending, counters);
    }

    /// Adds the minutes that have ended within `span` to the usage of these clients.
    pub(crate) fn add_minutes(&self, usage: &mut [ClientUsage], clock: &Clock, span: Duration) {
        let now = clock.uptime();
        let live: Vec<_> = self.ledger().by_age.values().cloned().collect();
        for client in live {
            self.keep_pace(&client, now);
        }
        self.minutes.add_to(usage, clock, span);
    }

    /// Returns all counts. The clients are held until they are read, so that none of them is merged
    /// into the others meanwhile and counted twice.
    pub(crate) fn snapshot(&self) -> ServiceSnapshot {
        let (live, retired, mut other) = {
            let ledger = self.ledger();
            (
                ledger.by_age.values().cloned().collect::<Vec<_>>(),
                ledger.retired.clone(),
                self.other.counters.read(),
            )
        };
        for client in retired {
            other.add(&client.counters.read());
        }
        let anonymous = self.anonymous.counters.read();
        let mut total = other.clone();
        total.add(&anonymous);
        let clients = live.into_iter().map(|client| {
            let counts = client.counters.read();
            total.add(&counts);
            (client.name.clone(), counts)
        });
        ServiceSnapshot {
            clients: clients.collect(),
            anonymous,
            other,
            total,
            ..ServiceSnapshot::default()
        }
    }

    /// A poisoned lock is taken: nothing under it panics half way through a change.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(name: &str) -> &str {
    let longest = (0..=LONGEST_NAME.min(name.len())).rev();
    longest
        .filter_map(|length| name.get(..length))
        .next()
        .unwrap_or_default()
}

impl Ledger {
    fn pop_least_recent(&mut self) -> Option<Arc<Client>> {
        loop {
            let ((noted, number), client) = self.by_age.pop_first()?;
            let seen = client.seen_nanos.load(Relaxed);
            if seen <= noted {
                return Some(client);
            }
            self.by_age.insert((seen, number), client);
        }
    }

    fn retire(&mut self, client: Arc<Client>, other: &Counters) {
        self.retired.push(client);
        if self.retired.len() < self.sweep_at.max(SWEEP_AT) {
            return;
        }
        for client in std::mem::take(&mut self.retired) {
            // A call that still holds it may count to it.
            match Arc::try_unwrap(client) {
                Ok(client) => other.take_over(client.counters),
                Err(client) => self.retired.push(client),
            }
        }
        self.sweep_at = self.retired.len() * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_at_a_character_boundary() {
        assert_eq!(cut("ann"), "ann");
        assert_eq!(cut(&"a".repeat(300)).len(), 256);
        assert_eq!(cut(&format!("a{}", "ä".repeat(300))).len(), 255);
    }
}
