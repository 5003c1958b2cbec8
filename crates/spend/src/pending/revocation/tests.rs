//! A model of the calls, the store and the operator around a pending revocation, explored through
//! every schedule of a few events, and through long random ones.

use proptest::prelude::*;

use super::*;

/// Longer than every pause between two attempts.
const TICK: Duration = Duration::from_secs(10);
/// How long a response waits for the store.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A call joins, with its deadline this many ticks away.
    Join(u32),
    End(usize),
    Cancel(usize),
    Withdraw(usize),
    /// The store writes the revocation, but has not answered yet.
    Write,
    Answer,
    Fail,
    Lift,
    Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Ended at this step of the model.
    Waiting {
        since: u64,
        limit: Instant,
    },
    Reported(bool),
    /// Spent the token at this step, with no response waiting.
    Spent {
        since: u64,
    },
    Withdrawn,
}

#[derive(Clone, Debug)]
struct Model {
    pending: PendingRevocation<usize>,
    now: Instant,
    wake_at: Option<Instant>,
    calls: Vec<(JoinedCall, State)>,
    /// The steps at which a deadline of an open call passed.
    deadlines: Vec<u64>,
    /// Counts events, which orders them.
    at: u64,
    is_revoked: bool,
    /// The step of the store's last write.
    written: Option<u64>,
    /// When the running attempt began, and whether the store has written it.
    attempt: Option<(u64, bool)>,
    /// When the last answered attempt began.
    answered: Option<u64>,
    /// Something was spent, and no later attempt has been answered or is running.
    is_due: bool,
    is_done: bool,
}

impl Model {
    fn new() -> Self {
        Self {
            pending: PendingRevocation::new(None),
            now: Instant::now(),
            wake_at: None,
            calls: Vec::new(),
            deadlines: Vec::new(),
            at: 0,
            is_revoked: false,
            written: None,
            attempt: None,
            answered: None,
            is_due: false,
            is_done: false,
        }
    }

    fn may(&self, event: Event) -> bool {
        let is_open = |index: usize| {
            self.calls
                .get(index)
                .is_some_and(|(_, state)| *state == State::Open)
        };
        match event {
            Event::Join(_) | Event::Tick => !self.is_done,
            // After its deadline, a response can still end or be dropped.
            Event::End(index) | Event::Cancel(index) | Event::Withdraw(index) => {
                is_open(index) && !self.is_done
            }
            Event::Write => matches!(self.attempt, Some((_, false))),
            Event::Answer => matches!(self.attempt, Some((_, true))),
            Event::Fail => self.attempt.is_some(),
            Event::Lift => self.is_revoked && !self.is_done,
        }
    }

    fn happens(&mut self, event: Event) {
        self.at += 1;
        let mut reports = Reports::new();
        match event {
            Event::Join(ticks) => {
                let call = JoinedCall {
                    deadline: self.now + TICK * ticks,
                    id: self.calls.len() as u64,
                };
                let first = self
                    .calls
                    .iter()
                    .filter(|(call, state)| *state == State::Open && call.deadline > self.now);
                let is_first = first
                    .clone()
                    .all(|(other, _)| other.deadline > call.deadline);
                assert_eq!(self.pending.join(call, None), is_first);
                self.calls.push((call, State::Open));
            }
            Event::End(index) => {
                let limit = self.now + LIMIT;
                let since = self.at;
                self.pending.end(self.calls[index].0, limit, index);
                self.calls[index].1 = State::Waiting { since, limit };
                self.is_due = true;
            }
            Event::Cancel(index) => {
                let call = self.calls[index].0;
                self.pending.cancel(call);
                // After the deadline, the token has been spent already.
                let is_news = call.deadline > self.now;
                self.is_due |= is_news;
                self.calls[index].1 = match is_news {
                    true => State::Spent { since: self.at },
                    false => State::Withdrawn,
                };
            }
            Event::Withdraw(index) => {
                self.pending.withdraw(self.calls[index].0);
                self.calls[index].1 = State::Withdrawn;
            }
            Event::Write => {
                self.attempt = self.attempt.map(|(began, _)| (began, true));
                self.is_revoked = true;
                self.written = Some(self.at);
            }
            Event::Answer => {
                self.answered = self.attempt.take().map(|(began, _)| began);
                reports = self.pending.revoked();
            }
            Event::Fail => {
                self.attempt = None;
                self.is_due = true;
                self.pending.failed(self.now);
            }
            Event::Lift => self.is_revoked = false,
            Event::Tick => {
                let before = self.now;
                self.now += TICK;
                let passes =
                    |call: &JoinedCall| before < call.deadline && call.deadline <= self.now;
                if self
                    .calls
                    .iter()
                    .any(|(call, state)| *state == State::Open && passes(call))
                {
                    self.deadlines.push(self.at);
                    self.is_due = true;
                }
            }
        }
        // Every event wakes the task; time does so only when the task asked for it.
        if event != Event::Tick || self.wake_at.is_some_and(|at| at <= self.now) {
            self.steps(reports);
        }
        self.holds(event);
    }

