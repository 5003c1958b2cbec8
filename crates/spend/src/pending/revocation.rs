//! The state machine of a pending revocation, which the calls of one token share. It does no I/O, and
//! the time is a parameter.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use tokio::time::Instant;
use tower_revoke_core::UnixTime;

use crate::commit::{FIRST_PAUSE, LONGEST_PAUSE};

/// 34 years: far enough away, and can still be added to an [`Instant`].
const FAR: Duration = Duration::from_secs(1 << 30);

/// `wait` after `now`.
pub(super) fn after(now: Instant, wait: Duration) -> Instant {
    now + wait.min(FAR)
}

/// A call that has joined, and the time at which its token is revoked at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JoinedCall {
    pub(super) deadline: Instant,
    pub(super) id: u64,
}

/// Responses that wait, by the time until which they do.
type Waiting<R> = BTreeMap<(Instant, u64), R>;

/// The revocation of one token, pending until the last call that has joined it has ended.
///
/// An end is covered by an attempt that *begins after it*, never by an earlier one: a lift between
/// the two would leave a valid token with a client that has a whole response. Calls may join at any
/// time, and those that end during an attempt wait together for the next one.
#[derive(Clone, Debug)]
pub(super) struct PendingRevocation<R> {
    exp: Option<UnixTime>,
    open: BTreeSet<JoinedCall>,
    waiting: Waiting<R>,
    /// Responses that the running attempt covers.
    covered: Waiting<R>,
    /// An end, a cancelled call or a deadline is not covered by any attempt yet.
    is_due: bool,
    is_running: bool,
    pause: Duration,
    /// `None` unless an attempt is due, and none is running.
    retry_at: Option<Instant>,
}

/// What the task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Asks the store to revoke the token, which expires then.
    Revoke(Option<UnixTime>),
    /// Waits for an answer, a change or the time.
    Wait,
    /// Ends: every call is covered.
    Done,
}

/// The responses that no longer wait, and whether the token was revoked in time.
pub(super) type Reports<R> = Vec<(R, bool)>;

impl<R> PendingRevocation<R> {
    /// `exp` is when the token expires.
    pub(super) fn new(exp: Option<UnixTime>) -> Self {
        Self {
            exp,
            open: BTreeSet::new(),
            waiting: Waiting::new(),
            covered: Waiting::new(),
            is_due: false,
            is_running: false,
            pause: FIRST_PAUSE,
            retry_at: None,
        }
    }

    /// Adds a call, which may read a later `exp` from the same token than the others. Returns
    /// whether its deadline is the next.
    pub(super) fn join(&mut self, call: JoinedCall, exp: Option<UnixTime>) -> bool {
        self.exp = self.exp.zip(exp).map(|(a, b)| a.max(b));
        self.open.insert(call);
        self.open.first() == Some(&call)
    }

    /// Ends a call whose response waits until the token is revoked, or until `limit`.
    pub(super) fn end(&mut self, call: JoinedCall, limit: Instant, report: R) {
        self.open.remove(&call);
        self.waiting.insert((limit, call.id), report);
        self.is_due = true;
        self.retry_at = None;
    }

    /// Ends a call whose client has left: it has spent the token, and nothing waits. After its
    /// deadline it is not open any more, and has spent the token then.
    pub(super) fn cancel(&mut self, call: JoinedCall) {
        self.is_due |= self.open.remove(&call);
    }

    /// Ends a call that does not revoke its token. Others may.
    pub(super) fn withdraw(&mut self, call: JoinedCall) {
        self.open.remove(&call);
    }

    /// Ends an attempt: the token is revoked, or has expired.
    pub(super) fn revoked(&mut self) -> Reports<R> {
        self.is_running = false;
        self.pause = FIRST_PAUSE;
        let covered = mem::take(&mut self.covered);
        covered.into_values().map(|report| (report, true)).collect()
    }

    /// Ends an attempt that failed, or whose outcome is unknown.
    pub(super) fn failed(&mut self, now: Instant) {
        self.is_running = false;
        // Responses that ended meanwhile don't wait for the pause of the others.
        let has_news = self.is_due && !self.waiting.is_empty();
        self.is_due = true;
        self.waiting.append(&mut self.covered);
        self.retry_at = (!has_news).then(|| now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    pub(super) fn step(&mut self, now: Instant) -> (Step, Reports<R>) {
        while self.open.first().is_some_and(|call| call.deadline <= now) {
            self.open.pop_first();
            self.is_due = true;
        }
        let may_begin = !self.is_running && self.retry_at.is_none_or(|at| at <= now);
        if self.is_due && may_begin {
            self.is_due = false;
            self.is_running = true;
            self.retry_at = None;
            self.covered.append(&mut self.waiting);
            // An attempt is polled once before limits count, so that a store that answers at once is
            // never late.
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
        let is_done = self.open.is_empty() && !self.is_due && !self.is_running;
        (if is_done { Step::Done } else { Step::Wait }, late)
    }

    /// Returns when the next step is due, if nothing changes before.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let limit = |waiting: &Waiting<R>| waiting.keys().next().map(|(limit, _)| *limit);
        let deadline = self.open.first().map(|call| call.deadline);
        let all = [
            deadline,
            self.retry_at,
            limit(&self.waiting),
            limit(&self.covered),
        ];
        all.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
