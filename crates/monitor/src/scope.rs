//! One call of a composite: judged once, when it and its parts have ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::panicking,
    time::Duration,
};

use tower_revoke_core::Outcome;

use crate::{Monitor, call::Ended, context::Context, counters::End};

#[derive(Debug)]
pub(crate) struct Scope {
    monitor: Monitor,
    context: Arc<Context>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The number of parts that have not ended.
    open: usize,
    /// Of the parts that have ended.
    worst: Outcome,
    own: Own,
}

/// The composite's own call.
#[derive(Debug)]
enum Own {
    Running,
    /// It waits for its parts, as one of [`Waiting`].
    Ended {
        call: Box<OwnCall>,
        until: Deadline,
    },
    Judged,
}

#[derive(Debug)]
struct OwnCall {
    ended: Ended,
    /// Of the composite around this one.
    part: Option<Part>,
}

/// When the parts of a call are no longer waited for, and a number, since several may end at once.
type Deadline = (Duration, u64);

/// The calls of all composites that wait for their parts. No timer runs: who reads the counts judges
/// first those that have waited for too long, and so does each call that ends.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    // A scope holds its monitor, so it is removed when it is judged.
    scopes: BTreeMap<Deadline, Arc<Scope>>,
    added: u64,
}

impl Waiting {
    fn add(&self, until: Duration, scope: &Arc<Scope>) -> Deadline {
        let mut queue = self.queue();
        queue.added += 1;
        let until = (until, queue.added);
        queue.scopes.insert(until, scope.clone());
        until
    }

    fn remove(&self, until: &Deadline) {
        self.queue().scopes.remove(until);
    }

    /// Judges those that have waited for too long, the innermost of nested ones first.
    pub(crate) fn judge_overdue(&self, now: Duration) {
        while let Some(scope) = self.pop_overdue(now) {
            scope.judge_ended(scope.state(), true);
        }
    }

    fn pop_overdue(&self, now: Duration) -> Option<Arc<Scope>> {
        let mut queue = self.queue();
        let first = queue.scopes.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// A poisoned lock is taken: nothing under it panics half way through a change.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scope {
    pub(crate) fn new(monitor: Monitor, context: Arc<Context>) -> Arc<Self> {
        Arc::new(Self {
            monitor,
            context,
            state: Mutex::new(State {
                open: 0,
                worst: Outcome::Success,
                own: Own::Running,
            }),
        })
    }

    /// Ends the composite's own call, which is counted once its parts have ended.
    pub(crate) fn end_own(self: &Arc<Self>, ended: Ended, part: Option<Part>) {
        let call = Box::new(OwnCall { ended, part });
        let now = self.now();
        let mut state = self.state();
        if state.open > 0 {
            let until = now.saturating_add(self.monitor.part_timeout());
            let until = self.monitor.waiting().add(until, self);
            state.own = Own::Ended { call, until };
            drop(state);
        } else {
            state.own = Own::Judged;
            let worst = state.worst;
            drop(state);
            self.judge(*call, worst, false);
        }
        self.monitor.waiting().judge_overdue(now);
    }

    fn end_part(&self, outcome: Outcome, has_timed_out: bool) {
        let mut state = self.state();
        match state.own {
            Own::Running => {}
            // All that are overdue, since a composite around this one may be overdue by more.
            Own::Ended { until, .. } if !has_timed_out && until.0 <= self.now() => {
                drop(state);
                self.monitor.waiting().judge_overdue(self.now());
                return self.context.count_late();
            }
            Own::Ended { .. } => {}
            Own::Judged => return self.context.count_late(),
        }
        state.open -= 1;
        state.worst = worse(state.worst, as_part(outcome));
        if state.open == 0 {
            self.judge_ended(state, false);
        }
    }

    /// Judges the call, unless it goes on or was judged.
    fn judge_ended(&self, mut state: MutexGuard<'_, State>, has_timed_out: bool) {
        if !matches!(state.own, Own::Ended { .. }) {
            return;
        }
        let own = std::mem::replace(&mut state.own, Own::Judged);
        let worst = match has_timed_out {
            true => worse(state.worst, Outcome::Cancelled),
            false => state.worst,
        };
        // Counting may call the recorder of the program, so the lock is released before.
        drop(state);
        if let Own::Ended { call, until } = own {
            self.monitor.waiting().remove(&until);
            self.judge(*call, worst, has_timed_out);
        }
    }

    fn judge(&self, call: OwnCall, worst: Outcome, has_timed_out: bool) {
        let OwnCall { ended, part } = call;
        let own = ended.end();
        let end = match worse(own.outcome, worst) {
            outcome if outcome == own.outcome => own,
            outcome => End::from(outcome),
        };
        ended.count(end, self.now());
        if let Some(mut part) = part {
            part.has_timed_out = has_timed_out;
            part.end(end.outcome);
        }
    }

    fn now(&self) -> Duration {
        self.monitor.clock().uptime()
    }

    /// A poisoned lock is taken: nothing under it panics half way through a change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn worse(a: Outcome, b: Outcome) -> Outcome {
    let badness = |outcome| match outcome {
        Outcome::Success => 0,
        Outcome::Cancelled => 1,
        // Of the composite's own call, see `as_part`.
        Outcome::Rejected => 2,
        Outcome::Failure => 3,
        Outcome::Exception => 4,
    };
    std::cmp::max_by_key(a, b, |outcome| badness(*outcome))
}

fn as_part(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Rejected => Outcome::Failure,
        outcome => outcome,
    }
}

/// A call that a composite waits for. If it is dropped before it has ended, it is cancelled.
#[derive(Debug)]
pub(crate) struct Part {
    scope: Arc<Scope>,
    /// `None` until it has ended.
    outcome: Option<Outcome>,
    /// Whether it is a nested composite that has timed out. It is noticed later than it happened.
    has_timed_out: bool,
}

impl Part {
    pub(crate) fn open(scope: &Arc<Scope>) -> Self {
        scope.state().open += 1;
        Self {
            scope: scope.clone(),
            outcome: None,
            has_timed_out: false,
        }
    }

    pub(crate) fn end(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// Ends a part that was opened by mistake.
    pub(crate) fn withdraw(self) {
        self.end(Outcome::Success);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let dropped = || match panicking() {
            true => Outcome::Exception,
            false => Outcome::Cancelled,
        };
        let outcome = self.outcome.unwrap_or_else(dropped);
        self.scope.end_part(outcome, self.has_timed_out);
    }
}
