//! What is waiting to be told, and when which token may be tried. No I/O; the time comes in.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use fastrand::Rng;
use tokio::time::Instant;
use tower_revoke_core::{KeyDigest, TokenCopy, TokenId, UnixTime};

use crate::{
    answer::{Failure, Verdict},
    stats::RevocationClientStats,
};

/// The settings of a [`Queue`].
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) places: usize,
    pub(crate) at_once: usize,
    pub(crate) slowly: Duration,
    pub(crate) retry_timeout: Duration,
}

/// The longest first pause; each further one may be twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A token on its way.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) id: u64,
    pub(crate) copy: TokenCopy,
    token: TokenId,
    accepted: Instant,
    tries: u32,
    due: Instant,
    last: Option<Failure>,
}

/// What one token takes of the queue: calls that may put it there, and itself.
#[derive(Debug)]
struct Place {
    holder: KeyDigest,
    calls: usize,
    is_queued: bool,
}

/// What to do now.
#[derive(Debug)]
pub(crate) enum Step {
    Try(Item),
    /// Nothing, until then or until something changes.
    Wait(Option<Instant>),
    /// Nothing is left.
    Done,
}

/// Places are reserved, then waiting, then in flight, and free again once the server was told. A
/// token takes one: it joins itself while it is waiting or in flight, since what the server is told
/// then holds for ever. No holder takes more than half of them.
///
/// One failure is a matter of that token. A second one, of another token, is taken for the
/// server's: then one try at a time is made, with growing pauses, until it answers again.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: Limits,
    rng: Rng,
    waiting: BTreeMap<u64, Item>,
    schedule: BTreeSet<(Instant, u64)>,
    next_id: u64,
    places: HashMap<TokenId, Place>,
    by_holder: HashMap<KeyDigest, usize>,
    reserved: usize,
    in_flight: usize,
    /// At most one try at a time: the server has to prove itself.
    cautious: bool,
    closed_until: Option<Instant>,
    failures_in_a_row: u32,
    last_to_fail: Option<u64>,
    counts: Counts,
    failing_since: Option<UnixTime>,
    last_failure: Option<Failure>,
    last_rejection: Option<&'static str>,
    needs_operator: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) delivered: u64,
    pub(crate) rejected: u64,
    pub(crate) given_up: u64,
}

impl Queue {
    /// `cautious`: the first try is made alone.
    pub(crate) fn new(limits: Limits, rng: Rng, cautious: bool) -> Self {
        Self {
            limits,
            rng,
            waiting: BTreeMap::new(),
            schedule: BTreeSet::new(),
            next_id: 0,
            places: HashMap::new(),
            by_holder: HashMap::new(),
            reserved: 0,
            in_flight: 0,
            cautious,
            closed_until: None,
            failures_in_a_row: 0,
            last_to_fail: None,
            counts: Counts::default(),
            failing_since: None,
            last_failure: None,
            last_rejection: None,
            needs_operator: false,
        }
    }

    pub(crate) fn reserve(&mut self, token: TokenId, holder: KeyDigest) -> bool {
        if let Some(place) = self.places.get_mut(&token) {
            place.calls += 1;
        } else {
            let held = self.by_holder.get(&holder).copied().unwrap_or(0);
            let all = self.limits.places;
            if self.places.len() >= all || held >= (all / 2).max(1) {
                return false;
            }
            self.by_holder.insert(holder, held + 1);
            let place = Place {
                holder,
                calls: 1,
                is_queued: false,
            };
            self.places.insert(token, place);
        }
        self.reserved += 1;
        true
    }

    pub(crate) fn unreserve(&mut self, token: TokenId) {
        self.reserved -= 1;
        self.leave(token, |place| place.calls -= 1);
    }

    /// Puts a token into the place that was reserved for it.
    pub(crate) fn put(&mut self, token: TokenId, copy: TokenCopy, now: Instant) {
        let was_queued = self.places.get_mut(&token);
        let was_queued = was_queued.map(|place| std::mem::replace(&mut place.is_queued, true));
        self.unreserve(token);
        if was_queued != Some(false) {
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.wait(Item {
            id,
            copy,
            token,
            accepted: now,
            tries: 0,
            due: now,
            last: None,
        });
    }

    /// Frees the place of a token if nothing is left in it.
    fn leave(&mut self, token: TokenId, what: impl FnOnce(&mut Place)) {
        let Some(place) = self.places.get_mut(&token) else {
            return;
        };
        what(place);
        if place.calls > 0 || place.is_queued {
            return;
        }
        let holder = place.holder;
        self.places.remove(&token);
        match self.by_holder.get_mut(&holder) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(self.by_holder.remove(&holder)),
        }
    }

    /// How many tokens are not told yet.
    pub(crate) fn left(&self) -> usize {
        self.waiting.len() + self.in_flight
    }

