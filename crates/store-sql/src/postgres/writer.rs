//! The task that writes: what waits at the same time goes to the server as one transaction.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use sqlx::{Connection, PgConnection, Row, postgres::PgConnectOptions};
use tokio::sync::{mpsc, oneshot};
use tower_revoke_core::Clock;

use super::{
    op::{self, Op},
    statements::Statements,
};
use crate::{
    error::{Failure, Kind},
    value::secs,
};

/// How much goes into one transaction, about.
const AT_ONCE: usize = 1_024;

/// After how many writes the feed is trimmed, and how much of it at once.
const TRIM_EVERY: usize = 1_024;
const TRIMMED_AT_ONCE: i64 = 8_192;

/// How often what was rolled back is tried again.
const ATTEMPTS: usize = 5;

/// The answer to a lift, a claim or a release; the other ones have none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) outcome: i16,
    pub(crate) number: i64,
}

/// What one caller asked.
pub(crate) struct Request {
    pub(crate) ops: Vec<Op>,
    pub(crate) reply: oneshot::Sender<Result<Answer, Failure>>,
}

pub(crate) struct Writer {
    pub(crate) options: PgConnectOptions,
    pub(crate) statements: Arc<Statements>,
    pub(crate) clock: Clock,
    pub(crate) within: Duration,
    pub(crate) changes_kept: i64,
    pub(crate) changes_kept_for: Duration,
}

