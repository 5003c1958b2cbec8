//! The writing task. It gathers the writes that wait at the same time into one transaction (group
//! commit), so that they share the flush of the log, which is most of the cost of a write.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};
use tower_revoke_core::{Clock, internal::LogLimit};

use crate::{
    backend::{Backend, Batch, Trim},
    error::{Failure, Kind},
    op::{Answer, Op},
};

/// The maximum number of operations in one transaction, unless a single request has more.
const AT_ONCE: usize = 1_024;

/// After how many writes the feed is trimmed, and how many events that removes at most.
const TRIM_EVERY: usize = 1_024;
const TRIMMED_AT_ONCE: i64 = 8_192;

/// How many times a transaction that had no effect is attempted: after a serialization conflict, or
/// if the connection broke before anything was written.
const ATTEMPTS: usize = 5;

/// The write of one caller.
pub(crate) struct Request {
    pub(crate) ops: Vec<Op>,
    pub(crate) reply: oneshot::Sender<Result<Answer, Failure>>,
}

pub(crate) struct Queue<D> {
    pub(crate) backend: Arc<D>,
    /// The request timeout, which bounds each attempt.
    pub(crate) within: Duration,
    pub(crate) feed_capacity: i64,
    /// In seconds.
    pub(crate) feed_retention: i64,
    /// Limits the log of failed attempts to trim the feed.
    pub(crate) not_trimmed: LogLimit,
}

impl<D: Backend> Queue<D> {
    /// Runs until the last handle of the store is dropped.
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
            // Callers of the last transaction have just been woken, and often write again at once.
            // Yield to them for as long as that brings new requests: otherwise the first few would
            // start a transaction by themselves, and the rest would wait for a second flush.
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
                // The caller has dropped its future, and repeats the call if it still matters.
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
        let _ = tokio::time::timeout(self.within, self.backend.close(link)).await;
    }

    /// Writes all requests in one transaction. If a connection breaks that was open before, repeats
    /// the requests that give the same answer twice over a new one, and fails the others as
    /// ambiguous. There is no second attempt if even the new connection breaks.
    async fn serve(&self, link: &mut Option<D::Link>, requests: Vec<Request>) {
        let was_open = link.is_some();
        let failure = match self.write(link, &requests).await {
            Ok(answers) => return reply(requests, answers),
            Err(failure) => failure,
        };
        if !was_open || !matches!(failure, Failure::InDoubt(_)) {
            return reject(requests, &failure);
        }
        let (again, once): (Vec<_>, Vec<_>) = requests
            .into_iter()
            .partition(|request| request.ops.iter().all(Op::can_be_repeated));
        reject(once, &failure);
        if again.is_empty() {
            return;
        }
        match self.write(link, &again).await {
            Ok(answers) => reply(again, answers),
            Err(failure) => reject(again, &failure),
        }
    }

    /// Writes the requests in one transaction, and retries while that is known to have had no
    /// effect. Keeps the connection only if its state is known. A timeout is not retried, since the
    /// callers have stopped waiting by then.
    async fn write(
        &self,
        link: &mut Option<D::Link>,
        requests: &[Request],
    ) -> Result<Vec<Answer>, Failure> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let written = tokio::time::timeout(self.within, self.attempt(link, requests)).await;
            let error = match written {
                Ok(Ok(answers)) => return Ok(per_request(requests, &answers)),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::TimedOut(self.within),
            };
            let error = match error {
                Failure::Database(error) => error,
                Failure::Undone(_) if attempt < ATTEMPTS => {
                    *link = None;
                    continue;
                }
                other => {
                    *link = None;
                    return Err(other);
                }
            };
            match D::kind(&error) {
                Kind::Again if attempt < ATTEMPTS => {}
                Kind::Broken => {
                    *link = None;
                    return Err(Failure::InDoubt(error));
                }
                Kind::TimedOut => return Err(Failure::TimedOut(self.within)),
                Kind::Full => return Err(Failure::Full),
                Kind::Again | Kind::Other => {
                    // A new connection may reach another server, such as the new primary.
                    *link = None;
                    return Err(Failure::Database(error));
                }
            }
        }
    }

    async fn attempt(
        &self,
        link: &mut Option<D::Link>,
        requests: &[Request],
    ) -> Result<Vec<Answer>, Failure> {
        // Taken out, so that a timeout drops the connection with this future. It may be in the
        // middle of a response or of a transaction, and must not be used again.
        let mut open = match link.take() {
            Some(open) => open,
            None => self.backend.open().await?,
        };
        let mut mark = [0; 8];
        getrandom::fill(&mut mark).map_err(|_| Failure::Random)?;
        let batch = Batch {
            mark: i64::from_be_bytes(mark),
            ops: requests.iter().flat_map(|request| &request.ops).collect(),
        };
        let answers = self.backend.apply(&mut open, &batch).await;
        *link = Some(open);
        answers
    }

    /// Removes old events. What a failed call leaves is removed by the next one.
    async fn trim(&self, link: &mut Option<D::Link>) {
        let Some(mut open) = link.take() else {
            return;
        };
        let trim = Trim {
            kept: self.feed_capacity,
            retention: self.feed_retention,
            at_once: TRIMMED_AT_ONCE,
        };
        let trim = self.backend.trim(&mut open, trim);
        match tokio::time::timeout(self.within, trim).await {
            Ok(Ok(())) => *link = Some(open),
            Ok(Err(error)) => self.not_trimmed(&error),
            Err(_) => self.not_trimmed(&Failure::TimedOut(self.within)),
        }
    }

    fn not_trimmed(&self, error: &Failure) {
        if let Some(count) = self.not_trimmed.count(Clock::system().uptime(), 1) {
            tracing::warn!(
                target: "tower_revoke::store_sql",
                %error,
                count,
                "old changes could not be forgotten"
            );
        }
    }
}

/// Returns the last answer of each request. Operations that have an answer are alone in theirs.
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
        // Fails if the caller has dropped its future.
        let _ = request.reply.send(Ok(answer));
    }
}

fn reject(requests: Vec<Request>, failure: &Failure) {
    for request in requests {
        let _ = request.reply.send(Err(failure.clone()));
    }
}