    fn steps(&mut self, mut reports: Reports<usize>) {
        loop {
            let (step, late) = self.pending.step(self.now);
            reports.extend(late);
            match step {
                Step::Revoke(_) => {
                    assert!(self.attempt.is_none(), "two concurrent attempts");
                    assert!(self.is_due, "an unnecessary attempt");
                    self.attempt = Some((self.at, false));
                    self.is_due = false;
                }
                Step::Wait | Step::Done => {
                    self.is_done = step == Step::Done;
                    break;
                }
            }
        }
        self.wake_at = self.pending.wake_at();
        assert!(self.wake_at.is_none_or(|at| at > self.now), "a busy loop");
        for (index, in_time) in reports {
            self.reported(index, in_time);
        }
    }

    /// Checks a report against the model.
    fn reported(&mut self, index: usize, in_time: bool) {
        let State::Waiting { since, limit } = self.calls[index].1 else {
            panic!("reported without waiting: {:?}", self.calls[index]);
        };
        if in_time {
            assert!(
                self.answered >= Some(since),
                "covered by an earlier attempt"
            );
            assert!(self.written > Some(since), "no later write");
        } else {
            assert!(limit <= self.now, "failed before its limit");
        }
        self.calls[index].1 = State::Reported(in_time);
    }

    /// Checks the invariants while the task waits.
    fn holds(&self, event: Event) {
        for (_, state) in &self.calls {
            if let State::Waiting { limit, .. } = state {
                assert!(*limit > self.now, "waits past its limit");
            }
        }
        if event == Event::Tick && self.is_due {
            assert!(
                self.attempt.is_some(),
                "no attempt is running although one is due"
            );
        }
        if self.is_done {
            assert!(
                !self.is_due && self.attempt.is_none(),
                "done while a revocation is due"
            );
            for (call, state) in &self.calls {
                match state {
                    State::Open => assert!(call.deadline <= self.now, "done before its end"),
                    State::Waiting { .. } => panic!("done while a response waits"),
                    State::Spent { since } => {
                        assert!(
                            self.answered >= Some(*since),
                            "spent without a later revocation"
                        );
                    }
                    State::Reported(_) | State::Withdrawn => {}
                }
            }
            for since in &self.deadlines {
                assert!(
                    self.answered >= Some(*since),
                    "a deadline passed without a revocation"
                );
            }
        }
    }
}

/// How often each event may still happen.
#[derive(Clone, Copy)]
struct Budget {
    joins: u32,
    ticks: u32,
    fails: u32,
    lifts: u32,
}

/// Explores every schedule; returns how many there are.
fn walk(model: &Model, budget: Budget) -> u64 {
    let mut schedules = 0;
    let mut go = |event: Event, budget: Budget| {
        if model.may(event) {
            let mut next = model.clone();
            next.happens(event);
            schedules += walk(&next, budget);
        }
    };
    if let Some(joins) = budget.joins.checked_sub(1) {
        // The call that joins later has the shorter deadline.
        go(Event::Join(1 + joins), Budget { joins, ..budget });
    }
    for index in 0..model.calls.len() {
        go(Event::End(index), budget);
        go(Event::Cancel(index), budget);
        go(Event::Withdraw(index), budget);
    }
    go(Event::Write, budget);
    go(Event::Answer, budget);
    if let Some(fails) = budget.fails.checked_sub(1) {
        go(Event::Fail, Budget { fails, ..budget });
    }
    if let Some(lifts) = budget.lifts.checked_sub(1) {
        go(Event::Lift, Budget { lifts, ..budget });
    }
    if let Some(ticks) = budget.ticks.checked_sub(1) {
        go(Event::Tick, Budget { ticks, ..budget });
    }
    schedules.max(1)
}

