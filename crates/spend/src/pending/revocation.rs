//! A pending revocation that the calls of one token share. No I/O; the time comes in.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use tokio::time::Instant;
use tower_revoke_core::UnixTime;

const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Far enough away, and can still be added to an [`Instant`].
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// `wait` after `now`.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    now + wait.min(FAR)
}

/// A call that has joined, and when its token is revoked at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) deadline: Instant,
    pub(crate) id: u64,
}

/// Responses that wait, by the time until which they do.
type Waiting<R> = BTreeMap<(Instant, u64), R>;

/// The revocation of one token, which every call that has joined owes until it ends or is
/// withdrawn.
///
/// An end is covered by an attempt that *begins after it*, never by an earlier one: a lift may come
/// between the two, and would leave a live token behind a whole response. So calls may join at any
/// time, and ends that come while the store is asked wait together for the next attempt.
#[derive(Clone, Debug)]
pub(crate) struct PendingRevocation<R> {
    exp: Option<UnixTime>,
    open: BTreeSet<Call>,
    waiting: Waiting<R>,
    /// Those that the attempt that runs covers.
    covered: Waiting<R>,
    /// Something that no attempt covers yet: an end, a cancelled call, a deadline.
    is_owed: bool,
    is_running: bool,
    pause: Duration,
    retry_at: Option<Instant>,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask the store to revoke the token, which expires then.
    Revoke(Option<UnixTime>),
    /// Wait for something to happen.
    Wait,
    /// No call owes anything.
    Done,
}

/// Who waited, and whether the token was revoked in time.
pub(crate) type Reports<R> = Vec<(R, bool)>;

impl<R> PendingRevocation<R> {
    /// `exp`: when the token expires.
    pub(crate) fn new(exp: Option<UnixTime>) -> Self {
        Self {
            exp,
            open: BTreeSet::new(),
            waiting: Waiting::new(),
            covered: Waiting::new(),
            is_owed: false,
            is_running: false,
            pause: FIRST_PAUSE,
            retry_at: None,
        }
    }

    /// Lets a call join, whose token may be remembered for longer than that of the others. Whether
    /// the next deadline is its own.
    pub(crate) fn join(&mut self, call: Call, exp: Option<UnixTime>) -> bool {
        self.exp = self.exp.zip(exp).map(|(a, b)| a.max(b));
        self.open.insert(call);
        self.open.first() == Some(&call)
    }

    /// The response of a call ends: it waits until the token was revoked, or until `limit`.
    pub(crate) fn end(&mut self, call: Call, limit: Instant, report: R) {
        self.open.remove(&call);
        self.waiting.insert((limit, call.id), report);
        self.is_owed = true;
        self.retry_at = None;
    }

    /// The call was dropped: nobody waits, but it has spent the token. Past its deadline it has
    /// done so before.
    pub(crate) fn cancel(&mut self, call: Call) {
        self.is_owed |= self.open.remove(&call);
    }

    /// The call owes nothing. Others may.
    pub(crate) fn withdraw(&mut self, call: Call) {
        self.open.remove(&call);
    }

    /// The store has revoked the token, or it has expired.
    pub(crate) fn revoked(&mut self) -> Reports<R> {
        self.is_running = false;
        self.pause = FIRST_PAUSE;
        let covered = mem::take(&mut self.covered);
        covered.into_values().map(|report| (report, true)).collect()
    }

    /// The store did not say that it has revoked the token.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.is_running = false;
        // Who came meanwhile need not wait for the pause of the others.
        let has_news = self.is_owed && !self.waiting.is_empty();
        self.is_owed = true;
        self.waiting.append(&mut self.covered);
        self.retry_at = (!has_news).then(|| now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    pub(crate) fn step(&mut self, now: Instant) -> (Step, Reports<R>) {
        while self.open.first().is_some_and(|call| call.deadline <= now) {
            self.open.pop_first();
            self.is_owed = true;
        }
        let may_begin = !self.is_running && self.retry_at.is_none_or(|at| at <= now);
        if self.is_owed && may_begin {
            self.is_owed = false;
            self.is_running = true;
            self.retry_at = None;
            self.covered.append(&mut self.waiting);
            // The attempt is polled once before anybody's limit counts.
            return (Step::Revoke(self.exp), Vec::new());
        }
        let mut late = Vec::new();
        for waiting in [&mut self.waiting, &mut self.covered] {
            while let Some(first) = waiting.first_entry()
                && first.key().0 <= now
            {
                late.push((first.remove(), false));
            }
        }
        let is_done = self.open.is_empty() && !self.is_owed && !self.is_running;
        (if is_done { Step::Done } else { Step::Wait }, late)
    }

    /// When the next step is due, if nothing happens before.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let limit = |waiting: &Waiting<R>| waiting.keys().next().map(|(limit, _)| *limit);
        let deadline = self.open.first().map(|call| call.deadline);
        let retry = self.retry_at.filter(|_| self.is_owed && !self.is_running);
        let all = [deadline, retry, limit(&self.waiting), limit(&self.covered)];
        all.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