    pub(crate) fn reserved(&self) -> usize {
        self.reserved
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn next_step(&mut self, now: Instant) -> Step {
        if self.left() == 0 {
            return Step::Done;
        }
        let at_once = if self.cautious {
            1
        } else {
            self.limits.at_once
        };
        let due = self.schedule.first().map(|(due, _)| *due);
        let start = due.max(self.closed_until);
        if due.is_some()
            && self.in_flight < at_once
            && start <= Some(now)
            && let Some(item) = self.take_first()
        {
            self.in_flight += 1;
            return Step::Try(item);
        }
        let start = start.filter(|_| due.is_some() && self.in_flight < at_once);
        let oldest = self.waiting.values().next().map(|item| self.end_of(item));
        Step::Wait(start.into_iter().chain(oldest).min())
    }

    /// Takes out what has waited too long; how many those are.
    pub(crate) fn give_up(&mut self, now: Instant) -> u64 {
        let before = self.counts.given_up;
        while let Some(oldest) = self.waiting.first_entry() {
            if now < oldest.get().accepted + self.limits.retry_timeout {
                break;
            }
            let item = oldest.remove();
            self.schedule.remove(&(item.due, item.id));
            self.leave(item.token, |place| place.is_queued = false);
            self.counts.given_up += 1;
        }
        self.counts.given_up - before
    }

    /// A try has ended. `stale`: it was made with credentials that have been replaced since.
    pub(crate) fn settle(
        &mut self,
        mut item: Item,
        verdict: Verdict,
        stale: bool,
        now: Instant,
        wall: UnixTime,
    ) {
        self.in_flight -= 1;
        if matches!(verdict, Verdict::Delivered | Verdict::Rejected(_)) {
            self.leave(item.token, |place| place.is_queued = false);
        }
        match verdict {
            Verdict::Delivered => {
                self.counts.delivered += 1;
                self.server_answers();
            }
            Verdict::Rejected(code) => {
                self.counts.rejected += 1;
                self.last_rejection = code;
                self.server_answers();
            }
            Verdict::Failed(Failure::Credentials, _) if stale => self.wait(item),
            Verdict::Failed(failure, retry_after) => {
                self.failing_since.get_or_insert(wall);
                self.last_failure = Some(failure);
                self.needs_operator = failure.needs_operator();
                item.due = now + self.pause(failure, item.tries, retry_after);
                item.tries = item.tries.saturating_add(1);
                item.last = Some(failure);
                self.server_fails(item.id, failure, retry_after, now);
                self.wait(item);
            }
        }
    }

    /// The client's credentials are new: what waits for them is tried at once.
    pub(crate) fn credentials_changed(&mut self, now: Instant) {
        self.hurry(now, |item| item.last == Some(Failure::Credentials));
        if self.last_failure == Some(Failure::Credentials) {
            self.closed_until = None;
        }
    }

    /// Everything is due now, though only one try is made until the server proves itself.
    pub(crate) fn hurry_all(&mut self, now: Instant) {
        self.cautious |= self.failures_in_a_row > 0;
        self.closed_until = None;
        self.hurry(now, |_| true);
    }

    fn hurry(&mut self, now: Instant, which: impl Fn(&Item) -> bool) {
        for item in self.waiting.values_mut() {
            if item.due > now && which(item) {
                self.schedule.remove(&(item.due, item.id));
                item.due = now;
                self.schedule.insert((now, item.id));
            }
        }
    }

    fn wait(&mut self, item: Item) {
        self.schedule.insert((item.due, item.id));
        self.waiting.insert(item.id, item);
    }

    fn take_first(&mut self) -> Option<Item> {
        let (_, id) = self.schedule.pop_first()?;
        self.waiting.remove(&id)
    }

    fn end_of(&self, item: &Item) -> Instant {
        item.accepted + self.limits.retry_timeout
    }

    fn server_answers(&mut self) {
        self.cautious = false;
        self.closed_until = None;
        self.failures_in_a_row = 0;
        self.last_to_fail = None;
        self.failing_since = None;
        self.needs_operator = false;
    }

    fn server_fails(
        &mut self,
        item: u64,
        failure: Failure,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        let is_closed = self.closed_until.is_some_and(|until| now < until);
        let is_news = self.last_to_fail.replace(item) != Some(item);
        if is_news && !is_closed {
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        }
        if self.failures_in_a_row < 2 && retry_after.is_none() {
            return;
        }
        self.cautious = true;
        let until = now + self.pause(failure, self.failures_in_a_row - 1, retry_after);
        if !is_closed || retry_after.is_some() {
            self.closed_until = self.closed_until.max(Some(until));
        }
    }

    /// Exponential with full jitter; what the server asked for comes before that.
    fn pause(&mut self, failure: Failure, tries: u32, retry_after: Option<Duration>) -> Duration {
        let asked = retry_after.unwrap_or_default();
        if failure.needs_operator() {
            return self.limits.slowly.max(asked);
        }
        let most = FIRST_PAUSE
            .saturating_mul(1 << tries.min(16))
            .min(LONGEST_PAUSE);
        most.mul_f64(self.rng.f64()) + asked
    }

    pub(crate) fn stats(&self) -> RevocationClientStats {
        RevocationClientStats {
            reserved: self.reserved,
            queued: self.left(),
            delivered: self.counts.delivered,
            rejected: self.counts.rejected,
            given_up: self.counts.given_up,
            failing_since: self.failing_since,
            last_failure: self.last_failure,
            last_rejection: self.last_rejection,
            needs_operator: self.needs_operator,
        }
    }
}
