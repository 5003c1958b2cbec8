//! Keys that are fetched: who waits for a fetch, what causes one, and how long keys are trusted. The
//! key set itself holds the keys.

mod error;
mod fetch;
mod schedule;
mod stats;
mod task;
mod waiter;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
};
use tower_revoke_core::{UnixTime, internal::OutageLog};

use self::fetch::Fetcher;
pub use self::{
    error::{KeyFetchError, KeysUnavailable},
    stats::KeyStats,
};
pub(crate) use self::{
    fetch::{KeyLocation, Origin},
    schedule::Timing,
    waiter::{MAX_WAITING, Waiter},
};
use super::{jwk::EMPTIED_MAX_AGE, key::Key};
use crate::KeySetError;

/// How much longer a request waits than a fetch may take, so that the fetch reports its timeout
/// first.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// The key set for which keys are fetched.
pub(crate) trait FetchedKeys: Send + Sync + 'static {
    /// Its fetcher.
    fn remote(&self) -> Option<&Remote>;

    /// Replaces the fetched keys, and calls [`Remote::succeeded`].
    fn replace(&self, keys: &[Arc<Key>], start: FetchStart);
}

/// Fetches the keys of one issuer, in a task that starts with the first token that needs them, and
/// ends when this is dropped.
pub(crate) struct Remote {
    origin: Origin,
    timing: Timing,
    /// Ends the task's pause.
    wake: Arc<Notify>,
    /// Announces the end of a fetch.
    ended: watch::Sender<()>,
    /// Permits to wait for the end of a fetch.
    waiting: Semaphore,
    state: Mutex<State>,
}

/// All times are uptimes.
#[derive(Default)]
struct State {
    task: Option<JoinHandle<()>>,
    /// When the fetch in progress was requested.
    in_flight: Option<Duration>,
    /// When a token last caused a fetch.
    caused_at: Option<Duration>,
    /// When the fetch of the current keys began.
    fetched: Option<FetchStart>,
    /// When the issuer's set was first seen without a usable key, since the last successful fetch.
    emptied_at: Option<Duration>,
    /// Since when every fetch has failed.
    failing_since: Option<UnixTime>,
    log: OutageLog,
    error: Option<Arc<KeyFetchError>>,
    fetches: u64,
    failures: u64,
    unusable: u64,
}

/// When a fetch began.
#[derive(Clone, Copy)]
pub(crate) struct FetchStart {
    uptime: Duration,
    wall: UnixTime,
}

