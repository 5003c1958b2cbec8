//! The queue: which tokens wait, and when each may be tried. No I/O; the time is a parameter.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use fastrand::Rng;
use tokio::time::Instant;
use tower_revoke_core::{KeyDigest, OwedRevocation, TokenId, UnixTime};

use crate::{
    response::{Delivery, DeliveryFailure},
    stats::RevocationClientStats,
};

/// The settings of a [`Queue`].
#[derive(Clone, Debug)]
pub(crate) struct QueueSettings {
    pub(crate) capacity: usize,
    pub(crate) max_concurrency: usize,
    pub(crate) slow_retry_interval: Duration,
    pub(crate) retry_timeout: Duration,
}

/// The upper bound of the first pause. It doubles with each failure, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// A token that is to be revoked.
#[derive(Debug)]
pub(crate) struct QueuedToken {
    pub(crate) number: u64,
    pub(crate) owed: OwedRevocation,
    /// When it is not sent any more.
    pub(crate) deadline: Instant,
    failed_attempts: u32,
    due: Instant,
    last_failure: Option<DeliveryFailure>,
}

/// A slot of the queue: the calls that may queue its token, and the token itself.
#[derive(Debug)]
struct Slot {
    holder: KeyDigest,
    calls: usize,
    is_queued: bool,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// To send the token, or to drop it after its deadline.
    Attempt(QueuedToken),
    /// Nothing, until then or until something changes.
    Wait(Option<Instant>),
    /// Nothing is left.
    Done,
}

/// A slot is reserved, then its token is queued, then in flight; the slot is free again once the
/// server has revoked the token. A token takes one slot: while it is queued or in flight, further
/// calls with it add nothing, since a revocation is permanent. No holder takes more than half of the
/// slots.
///
/// One failure may be due to its token. A second one, of another token, is taken for the server's:
/// then one attempt at a time is made, with growing pauses, until the server answers again.
#[derive(Debug)]
pub(crate) struct Queue {
    settings: QueueSettings,
    rng: Rng,
    waiting: BTreeMap<u64, QueuedToken>,
    schedule: BTreeSet<(Instant, u64)>,
    deadlines: BTreeSet<(Instant, u64)>,
    next_number: u64,
    slots: HashMap<TokenId, Slot>,
    by_holder: HashMap<KeyDigest, usize>,
    in_flight: usize,
    /// One attempt at a time is made, until one succeeds.
    is_cautious: bool,
    paused_until: Option<Instant>,
    failures_in_a_row: u32,
    last_to_fail: Option<u64>,
    /// All but `queued`.
    stats: RevocationClientStats,
}

impl Queue {
    /// `is_cautious`: the first attempt is made alone.
    pub(crate) fn new(settings: QueueSettings, rng: Rng, is_cautious: bool) -> Self {
        Self {
            settings,
            rng,
            waiting: BTreeMap::new(),
            schedule: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            next_number: 0,
            slots: HashMap::new(),
            by_holder: HashMap::new(),
            in_flight: 0,
            is_cautious,
            paused_until: None,
            failures_in_a_row: 0,
            last_to_fail: None,
            stats: RevocationClientStats::default(),
        }
    }

    pub(crate) fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    pub(crate) fn reserve(&mut self, token: TokenId, holder: KeyDigest) -> bool {
        let held = self.by_holder.get(&holder).copied().unwrap_or(0);
        let capacity = self.settings.capacity;
        let is_full = self.slots.len() >= capacity || held >= (capacity / 2).max(1);
        if is_full && !self.slots.contains_key(&token) {
            return false;
        }
        self.take_slot(token, holder);
        true
    }

    fn take_slot(&mut self, token: TokenId, holder: KeyDigest) {
        let slot = self.slots.entry(token).or_insert_with(|| {
            *self.by_holder.entry(holder).or_default() += 1;
            Slot {
                holder,
                calls: 0,
                is_queued: false,
            }
        });
        slot.calls += 1;
        self.stats.reserved += 1;
    }