/// TRAPS 42: two calls, a lift, a store failure and time, in every order.
#[test]
fn trap_42_every_end_is_covered_by_a_revocation_that_began_after_it_in_every_schedule() {
    let budget = Budget {
        joins: 2,
        ticks: 2,
        fails: 1,
        lifts: 1,
    };
    let mut model = Model::new();
    model.happens(Event::Join(2));
    let schedules = walk(&model, Budget { joins: 1, ..budget });
    assert!(schedules > 10_000, "{schedules}");
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (1..6_u32).prop_map(Event::Join),
        2 => (0..20_usize).prop_map(Event::End),
        1 => (0..20_usize).prop_map(Event::Cancel),
        1 => (0..20_usize).prop_map(Event::Withdraw),
        2 => Just(Event::Write),
        2 => Just(Event::Answer),
        1 => Just(Event::Fail),
        1 => Just(Event::Lift),
        1 => Just(Event::Tick),
    ]
}

/// A revocation joined by two calls that each last for a minute.
fn joined(now: Instant) -> (PendingRevocation<u64>, [JoinedCall; 2]) {
    let deadline = now + Duration::from_secs(60);
    let calls = [1, 2].map(|id| JoinedCall { deadline, id });
    let mut revocation = PendingRevocation::new(None);
    assert!(revocation.join(calls[0], None));
    assert!(!revocation.join(calls[1], None));
    (revocation, calls)
}

#[test]
fn the_pause_after_a_failure_doubles_up_to_its_maximum() {
    let mut now = Instant::now();
    let (mut revocation, [call, _]) = joined(now);
    revocation.cancel(call);
    let pauses = (0..10).map(|power| (FIRST_PAUSE * (1 << power)).min(LONGEST_PAUSE));
    for pause in pauses {
        assert_eq!(revocation.step(now).0, Step::Revoke(None));
        revocation.failed(now);
        assert_eq!(revocation.step(now).0, Step::Wait);
        assert_eq!(revocation.wake_at(), Some(now + pause));
        now += pause;
    }
    assert_eq!(revocation.step(now).0, Step::Revoke(None));
    assert!(revocation.revoked().is_empty());
}

#[test]
fn a_response_that_ends_during_a_failing_attempt_skips_the_pause() {
    let now = Instant::now();
    let limit = now + Duration::from_secs(2);
    let (mut revocation, [first, second]) = joined(now);
    revocation.end(first, limit, first.id);
    assert_eq!(revocation.step(now).0, Step::Revoke(None));
    revocation.end(second, limit, second.id);
    revocation.failed(now);
    assert_eq!(revocation.step(now).0, Step::Revoke(None));
    assert_eq!(revocation.revoked(), [(1, true), (2, true)]);
    assert_eq!(revocation.step(now), (Step::Done, Vec::new()));
}

#[test]
fn a_client_that_leaves_during_a_failing_attempt_keeps_the_pause() {
    let now = Instant::now();
    let (mut revocation, [first, second]) = joined(now);
    revocation.cancel(first);
    assert_eq!(revocation.step(now).0, Step::Revoke(None));
    revocation.cancel(second);
    revocation.failed(now);
    assert_eq!(revocation.step(now).0, Step::Wait);
    assert_eq!(revocation.wake_at(), Some(now + FIRST_PAUSE));
}

#[test]
fn the_longest_deadline_is_decades_away() {
    let now = Instant::now();
    let decades = Duration::from_secs(20 * 365 * 24 * 60 * 60);
    assert!(after(now, Duration::MAX) > now + decades);
}

proptest! {
    #[test]
    fn trap_42_long_schedules_of_many_calls_at_random(
        events in prop::collection::vec(any_event(), 1..100)
    ) {
        let mut model = Model::new();
        model.happens(Event::Join(3));
        for event in events {
            if model.may(event) {
                model.happens(event);
            }
        }
    }
}