impl Remote {
    pub(crate) fn new(origin: Origin, timing: Timing) -> Self {
        Self {
            origin,
            timing,
            wake: Arc::default(),
            ended: watch::Sender::new(()),
            waiting: Semaphore::new(MAX_WAITING),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uptime(&self) -> Duration {
        self.origin.clock.uptime()
    }

    /// Waits for the fetch that may bring the key of a token, if there is one to wait for.
    /// `issued_at` is the token's `iat`, which is not verified.
    ///
    /// # Errors
    /// [`KeysUnavailable`] if the issuer may still have a key that is not here.
    pub(crate) async fn covered<K: FetchedKeys>(
        &self,
        keys: &Arc<K>,
        issued_at: Option<UnixTime>,
    ) -> Result<(), KeysUnavailable> {
        let arrived_at = self.uptime();
        if self.covers(arrived_at, issued_at) {
            return Ok(());
        }
        if let Some(waiter) = self.request(keys) {
            self.wait(waiter).await;
        }
        match self.covers(arrived_at, issued_at) {
            true => Ok(()),
            false => Err(self.unavailable()),
        }
    }

    /// Whether the current keys include that of a token that arrived at this uptime, since they were
    /// fetched late enough. Nobody has verified its `iat`, but a made-up one only turns a 401 into a
    /// 503: which fetches are made doesn't depend on it.
    fn covers(&self, arrived_at: Duration, issued_at: Option<UnixTime>) -> bool {
        let state = self.lock();
        let Some(start) = state.fetched else {
            return false;
        };
        let age = self.uptime().saturating_sub(start.uptime);
        // Times are whole seconds: a token of the same second may be the newer one.
        let may_be_newer = issued_at.is_some_and(|at| at >= start.wall);
        let is_recent = age < self.timing.refetch_interval;
        self.trusts(&state) && (start.uptime >= arrived_at || (is_recent && !may_be_newer))
    }

    /// Starts a fetch if there are no trusted keys. Returns what to wait for.
    pub(crate) fn start_if_untrusted<K: FetchedKeys>(&self, keys: &Arc<K>) -> Option<Waiter> {
        if self.is_trusted() {
            return None;
        }
        self.request(keys)
    }

    /// Waits for `fetch`, and returns whether there are trusted keys.
    pub(crate) async fn ready(&self, fetch: Option<Waiter>) -> Result<(), KeysUnavailable> {
        if let Some(waiter) = fetch {
            self.wait(waiter).await;
        }
        match self.is_trusted() {
            true => Ok(()),
            false => Err(self.unavailable()),
        }
    }

    /// `keys`: the number of keys of the issuer.
    pub(crate) fn stats(&self, keys: usize) -> KeyStats {
        let state = self.lock();
        KeyStats {
            issuer: self.origin.issuer.to_string(),
            resolved: false,
            keys,
            age: state
                .fetched
                .map(|start| self.uptime().saturating_sub(start.uptime)),
            trusted: self.trusts(&state),
            failing_since: state.failing_since,
            fetches: state.fetches,
            failures: state.failures,
            unusable: state.unusable,
        }
    }

    /// Starts the task again if its runtime has ended or hangs.
    pub(crate) fn restart_if_dead<K: FetchedKeys>(&self, keys: &Arc<K>) {
        let is_dead = {
            let state = self.lock();
            state.task.is_some() && !self.runs(&state, self.uptime())
        };
        if is_dead {
            self.request(keys);
        }
    }

    /// Drops keys that are no longer trusted.
    pub(crate) fn expire<'a>(&self, fetched: impl Iterator<Item = &'a mut Vec<Arc<Key>>>) {
        if self.is_trusted() {
            return;
        }
        for keys in fetched.filter(|keys| !keys.is_empty()) {
            keys.clear();
            tracing::error!(
                target: "tower_revoke::jwt",
                issuer = %self.origin.issuer,
                "the issuer's keys could not be fetched for too long; its tokens are rejected with 503"
            );
        }
    }

    fn is_trusted(&self) -> bool {
        self.trusts(&self.lock())
    }

    fn trusts(&self, state: &State) -> bool {
        let now = self.uptime();
        let is_within = |at: Duration, time| now.saturating_sub(at) < time;
        let max_age = self.timing.max_age;
        let is_emptied = state
            .emptied_at
            .is_some_and(|at| !is_within(at, EMPTIED_MAX_AGE.min(max_age)));
        let is_recent = state
            .fetched
            .is_some_and(|start| is_within(start.uptime, max_age));
        !is_emptied && is_recent
    }

    fn unavailable(&self) -> KeysUnavailable {
        let state = self.lock();
        KeysUnavailable {
            issuer: self.origin.issuer.clone(),
            problem: match self.trusts(&state) {
                true => "the key of the token may be one that could not be fetched yet",
                false => "there are no trusted keys",
            },
            error: state.error.clone(),
        }
    }

    /// Starts a fetch if one may be started. `None`: there is nothing to wait for.
    fn request<K: FetchedKeys>(&self, keys: &Arc<K>) -> Option<Waiter> {
        let mut state = self.lock();
        let now = self.uptime();
        let is_due = state
            .caused_at
            .is_none_or(|at| now.saturating_sub(at) >= self.timing.refetch_interval);
        if !self.runs(&state, now) {
            if !is_due || !self.is_affordable(now) || !self.start(&mut state, keys) {
                return None;
            }
        } else if state.in_flight.is_none() {
            // Without keys, the task retries by itself.
            if !is_due || !self.trusts(&state) || !self.is_affordable(now) {
                return None;
            }
            self.wake.notify_one();
        } else {
            return Some(Waiter(self.ended.subscribe()));
        }
        state.caused_at = Some(now);
        state.in_flight = Some(now);
        Some(Waiter(self.ended.subscribe()))
    }

    /// Whether a token may cause a fetch now, beside those of other issuers.
    fn is_affordable(&self, now: Duration) -> bool {
        let rate = &self.origin.rate;
        rate.as_ref().is_none_or(|rate| rate.allows(now))
    }

    /// Whether the task is alive: its runtime may have ended, or hang.
    fn runs(&self, state: &State, now: Duration) -> bool {
        let limit = self.timing.fetch_timeout.saturating_mul(2);
        let limit = limit.saturating_add(GRACE);
        let hangs = state
            .in_flight
            .is_some_and(|at| now.saturating_sub(at) > limit);
        let is_alive = state.task.as_ref().is_some_and(|task| !task.is_finished());
        is_alive && !hangs
    }

    fn start<K: FetchedKeys>(&self, state: &mut State, keys: &Arc<K>) -> bool {
        let Ok(runtime) = Handle::try_current() else {
            self.record_failure(state, KeyFetchError::NoRuntime);
            return false;
        };
        let task = task::run(
            Fetcher::new(self.origin.clone()),
            Arc::downgrade(keys),
            self.wake.clone(),
            self.timing,
        );
        if let Some(dead) = state.task.replace(runtime.spawn(task)) {
            dead.abort();
        }
        true
    }

    async fn wait(&self, waiter: Waiter) {
        let limit = self.timing.fetch_timeout.saturating_add(GRACE);
        waiter.wait(&self.waiting, limit).await;
    }

    /// A fetch begins.
    fn begin(&self) -> FetchStart {
        let mut state = self.lock();
        let start = FetchStart {
            uptime: self.uptime(),
            wall: self.origin.clock.now(),
        };
        state.in_flight = Some(start.uptime);
        state.fetches += 1;
        start
    }

    /// A fetch was successful.
    pub(crate) fn succeeded(&self, start: FetchStart) {
        let mut state = self.lock();
        state.fetched = Some(start);
        state.emptied_at = None;
        state.failing_since = None;
        state.error = None;
        if state.log.works() {
            tracing::info!(
                target: "tower_revoke::jwt",
                issuer = %self.origin.issuer,
                "the issuer's keys can be fetched again"
            );
        }
    }

    /// A fetch has failed.
    fn failed(&self, error: KeyFetchError) {
        let mut state = self.lock();
        state.failures += 1;
        if matches!(error, KeyFetchError::KeySet(KeySetError::NoUsableKey)) {
            state.unusable += 1;
            if state.emptied_at.is_none() {
                state.emptied_at = Some(self.uptime());
                // Logged at once, whatever failed before.
                state.log = OutageLog::default();
            }
        }
        self.record_failure(&mut state, error);
    }

    /// A fetch has ended, with success or not.
    fn end(&self) {
        self.lock().in_flight = None;
        self.ended.send_replace(());
    }

    fn record_failure(&self, state: &mut State, error: KeyFetchError) {
        if let Some(count) = state.log.failed(self.uptime()) {
            tracing::warn!(
                target: "tower_revoke::jwt",
                issuer = %self.origin.issuer,
                error = &error as &dyn std::error::Error,
                has_keys = self.trusts(state),
                count,
                "the issuer's keys can't be fetched"
            );
        }
        let now = || self.origin.clock.now();
        state.failing_since.get_or_insert_with(now);
        state.error = Some(Arc::new(error));
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(task) = self.lock().task.take() {
            task.abort();
        }
    }
}
