//! The keys of one issuer, merged from their sources, and how a change of a source is noticed.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tower_revoke_core::{Clock, Reason, Rejection, UnixTime};

#[cfg(feature = "remote")]
use super::remote::{FetchStart, FetchedKeys, Remote};
use super::{file::KeyFile, key::Key};

/// How often tokens with an unknown `kid` may cause a look at the sources.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_millis(100);

/// A source of keys.
pub(crate) enum Source {
    /// Keys that never change.
    Fixed(Vec<Arc<Key>>),
    /// A file that may change.
    File(KeyFile),
    /// The keys of the last successful fetch, while they are trusted.
    #[cfg(feature = "remote")]
    Fetched(Vec<Arc<Key>>),
}

impl Source {
    pub(crate) fn keys(&self) -> &[Arc<Key>] {
        match self {
            Self::Fixed(keys) => keys,
            Self::File(file) => file.keys(),
            #[cfg(feature = "remote")]
            Self::Fetched(keys) => keys,
        }
    }

    fn may_change(&self) -> bool {
        !matches!(self, Self::Fixed(_))
    }

    fn refresh(&mut self, clock: &Clock) {
        if let Self::File(file) = self {
            file.refresh(clock);
        }
    }

    #[cfg(feature = "remote")]
    fn fetched(&mut self) -> Option<&mut Vec<Arc<Key>>> {
        match self {
            Self::Fetched(keys) => Some(keys),
            _ => None,
        }
    }

    fn is_failing(&self) -> bool {
        matches!(self, Self::File(file) if file.is_failing())
    }
}

/// The keys of one issuer.
pub(crate) struct KeySet {
    /// Grows whenever the keys change.
    version: AtomicU64,
    current: RwLock<Arc<[Arc<Key>]>>,
    may_change: bool,
    /// The second in which the sources were last refreshed.
    refreshed_at: AtomicU64,
    /// Whether a file can't be used now, so that keys may be missing.
    file_fails: AtomicBool,
    sources: Mutex<Sources>,
    #[cfg(feature = "remote")]
    remote: Option<Remote>,
}

struct Sources {
    all: Vec<Source>,
    /// The uptime at which an unknown `kid` last caused a refresh.
    unknown_key_at: Option<Duration>,
}

impl KeySet {
    pub(crate) fn new(sources: Vec<Source>, now: UnixTime) -> Self {
        Self {
            version: AtomicU64::new(0),
            current: RwLock::new(merged(&sources)),
            may_change: sources.iter().any(Source::may_change),
            refreshed_at: AtomicU64::new(now.as_secs()),
            file_fails: AtomicBool::new(false),
            sources: Mutex::new(Sources {
                all: sources,
                unknown_key_at: None,
            }),
            #[cfg(feature = "remote")]
            remote: None,
        }
    }

    /// Sets who fetches the keys of [`Source::Fetched`].
    #[cfg(feature = "remote")]
    pub(crate) fn fetched_by(self, remote: Option<Remote>) -> Self {
        Self { remote, ..self }
    }

    fn lock_sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version of the set. Read it *before* [`current`](Self::current): then what is stored
    /// under it was computed with that version or a newer one.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn current(&self) -> Arc<[Arc<Key>]> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the set still holds this key.
    pub(crate) fn has(&self, serial: u64) -> bool {
        self.current().iter().any(|key| key.serial() == serial)
    }

