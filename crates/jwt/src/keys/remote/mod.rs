//! Keys that are fetched: who waits for a fetch, who causes one, and when keys are not trusted
//! any more.

mod error;
mod fetch;
mod pace;
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
use tower_revoke_core::{Reason, Rejection};

pub use self::error::{KeyFetchError, KeysUnavailable};
use self::fetch::Fetcher;
pub(crate) use self::{
    fetch::{Origin, Place},
    pace::Timing,
};
use super::{Key, KeySet, Source, Sources};

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
    fetched_at: Option<Duration>,
    complained_at: Option<Duration>,
    error: Option<Arc<KeyFetchError>>,
    fetches: u64,
    failures: u64,
}

/// How the fetched keys stand.
pub(crate) struct Standing {
    pub(crate) age: Option<Duration>,
    pub(crate) fetches: u64,
    pub(crate) failures: u64,
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
        state
            .fetched_at
            .is_some_and(|at| self.uptime().saturating_sub(at) < self.timing.trust_for)
    }

    fn unavailable(&self) -> KeysUnavailable {
        KeysUnavailable {
            issuer: self.origin.issuer.clone(),
            error: self.lock().error.clone(),
        }
    }

    /// The fetch to wait for, which is started if it may be. `None`: there is nothing to wait for.
    fn ask(&self, keys: &Arc<KeySet>) -> Option<watch::Receiver<()>> {
        let mut state = self.lock();
        let now = self.uptime();
        let is_due = state
            .caused_at
            .is_none_or(|at| now.saturating_sub(at) >= self.timing.refetch_window);
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
        let stands_still = state
            .in_flight
            .is_some_and(|at| now.saturating_sub(at) > self.timing.fetch_within * 2 + GRACE);
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

impl KeySet {
    /// For a token that no key of the set with this generation verifies: waits for the fetch that
    /// may bring its key, if there is one to wait for. Whether the set is another now.
    pub(crate) async fn newer(self: &Arc<Self>, generation: u64) -> Result<bool, Rejection> {
        let Some(remote) = &self.remote else {
            return Ok(false);
        };
        if let Some(fetch) = remote.ask(self) {
            remote.wait(fetch).await;
        }
        if remote.is_trusted() {
            Ok(self.generation() != generation)
        } else {
            Err(Rejection::new(Reason::Unavailable).source(remote.unavailable()))
        }
    }

    /// Starts to fetch, where there are no trusted keys yet. What to wait for.
    pub(crate) fn start(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        let remote = self.remote.as_ref()?;
        if remote.is_trusted() {
            return None;
        }
        remote.ask(self)
    }

    /// Whether there are trusted keys, after `fetch` has ended.
    pub(crate) async fn ready(
        &self,
        fetch: Option<watch::Receiver<()>>,
    ) -> Result<(), KeysUnavailable> {
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        if let Some(fetch) = fetch {
            remote.wait(fetch).await;
        }
        if remote.is_trusted() && !self.current().is_empty() {
            Ok(())
        } else {
            Err(remote.unavailable())
        }
    }

    /// How the fetched keys stand; `None` where none are fetched.
    pub(crate) fn standing(&self) -> Option<Standing> {
        let remote = self.remote.as_ref()?;
        let state = remote.lock();
        Some(Standing {
            age: state
                .fetched_at
                .map(|at| remote.uptime().saturating_sub(at)),
            fetches: state.fetches,
            failures: state.failures,
        })
    }

    /// Looks after the task, whose runtime may be gone, and drops keys that are too old.
    pub(super) fn look_at_remote(self: &Arc<Self>, sources: &mut Sources) {
        let Some(remote) = &self.remote else { return };
        let has_died = {
            let state = remote.lock();
            state.task.is_some() && !remote.runs(&state, remote.uptime())
        };
        if has_died {
            remote.ask(self);
        }
        if remote.is_trusted() {
            return;
        }
        for source in &mut sources.all {
            if let Source::Fetched(keys) = source
                && !keys.is_empty()
            {
                keys.clear();
                tracing::error!(
                    issuer = %remote.origin.issuer,
                    "the issuer's keys could not be fetched for too long; its tokens are refused with 503"
                );
            }
        }
    }

    /// A fetch begins. `None`: the set is gone.
    fn fetch_begins(&self) -> Option<Duration> {
        let remote = self.remote.as_ref()?;
        let mut state = remote.lock();
        let now = remote.uptime();
        state.in_flight = Some(now);
        state.fetches += 1;
        Some(now)
    }

    /// A fetch, which began `at`, has brought these keys.
    fn fetched(&self, keys: &[Arc<Key>], at: Duration) {
        let Some(remote) = &self.remote else { return };
        // The time is set while no one can look: keys without it would be dropped again, and it
        // without keys would refuse a good token.
        let mut sources = self.lock_sources();
        for source in &mut sources.all {
            if let Source::Fetched(known) = source {
                keys.clone_into(known);
            }
        }
        self.take(&sources);
        let mut state = remote.lock();
        state.fetched_at = Some(at);
        state.error = None;
        if state.complained_at.take().is_some() {
            tracing::info!(issuer = %remote.origin.issuer, "the issuer's keys can be fetched again");
        }
    }

    fn fetch_failed(&self, error: KeyFetchError) {
        let Some(remote) = &self.remote else { return };
        let mut state = remote.lock();
        state.failures += 1;
        remote.complain(&mut state, error);
    }

    fn fetch_ends(&self) {
        let Some(remote) = &self.remote else { return };
        remote.lock().in_flight = None;
        remote.ended.send_replace(());
    }
}
