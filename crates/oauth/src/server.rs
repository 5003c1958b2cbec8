//! The server as layers see it: a queue, and the tasks that empty it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};
use tower_revoke_core::{
    Clock, Endpoint, HttpClient, KeyDigest, QueueFull, RemoteRevocation, RemoteSlot, TokenCopy,
    TokenId,
};

use crate::{
    Failure, RevocationClientBuilder, RevocationClientStats, ShutdownReport,
    answer::Verdict,
    credentials::{Credentials, CredentialsError},
    place::Place,
    queue::{Item, Queue, Step},
    report::Report,
    request::{self, Placement},
};

/// The longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// An authorization server that is told, by RFC 7009, which tokens have ended here.
///
/// Clones share one queue. See the [crate's docs](crate) for what is promised.
#[derive(Clone)]
pub struct RevocationClient {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) place: Place,
    pub(crate) client: Arc<dyn HttpClient>,
    pub(crate) placement: Placement,
    pub(crate) hint: String,
    pub(crate) request_timeout: Duration,
    pub(crate) clock: Clock,
    pub(crate) state: Mutex<State>,
    /// The scheduler has something to look at.
    pub(crate) work: Notify,
    /// A place became free, or the scheduler ended.
    pub(crate) settled: Notify,
}

pub(crate) struct State {
    pub(crate) queue: Queue,
    pub(crate) report: Report,
    pub(crate) credentials: Arc<Credentials>,
    /// How often they were replaced.
    pub(crate) version: u64,
    pub(crate) is_running: bool,
}

impl RevocationClient {
    /// The server whose revocation endpoint this is.
    pub fn at(endpoint: Endpoint) -> RevocationClientBuilder {
        RevocationClientBuilder::at(endpoint)
    }

    /// The server that issues as `issuer`, such as `https://id.example.com`; its endpoint is found
    /// in its metadata: OpenID Connect Discovery first, then RFC 8414. That is fetched when the
    /// first token has ended, and again until it is there, so that neither need be up before the
    /// other. An `http` issuer must be on the loopback; name the endpoint of any other. A remote
    /// issuer can't name a local address, see
    /// [`IssuerMetadata`](tower_revoke_core::IssuerMetadata).
    pub fn discover(issuer: impl Into<String>) -> RevocationClientBuilder {
        RevocationClientBuilder::discover(issuer.into())
    }

    pub(crate) fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Replaces the client's credentials. The tokens that wait for good ones are tried at once.
    ///
    /// # Errors
    /// [`CredentialsError`]: the former ones stay.
    pub fn set_client_credentials(
        &self,
        id: impl Into<String>,
        secret: impl Into<String>,
    ) -> Result<(), CredentialsError> {
        let credentials = Credentials::new(id.into().into(), secret.into().into())?;
        let mut state = self.shared.lock();
        state.credentials = Arc::new(credentials);
        state.version += 1;
        state.queue.credentials_changed(Instant::now());
        drop(state);
        self.shared.wake(None);
        Ok(())
    }

    /// How it stands.
    pub fn stats(&self) -> RevocationClientStats {
        self.shared.lock().queue.stats()
    }

    /// Tries everything once more now, however long it was to wait, and waits until nothing is
    /// left and no call holds a place, or until `limit` has passed. For the shutdown: stop serving
    /// first, since calls may go on reserving places meanwhile. What is left then is lost with the
    /// process, unless it is drained again.
    ///
    /// It must be called in a tokio runtime, with its timer on.
    pub async fn shutdown(&self, limit: Duration) -> ShutdownReport {
        let before = {
            let mut state = self.shared.lock();
            state.queue.hurry_all(Instant::now());
            state.queue.counts()
        };
        // Past the limit, what is left is counted below.
        let _ = timeout(limit, self.shared.idle()).await;
        let state = self.shared.lock();
        let after = state.queue.counts();
        ShutdownReport {
            delivered: after.delivered - before.delivered,
            rejected: after.rejected - before.rejected,
            given_up: after.given_up - before.given_up,
            left: state.queue.left(),
            reserved: state.queue.reserved(),
        }
    }
}

impl RemoteRevocation for Shared {
    fn reserve(
        self: Arc<Self>,
        token: TokenId,
        holder: KeyDigest,
    ) -> Result<RemoteSlot, QueueFull> {
        if !self.lock().queue.reserve(token, holder) {
            return Err(QueueFull);
        }
        let reserved = Reserved {
            shared: Some(self),
            token,
        };
        let runtime = Handle::try_current().ok();
        Ok(RemoteSlot::new(move |token| {
            reserved.put(token, runtime.as_ref());
        }))
    }
}

/// The same for all clones.
impl From<RevocationClient> for Arc<dyn RemoteRevocation> {
    fn from(server: RevocationClient) -> Self {
        server.shared
    }
}

impl fmt::Debug for RevocationClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("RevocationClient")
            .field("host", &state.report.server())
            .field("stats", &state.queue.stats())
            .finish_non_exhaustive()
    }
}

