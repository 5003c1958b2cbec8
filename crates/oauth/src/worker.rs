//! The tasks that send what is queued.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::{FutureExt, select};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};
use tower_revoke_core::{BoxError, Clock, Endpoint, HttpClient, TokenCopy};

use crate::{
    credentials::Credentials,
    endpoint::EndpointSource,
    log::DeliveryLog,
    outbox::ServerOutbox,
    queue::{Queue, QueuedToken, Step},
    request::{self, Authentication},
    response::{Delivery, DeliveryFailure},
};

/// The longest response that is read.
const MAX_RESPONSE: usize = 64 * 1024;

/// What the clones of a client share.
pub(crate) struct Shared {
    pub(crate) endpoint: EndpointSource,
    pub(crate) client: Arc<dyn HttpClient>,
    pub(crate) credentials_in_form: bool,
    pub(crate) token_type_hint: String,
    pub(crate) request_timeout: Duration,
    pub(crate) clock: Clock,
    pub(crate) outbox: Option<ServerOutbox>,
    pub(crate) state: Mutex<State>,
    /// Wakes the scheduler.
    pub(crate) work: Notify,
    /// Wakes who waits for an empty queue: a slot is free, or the scheduler has ended.
    pub(crate) changed: Notify,
}

pub(crate) struct State {
    pub(crate) queue: Queue,
    pub(crate) log: DeliveryLog,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) is_running: bool,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No change of the state can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the scheduler if it does not run: in the current runtime, else in `runtime`. Without
    /// either, tokens wait for the next call in a runtime.
    pub(crate) fn wake(self: &Arc<Self>, runtime: Option<&Handle>) {
        let mut state = self.lock();
        let has_work = state.queue.has_waiting() || self.is_recovering();
        if state.is_running || !has_work {
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
        // A runtime that is shutting down drops the future at once, which ends the scheduler.
        runtime.spawn(scheduler.run());
    }

    /// Waits until nothing is queued or reserved.
    pub(crate) async fn idle(self: &Arc<Self>) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            self.wake(None);
            if self.lock().queue.is_empty() && !self.is_recovering() {
                return;
            }
            changed.await;
        }
    }

    pub(crate) async fn endpoint(&self) -> Result<Endpoint, BoxError> {
        self.endpoint
            .endpoint(&self.client, self.request_timeout)
            .await
    }

    /// Sends one token.
    async fn send(&self, token: &TokenCopy, credentials: &Credentials) -> Delivery {
        let Ok(endpoint) = self.endpoint().await else {
            return Delivery::Failed(DeliveryFailure::Discovery, None);
        };
        let client = Authentication {
            credentials,
            secret_in_form: self.credentials_in_form,
            issuer: self.endpoint.issuer(),
            now: self.clock.now(),
        };
        let hint = &self.token_type_hint;
        let Ok(request) = request::about_token(&endpoint, token.as_str(), hint, &client) else {
            // The system has no random bytes.
            return Delivery::Failed(DeliveryFailure::Aborted, None);
        };
        let response = self.client.send(request, MAX_RESPONSE);
        let delivery = match timeout(self.request_timeout, response).await {
            Ok(Ok(response)) => Delivery::of(&response, self.clock.now()),
            Ok(Err(error)) => Delivery::of_error(&error),
            Err(_) => Delivery::Failed(DeliveryFailure::TimedOut, None),
        };
        if matches!(delivery, Delivery::Failed(failure, _) if failure.may_have_moved()) {
            self.endpoint.forget().await;
        }
        delivery
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("RevocationClient")
            .field("host", &state.log.host())
            .field("stats", &state.queue.stats())
            .finish_non_exhaustive()
    }
}

/// Starts attempts when they are due, and ends when nothing is left.
struct Scheduler {
    shared: Arc<Shared>,
    is_done: bool,
}

impl Scheduler {
    async fn run(mut self) {
        let shared = self.shared.clone();
        let mut recovery = pin!(shared.recover_at_last().fuse());
        loop {
            let until = match self.next_step() {
                Step::Attempt(token) => {
                    let attempt = Attempt::new(shared.clone(), token);
                    tokio::spawn(attempt.run());
                    continue;
                }
                Step::Wait(until) => until,
                Step::Done => return,
            };
            let work = shared.work.notified();
            let changed = async {
                match until {
                    // Either way there may be something to do.
                    Some(until) => drop(timeout_at(until, work).await),
                    None => work.await,
                }
            };
            select(pin!(changed), recovery.as_mut()).await;
        }
    }

    fn next_step(&mut self) -> Step {
        let mut state = self.shared.lock();
        let step = match state.queue.next_step(Instant::now()) {
            Step::Done if self.shared.is_recovering() => Step::Wait(None),
            step => step,
        };
        if matches!(step, Step::Done) {
            // Under the lock, so that whoever queues a token next starts another scheduler.
            state.is_running = false;
            self.is_done = true;
        }
        step
    }
}

/// If its runtime ends first, the next call in another runtime starts another one.
impl Drop for Scheduler {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.lock().is_running = false;
            self.shared.changed.notify_waiters();
        }
    }
}

/// A token in flight, which is queued again if this is dropped unfinished.
struct Attempt {
    shared: Arc<Shared>,
    credentials: Arc<Credentials>,
    token: Option<QueuedToken>,
}

impl Attempt {
    fn new(shared: Arc<Shared>, token: QueuedToken) -> Self {
        let credentials = shared.lock().credentials.clone();
        Self {
            shared,
            credentials,
            token: Some(token),
        }
    }

    async fn run(mut self) {
        if let Some(token) = &self.token {
            let delivery = match token.deadline <= Instant::now() {
                true => Delivery::Abandoned,
                false => self.shared.send(&token.owed.token, &self.credentials).await,
            };
            if delivery.is_final() {
                // Before the slot is free, or another call's entry could be removed.
                self.shared.forget(token.owed.id).await;
            }
            self.complete(delivery);
        }
    }

    fn complete(&mut self, delivery: Delivery) {
        let Some(token) = self.token.take() else {
            return;
        };
        let shared = &self.shared;
        let mut state = shared.lock();
        let is_stale = !Arc::ptr_eq(&state.credentials, &self.credentials);
        let (now, wall) = (Instant::now(), shared.clock.now());
        state.queue.complete(token, delivery, is_stale, now, wall);
        if !is_stale {
            state.log.delivery(delivery, &shared.clock);
        }
        drop(state);
        shared.work.notify_one();
        shared.changed.notify_waiters();
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.complete(Delivery::Failed(DeliveryFailure::Aborted, None));
    }
}