    /// Refreshes the sources, at most once in a second. One caller does so; others go on with the
    /// current keys.
    pub(crate) fn refresh_if_due(self: &Arc<Self>, clock: &Clock, now: UnixTime) {
        if !self.may_change || self.refreshed_at.load(Ordering::Relaxed) == now.as_secs() {
            return;
        }
        let mut sources = match self.sources.try_lock() {
            Ok(sources) => sources,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.refreshed_at.store(now.as_secs(), Ordering::Relaxed);
        self.refresh(&mut sources, clock);
    }

    /// Refreshes the sources because a token names an unknown key, which may be newer than the last
    /// refresh. Made-up names can't cause this often. Returns whether the version is now another one.
    pub(crate) fn refresh_for_unknown_key(self: &Arc<Self>, clock: &Clock, version: u64) -> bool {
        if !self.may_change {
            return false;
        }
        let mut sources = self.lock_sources();
        let uptime = clock.uptime();
        let is_due = sources
            .unknown_key_at
            .is_none_or(|at| uptime.saturating_sub(at) >= UNKNOWN_KEY_INTERVAL);
        if is_due && self.version() == version {
            sources.unknown_key_at = Some(uptime);
            self.refresh(&mut sources, clock);
        }
        self.version() != version
    }

    /// For a token that no key of the set with this version verifies: waits for the fetch that may
    /// bring its key, if there is one. `issued_at` is the token's `iat`, which is not verified.
    pub(crate) async fn newer(
        self: &Arc<Self>,
        version: u64,
        issued_at: Option<UnixTime>,
    ) -> NewerKeys {
        #[cfg(feature = "remote")]
        let fetched = match &self.remote {
            Some(remote) => remote.covered(self, issued_at).await.map_err(unavailable),
            None => Ok(()),
        };
        #[cfg(not(feature = "remote"))]
        let (fetched, _) = (Ok(()), issued_at);
        let file_fails = || {
            let fails = self.file_fails.load(Ordering::Relaxed);
            fails.then(|| unavailable(KeyFileUnavailable))
        };
        NewerKeys {
            is_changed: self.version() != version,
            unavailable: fetched.err().or_else(file_fails),
        }
    }

    fn refresh(self: &Arc<Self>, sources: &mut Sources, clock: &Clock) {
        for source in &mut sources.all {
            source.refresh(clock);
        }
        let file_fails = sources.all.iter().any(Source::is_failing);
        self.file_fails.store(file_fails, Ordering::Relaxed);
        #[cfg(feature = "remote")]
        if let Some(remote) = &self.remote {
            remote.restart_if_dead(self);
            let fetched = sources.all.iter_mut().filter_map(Source::fetched);
            remote.expire(fetched);
        }
        self.publish(sources);
    }

    /// Publishes the keys that the sources have now.
    fn publish(&self, sources: &Sources) {
        let merged = merged(&sources.all);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let is_same = current.len() == merged.len()
            && current.iter().zip(&*merged).all(|(a, b)| Arc::ptr_eq(a, b));
        if !is_same {
            *current = merged;
            self.version.fetch_add(1, Ordering::Release);
        }
    }
}

#[cfg(feature = "remote")]
impl FetchedKeys for KeySet {
    fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    fn replace(&self, keys: &[Arc<Key>], start: FetchStart) {
        // The fetch is recorded under the lock: a refresh in between would drop keys without a time
        // at once, or a time without keys would reject a valid token.
        let mut sources = self.lock_sources();
        for fetched in sources.all.iter_mut().filter_map(Source::fetched) {
            keys.clone_into(fetched);
        }
        self.publish(&sources);
        if let Some(remote) = &self.remote {
            remote.succeeded(start);
        }
    }
}

/// What is known of an issuer's keys after a token came that none of them verifies.
pub(crate) struct NewerKeys {
    /// Whether the keys have changed, so that the token may be valid.
    pub(crate) is_changed: bool,
    /// How to reject the token otherwise, where its key may be missing. `None`: there is no such key.
    pub(crate) unavailable: Option<Rejection>,
}

#[derive(Debug, thiserror::Error)]
#[error("a key file can't be used")]
struct KeyFileUnavailable;

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Rejection {
    Rejection::new(Reason::Unavailable).source(error)
}

fn merged(sources: &[Source]) -> Arc<[Arc<Key>]> {
    sources.iter().flat_map(Source::keys).cloned().collect()
}