    pub(crate) fn unreserve(&mut self, token: TokenId) {
        self.stats.reserved -= 1;
        self.leave(token, |slot| slot.calls -= 1);
    }

    /// Queues a token in the slot that was reserved for it. It is dropped at the deadline.
    pub(crate) fn put(&mut self, owed: OwedRevocation, deadline: Instant, now: Instant) {
        let id = owed.id;
        let was_queued = self.slots.get_mut(&id);
        let was_queued = was_queued.map(|slot| std::mem::replace(&mut slot.is_queued, true));
        self.unreserve(id);
        if was_queued != Some(false) {
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.wait(QueuedToken {
            number,
            owed,
            deadline,
            failed_attempts: 0,
            due: now,
            last_failure: None,
        });
    }

    /// Queues a token of an earlier process, also beyond the capacity.
    pub(crate) fn recover(&mut self, owed: OwedRevocation, deadline: Instant, now: Instant) {
        // Kept by this process, while the outbox was read.
        if self.is_queued(owed.id) {
            return;
        }
        self.take_slot(owed.id, owed.holder);
        self.put(owed, deadline, now);
        self.stats.recovered += 1;
    }

    /// Records how many tokens of an earlier process can't be read.
    pub(crate) fn set_unreadable(&mut self, tokens: usize) {
        self.stats.unreadable = tokens;
    }

    pub(crate) fn is_queued(&self, token: TokenId) -> bool {
        self.slots.get(&token).is_some_and(|slot| slot.is_queued)
    }

    /// Changes a slot, and frees it if that leaves it empty.
    fn leave(&mut self, token: TokenId, change: impl FnOnce(&mut Slot)) {
        let Some(slot) = self.slots.get_mut(&token) else {
            return;
        };
        change(slot);
        if slot.calls > 0 || slot.is_queued {
            return;
        }
        let holder = slot.holder;
        self.slots.remove(&token);
        match self.by_holder.get_mut(&holder) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(self.by_holder.remove(&holder)),
        }
    }

