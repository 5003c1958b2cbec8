//! Keys that are fetched: who waits for a fetch, who causes one, and when keys are not trusted
//! any more. No key is kept here: what a set does with them is in `set.rs`.

mod error;
mod fetch;
mod pace;
mod set;
mod task;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};
use tower_revoke_core::UnixTime;

pub use self::error::{KeyFetchError, KeysUnavailable};
use self::fetch::Fetcher;
pub(crate) use self::{
    fetch::{Origin, Place},
    pace::Timing,
};
use super::{EMPTIED_TRUST, KeySet};

/// How many requests wait for one fetch. Those that come on top are answered at once.
const MAX_WAITING: usize = 1_024;

/// What a request waits longer than a fetch may take: the fetch says first that it failed.
const GRACE: Duration = Duration::from_millis(500);

/// How often a failure that lasts is logged.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10 * 60);

/// The keys of one issuer that come over the network. A task of its own fetches them; it starts
/// with the first token that needs them, and ends when this is dropped.
pub(crate) struct Remote {
    origin: Origin,
    timing: Timing,
    /// Ends the task's pause.
    wake: Arc<Notify>,
    /// Says that a fetch has ended.
    ended: watch::Sender<()>,
    waiting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    task: Option<JoinHandle<()>>,
    /// All times are uptimes. The fetch that is on its way was asked for then.
    in_flight: Option<Duration>,
    /// When a request last made us fetch.
    caused_at: Option<Duration>,
    /// When the keys were asked for that are there now.
    fetched: Option<Moment>,
    /// When the issuer's set was first seen without a usable key, since the last fetch that
    /// succeeded.
    emptied_at: Option<Duration>,
    complained_at: Option<Duration>,
    error: Option<Arc<KeyFetchError>>,
    fetches: u64,
    failures: u64,
    unusable: u64,
}

/// When a fetch began.
#[derive(Clone, Copy)]
struct Moment {
    uptime: Duration,
    wall: UnixTime,
}

/// How the fetched keys stand.
pub(crate) struct KeySetState {
    pub(crate) age: Option<Duration>,
    pub(crate) fetches: u64,
    pub(crate) failures: u64,
    pub(crate) unusable: u64,
}

impl Remote {
    pub(crate) fn new(origin: Origin, timing: Timing) -> Self {
        Self {
            origin,
            timing,
            wake: Arc::default(),
            ended: watch::Sender::new(()),
            waiting: AtomicUsize::new(0),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uptime(&self) -> Duration {
        self.origin.clock.uptime()
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.trusts(&self.lock())
    }

    fn trusts(&self, state: &State) -> bool {
        let now = self.uptime();
        let is_within = |at: Duration, time| now.saturating_sub(at) < time;
        let trust_for = self.timing.trust_for;
        let is_emptied = state
            .emptied_at
            .is_some_and(|at| !is_within(at, EMPTIED_TRUST.min(trust_for)));
        !is_emptied
            && state
                .fetched
                .is_some_and(|at| is_within(at.uptime, trust_for))
    }

    /// Whether the keys that are there were fetched late enough to include that of a token which
    /// came at this uptime, and says that it was issued then. Nobody has verified the latter. A
    /// made-up one only turns a 401 into a 503: what is fetched, and how often, doesn't depend on it.
    fn covers(&self, came_at: Duration, issued_at: Option<UnixTime>) -> bool {
        let state = self.lock();
        let Some(began) = state.fetched else {
            return false;
        };
        let age = self.uptime().saturating_sub(began.uptime);
        // Times are cut to seconds: a token of the same second may be the newer one.
        let may_be_newer = issued_at.is_some_and(|at| at >= began.wall);
        let is_recent = age < self.timing.key_refetch_interval;
        self.trusts(&state) && (began.uptime >= came_at || (is_recent && !may_be_newer))
    }

    fn unavailable(&self) -> KeysUnavailable {
        let state = self.lock();
        KeysUnavailable {
            issuer: self.origin.issuer.clone(),
            what: match self.trusts(&state) {
                true => "the token may be signed with a key that could not be fetched yet",
                false => "there are no keys that can be trusted",
            },
            error: state.error.clone(),
        }
    }

    /// The fetch to wait for, which is started if it may be. `None`: there is nothing to wait for.
    fn ask(&self, keys: &Arc<KeySet>) -> Option<watch::Receiver<()>> {
        let mut state = self.lock();
        let now = self.uptime();
        let is_due = state
            .caused_at
            .is_none_or(|at| now.saturating_sub(at) >= self.timing.key_refetch_interval);
        if !self.runs(&state, now) {
            if !is_due || !self.start(&mut state, keys) {
                return None;
            }
        } else if state.in_flight.is_none() {
            // Where there are no keys, the task tries again by itself.
            if !is_due || !self.trusts(&state) {
                return None;
            }
            self.wake.notify_one();
        } else {
            return Some(self.ended.subscribe());
        }
        state.caused_at = Some(now);
        state.in_flight = Some(now);
        Some(self.ended.subscribe())
    }

    /// Whether the task is alive. Its runtime may be gone, or stand still.
    fn runs(&self, state: &State, now: Duration) -> bool {
        let longest = self
            .timing
            .fetch_within
            .saturating_mul(2)
            .saturating_add(GRACE);
        let stands_still = state
            .in_flight
            .is_some_and(|at| now.saturating_sub(at) > longest);
        let is_alive = state.task.as_ref().is_some_and(|task| !task.is_finished());
        is_alive && !stands_still
    }

    fn start(&self, state: &mut State, keys: &Arc<KeySet>) -> bool {
        let Ok(runtime) = Handle::try_current() else {
            self.complain(state, KeyFetchError::NoRuntime);
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

    /// Waits until the fetch has ended, or could have.
    async fn wait(&self, mut fetch: watch::Receiver<()>) {
        let _place = match Waiting::new(&self.waiting) {
            Some(place) => place,
            None => return,
        };
        let most = self.timing.fetch_within.saturating_add(GRACE);
        // An error is the end of the fetch too.
        let _ = timeout(most, fetch.changed()).await;
    }

    fn complain(&self, state: &mut State, error: KeyFetchError) {
        let now = self.uptime();
        let is_due = state
            .complained_at
            .is_none_or(|at| now.saturating_sub(at) >= COMPLAIN_EVERY);
        if is_due {
            state.complained_at = Some(now);
            tracing::warn!(
                issuer = %self.origin.issuer,
                error = &error as &dyn std::error::Error,
                has_keys = self.trusts(state),
                "the issuer's keys can't be fetched"
            );
        }
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

/// A place among those that wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