impl Writer {
    /// Works until nobody can ask any more.
    pub(crate) async fn run(self, mut asked: mpsc::Receiver<Request>) {
        let mut link = None;
        let mut queue = VecDeque::new();
        let mut since_trim = TRIM_EVERY;
        loop {
            if queue.is_empty() {
                match asked.recv().await {
                    Some(request) => queue.push_back(request),
                    None => break,
                }
                tokio::task::yield_now().await;
            }
            // Who was just answered asks again at once. For as long as more come they are waited
            // for, else a first few would take the flush that all could share.
            loop {
                let before = queue.len();
                while let Ok(request) = asked.try_recv() {
                    queue.push_back(request);
                }
                if queue.len() == before || queue.len() >= AT_ONCE {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let mut some = Vec::new();
            let mut count = 0;
            while let Some(request) = queue.pop_front() {
                if count > 0 && count + request.ops.len() > AT_ONCE {
                    queue.push_front(request);
                    break;
                }
                // Who has gone doesn't wait for an answer, and asks again where it matters.
                if !request.reply.is_closed() {
                    count += request.ops.len();
                    some.push(request);
                }
            }
            if some.is_empty() {
                continue;
            }
            self.serve(&mut link, some).await;
            since_trim += count;
            if since_trim >= TRIM_EVERY {
                since_trim = 0;
                self.trim(&mut link).await;
            }
        }
        if let Some(link) = link {
            let _ = tokio::time::timeout(self.within, PgConnection::close(link)).await;
        }
    }

    /// One transaction for all; where its connection broke, a second one for those that may be
    /// asked twice.
    async fn serve(&self, link: &mut Option<PgConnection>, requests: Vec<Request>) {
        let was_open = link.is_some();
        let failure = match self.write(link, &requests).await {
            Ok(answers) => return reply(requests, answers),
            Err(failure) => failure,
        };
        if !was_open || !matches!(failure, Failure::InDoubt(_)) {
            return refuse(requests, &failure);
        }
        let (again, once): (Vec<_>, Vec<_>) = requests
            .into_iter()
            .partition(|request| request.ops.iter().all(Op::can_be_repeated));
        refuse(once, &failure);
        if again.is_empty() {
            return;
        }
        match self.write(link, &again).await {
            Ok(answers) => reply(again, answers),
            Err(failure) => refuse(again, &failure),
        }
    }

    async fn write(
        &self,
        link: &mut Option<PgConnection>,
        requests: &[Request],
    ) -> Result<Vec<Answer>, Failure> {
        let ops: Vec<&Op> = requests.iter().flat_map(|request| &request.ops).collect();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let written = tokio::time::timeout(self.within, self.attempt(link, &ops)).await;
            let error = match written {
                Ok(Ok(answers)) => return Ok(per_request(requests, &answers)),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::TimedOut(self.within),
            };
            let Failure::Database(error) = error else {
                *link = None;
                return Err(error);
            };
            match Kind::of(&error) {
                Kind::Again if attempt < ATTEMPTS => {}
                Kind::Broken => {
                    *link = None;
                    return Err(Failure::InDoubt(error));
                }
                Kind::TimedOut => return Err(Failure::TimedOut(self.within)),
                Kind::Again | Kind::Other => {
                    // Whatever it is, a new connection may find another server.
                    *link = None;
                    return Err(Failure::Database(error));
                }
            }
        }
    }

    async fn attempt(
        &self,
        link: &mut Option<PgConnection>,
        ops: &[&Op],
    ) -> Result<Vec<Answer>, Failure> {
        // Taken out: a call that is cut off leaves a connection of no use.
        let mut open = match link.take() {
            Some(open) => open,
            None => PgConnection::connect_with(&self.options).await?,
        };
        let answers = self.ask(&mut open, ops).await;
        *link = Some(open);
        answers
    }

    /// First, in one statement, the new claims among claims of only uses, which are most of what is
    /// ever asked; then all the rest. Two transactions do no harm: nobody who waits here was
    /// promised an order.
    async fn ask(&self, open: &mut PgConnection, ops: &[&Op]) -> Result<Vec<Answer>, Failure> {
        let mut mark = [0; 8];
        getrandom::fill(&mut mark).map_err(|_| Failure::Random)?;
        let mark = i64::from_be_bytes(mark);
        let now = self.clock.now();
        let mut answers = vec![Answer::default(); ops.len()];
        let (mut singles, mut rest): (Vec<_>, Vec<_>) =
            (0..ops.len()).partition(|place| ops[*place].is_single_claim());
        if !singles.is_empty() {
            let claims: Vec<_> = singles.iter().map(|place| ops[*place]).collect();
            let claim_new = op::bound_singles(&self.statements.claim_new, now, mark, &claims);
            for row in claim_new.fetch_all(&mut *open).await? {
                let won = place(row.try_get(0)?);
                let won = won.and_then(|won| singles.get_mut(won));
                let won = won.ok_or(Failure::Garbled("an answer"))?;
                // Nobody's place: it is decided.
                let decided = std::mem::replace(won, usize::MAX);
                let answer = answers.get_mut(decided);
                answer.ok_or(Failure::Garbled("an answer"))?.outcome = 1;
            }
            rest.extend(singles.into_iter().filter(|place| *place != usize::MAX));
        }
        if rest.is_empty() {
            return Ok(answers);
        }
        let others: Vec<_> = rest.iter().map(|place| ops[*place]).collect();
        let apply = op::bound(&self.statements.apply, now, mark, &others);
        for row in apply.fetch_all(open).await? {
            let asked = place(row.try_get(0)?).and_then(|asked| rest.get(asked));
            let answer = asked.and_then(|asked| answers.get_mut(*asked));
            *answer.ok_or(Failure::Garbled("an answer"))? = Answer {
                outcome: row.try_get(1)?,
                number: row.try_get(2)?,
            };
        }
        Ok(answers)
    }

    /// Forgets old changes. What is not done now is done the next time.
    async fn trim(&self, link: &mut Option<PgConnection>) {
        let Some(mut open) = link.take() else {
            return;
        };
        let since = self.clock.now().saturating_sub(self.changes_kept_for);
        let trim = sqlx::query(&self.statements.trim)
            .bind(self.changes_kept)
            .bind(secs(since))
            .bind(TRIMMED_AT_ONCE)
            .execute(&mut open);
        match tokio::time::timeout(self.within, trim).await {
            Ok(Ok(_)) => *link = Some(open),
            Ok(Err(error)) => tracing::warn!(%error, "old changes could not be forgotten"),
            Err(_) => tracing::warn!("old changes could not be forgotten in time"),
        }
    }
}

/// Arrays of the server's begin at 1.
fn place(number: i64) -> Option<usize> {
    usize::try_from(number.checked_sub(1)?).ok()
}

/// The last answer of each request: what has an answer is asked alone.
fn per_request(requests: &[Request], answers: &[Answer]) -> Vec<Answer> {
    let mut rest = answers;
    let mut last = |request: &Request| {
        let (own, others) = rest.split_at(request.ops.len().min(rest.len()));
        rest = others;
        own.last().copied().unwrap_or_default()
    };
    requests.iter().map(&mut last).collect()
}

fn reply(requests: Vec<Request>, answers: Vec<Answer>) {
    for (request, answer) in requests.into_iter().zip(answers) {
        // Who has gone is not told.
        let _ = request.reply.send(Ok(answer));
    }
}

fn refuse(requests: Vec<Request>, failure: &Failure) {
    for request in requests {
        let _ = request.reply.send(Err(failure.clone()));
    }
}