    /// The number of tokens that are waiting or in flight.
    pub(crate) fn queued(&self) -> usize {
        self.waiting.len() + self.in_flight
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queued() == 0 && self.stats.reserved == 0
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn next_step(&mut self, now: Instant) -> Step {
        if self.queued() == 0 {
            return Step::Done;
        }
        let deadline = self.deadlines.first().copied();
        if let Some((_, number)) = deadline.filter(|(deadline, _)| *deadline <= now)
            && let Some(token) = self.take(number)
        {
            self.in_flight += 1;
            return Step::Attempt(token);
        }
        let max_concurrency = if self.is_cautious {
            1
        } else {
            self.settings.max_concurrency
        };
        let due = self.schedule.first().map(|(due, _)| *due);
        let has_room = due.is_some() && self.in_flight < max_concurrency;
        let start = due.max(self.paused_until).filter(|_| has_room);
        if start.is_some_and(|start| start <= now)
            && let Some(token) = self.take_first()
        {
            self.in_flight += 1;
            return Step::Attempt(token);
        }
        let deadline = deadline.map(|(deadline, _)| deadline);
        Step::Wait(start.into_iter().chain(deadline).min())
    }

    /// Takes an attempt that has ended. `is_stale`: its credentials have been replaced since.
    pub(crate) fn complete(
        &mut self,
        mut token: QueuedToken,
        delivery: Delivery,
        is_stale: bool,
        now: Instant,
        wall: UnixTime,
    ) {
        self.in_flight -= 1;
        if delivery.is_final() {
            self.leave(token.owed.id, |slot| slot.is_queued = false);
        }
        match delivery {
            Delivery::Delivered => {
                self.stats.delivered += 1;
                self.server_answers();
            }
            Delivery::Rejected(code) => {
                self.stats.rejected += 1;
                self.stats.last_rejection = code;
                self.server_answers();
            }
            Delivery::Abandoned => self.stats.abandoned += 1,
            Delivery::Failed(DeliveryFailure::Credentials, _) if is_stale => self.wait(token),
            Delivery::Failed(failure, retry_after) => {
                self.stats.failing_since.get_or_insert(wall);
                self.stats.last_failure = Some(failure);
                self.stats.needs_operator = failure.needs_operator();
                token.due = now + self.pause(failure, token.failed_attempts, retry_after);
                token.failed_attempts = token.failed_attempts.saturating_add(1);
                token.last_failure = Some(failure);
                self.server_fails(token.number, failure, retry_after, now);
                self.wait(token);
            }
        }
    }

    /// Makes the tokens due that wait for new credentials.
    pub(crate) fn credentials_changed(&mut self, now: Instant) {
        const REJECTED: Option<DeliveryFailure> = Some(DeliveryFailure::Credentials);
        self.hurry(now, |token| token.last_failure == REJECTED);
        if self.stats.last_failure == REJECTED {
            self.paused_until = None;
        }
    }

    /// Makes every token due. If the server fails, one attempt at a time is made all the same.
    pub(crate) fn hurry_all(&mut self, now: Instant) {
        self.is_cautious |= self.failures_in_a_row > 0;
        self.paused_until = None;
        self.hurry(now, |_| true);
    }

    fn hurry(&mut self, now: Instant, is_meant: impl Fn(&QueuedToken) -> bool) {
        for token in self.waiting.values_mut() {
            if token.due > now && is_meant(token) {
                self.schedule.remove(&(token.due, token.number));
                token.due = now;
                self.schedule.insert((now, token.number));
            }
        }
    }

    fn wait(&mut self, token: QueuedToken) {
        self.schedule.insert((token.due, token.number));
        self.deadlines.insert((token.deadline, token.number));
        self.waiting.insert(token.number, token);
    }

    fn take_first(&mut self) -> Option<QueuedToken> {
        let (_, number) = self.schedule.first().copied()?;
        self.take(number)
    }

    fn take(&mut self, number: u64) -> Option<QueuedToken> {
        let token = self.waiting.remove(&number)?;
        self.schedule.remove(&(token.due, number));
        self.deadlines.remove(&(token.deadline, number));
        Some(token)
    }

    fn server_answers(&mut self) {
        self.is_cautious = false;
        self.paused_until = None;
        self.failures_in_a_row = 0;
        self.last_to_fail = None;
        self.stats.failing_since = None;
        self.stats.needs_operator = false;
    }

    fn server_fails(
        &mut self,
        number: u64,
        failure: DeliveryFailure,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        let is_paused = self.paused_until.is_some_and(|until| now < until);
        let is_another = self.last_to_fail.replace(number) != Some(number);
        if is_another && !is_paused {
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        }
        if self.failures_in_a_row < 2 && retry_after.is_none() {
            return;
        }
        self.is_cautious = true;
        let until = now + self.pause(failure, self.failures_in_a_row - 1, retry_after);
        if !is_paused || retry_after.is_some() {
            self.paused_until = self.paused_until.max(Some(until));
        }
    }

    /// Exponential backoff with full jitter, after what the server asked for.
    fn pause(
        &mut self,
        failure: DeliveryFailure,
        failed_attempts: u32,
        retry_after: Option<Duration>,
    ) -> Duration {
        let retry_after = retry_after.unwrap_or_default();
        if failure.needs_operator() {
            return self.settings.slow_retry_interval.max(retry_after);
        }
        let longest = FIRST_PAUSE
            .saturating_mul(1 << failed_attempts.min(16))
            .min(MAX_PAUSE);
        longest.mul_f64(self.rng.f64()) + retry_after
    }

    pub(crate) fn stats(&self) -> RevocationClientStats {
        RevocationClientStats {
            queued: self.queued(),
            ..self.stats
        }
    }
}