/// A place that is free again when dropped unused.
struct Reserved {
    shared: Option<Arc<Shared>>,
    token: TokenId,
}

impl Reserved {
    fn put(mut self, copy: TokenCopy, runtime: Option<&Handle>) {
        if let Some(shared) = self.shared.take() {
            shared.lock().queue.put(self.token, copy, Instant::now());
            shared.wake(runtime);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.lock().queue.unreserve(self.token);
            shared.settled.notify_waiters();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is whole before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that the scheduler runs, in the current runtime, else in `runtime`. Without any,
    /// tokens wait for a later use that has one.
    fn wake(self: &Arc<Self>, runtime: Option<&Handle>) {
        let mut state = self.lock();
        if state.is_running || !state.queue.has_waiting() {
            drop(state);
            self.work.notify_one();
            return;
        }
        let current = Handle::try_current().ok();
        let Some(runtime) = current.as_ref().or(runtime) else {
            return;
        };
        state.is_running = true;
        drop(state);
        let scheduler = Scheduler {
            shared: self.clone(),
            is_done: false,
        };
        // A runtime that is shutting down drops it at once, and so ends it.
        runtime.spawn(scheduler.run());
    }

    async fn idle(self: &Arc<Self>) {
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            self.wake(None);
            {
                let state = self.lock();
                if state.queue.left() == 0 && state.queue.reserved() == 0 {
                    return;
                }
            }
            settled.await;
        }
    }

    /// One try, from the endpoint to the answer.
    async fn attempt(&self, token: &TokenCopy, credentials: &Credentials) -> Verdict {
        let Some(endpoint) = self
            .place
            .endpoint(&self.client, self.request_timeout)
            .await
        else {
            return Verdict::Failed(Failure::Discovery, None);
        };
        let request =
            request::revocation(&endpoint, token, &self.hint, credentials, self.placement);
        let answer = self.client.send(request, MAX_ANSWER);
        let verdict = match timeout(self.request_timeout, answer).await {
            Ok(Ok(answer)) => Verdict::of(&answer, self.clock.now()),
            Ok(Err(error)) => Verdict::of_error(&error),
            Err(_) => Verdict::Failed(Failure::TimedOut, None),
        };
        if matches!(verdict, Verdict::Failed(failure, _) if failure.may_have_moved()) {
            self.place.forget().await;
        }
        verdict
    }
}

/// Starts tries when they are due, and ends when nothing is left.
struct Scheduler {
    shared: Arc<Shared>,
    is_done: bool,
}

impl Scheduler {
    async fn run(mut self) {
        loop {
            match self.next_step() {
                Step::Try(item) => {
                    let attempt = Try::new(self.shared.clone(), item);
                    tokio::spawn(attempt.run());
                }
                Step::Wait(Some(until)) => {
                    // Either way there may be something to do.
                    let _ = timeout_at(until, self.shared.work.notified()).await;
                }
                Step::Wait(None) => self.shared.work.notified().await,
                Step::Done => return,
            }
        }
    }

    fn next_step(&mut self) -> Step {
        let now = Instant::now();
        let mut state = self.shared.lock();
        let given_up = state.queue.give_up(now);
        if given_up > 0 {
            state.report.given_up(given_up, &self.shared.clock);
            self.shared.settled.notify_waiters();
        }
        let step = state.queue.next_step(now);
        if matches!(step, Step::Done) {
            // Under the lock, so that whoever adds a token next starts another one.
            state.is_running = false;
            self.is_done = true;
        }
        step
    }
}

/// Its runtime may end before its work does: the next use starts another one.
impl Drop for Scheduler {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.lock().is_running = false;
            self.shared.settled.notify_waiters();
        }
    }
}

/// A token in flight; dropped unfinished, it waits again.
struct Try {
    shared: Arc<Shared>,
    credentials: Arc<Credentials>,
    version: u64,
    item: Option<Item>,
}

impl Try {
    fn new(shared: Arc<Shared>, item: Item) -> Self {
        let state = shared.lock();
        let (credentials, version) = (state.credentials.clone(), state.version);
        drop(state);
        Self {
            shared,
            credentials,
            version,
            item: Some(item),
        }
    }

    async fn run(mut self) {
        if let Some(item) = &self.item {
            let attempt = self.shared.attempt(&item.copy, &self.credentials);
            let verdict = attempt.await;
            self.settle(verdict);
        }
    }

    fn settle(&mut self, verdict: Verdict) {
        let Some(item) = self.item.take() else {
            return;
        };
        let shared = &self.shared;
        let mut state = shared.lock();
        let stale = state.version != self.version;
        let (now, wall) = (Instant::now(), shared.clock.now());
        state.queue.settle(item, verdict, stale, now, wall);
        if !stale {
            state.report.verdict(verdict, &shared.clock);
        }
        drop(state);
        shared.work.notify_one();
        shared.settled.notify_waiters();
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        self.settle(Verdict::Failed(Failure::BrokenOff, None));
    }
}
