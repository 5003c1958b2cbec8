//! An issuer's keys: from where they come, which of them a token may name, and how a withdrawn one
//! is noticed.

mod file;
mod jwk;
mod pem;
#[cfg(feature = "remote")]
pub(crate) mod remote;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tower_revoke_core::{Clock, Reason, Rejection, UnixTime};

pub(crate) use self::{
    file::KeyFile,
    jwk::{Skipped, read_set},
    pem::{public_der, seems_public, starts_as_der},
};
use crate::{
    algorithm::Algorithm,
    backend::{KeyError, Material, VerifyingKey},
};

/// How many keys are tried on one token, where its `kid` doesn't tell them apart.
const MAX_TRIED: usize = 8;

/// How long the keys of a source stay that now holds no usable key. Its owner may have made a
/// mistake, or may have withdrawn all keys after a theft.
const EMPTIED_TRUST: Duration = Duration::from_secs(10 * 60);

/// How often a token with an unknown `kid` may make us look for new keys.
const LOOK_ANEW_EVERY: Duration = Duration::from_millis(100);

/// A key that was parsed, and is bound to its one algorithm.
pub(crate) struct Key {
    /// `kid`. A key without one serves any token whose `kid` names no other key.
    id: Option<String>,
    algorithm: Algorithm,
    /// The public material, by which a key is known again when its set is read anew; empty for
    /// secrets, which are never read anew.
    public: Vec<u8>,
    verifying: VerifyingKey,
    serial: u64,
}

impl Key {
    pub(crate) fn new(
        id: Option<String>,
        algorithm: Algorithm,
        material: Material<'_>,
    ) -> Result<Self, KeyError> {
        static NEXT_SERIAL: AtomicU64 = AtomicU64::new(0);
        Ok(Self {
            id,
            algorithm,
            public: public(material),
            verifying: VerifyingKey::new(algorithm, material)?,
            serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// A number that no other key of this process has.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifying.verifies(message, signature)
    }

    fn is(&self, id: Option<&str>, algorithm: Algorithm, material: Material<'_>) -> bool {
        self.id.as_deref() == id
            && self.algorithm == algorithm
            && !self.public.is_empty()
            && self.public == public(material)
    }
}

fn public(material: Material<'_>) -> Vec<u8> {
    match material {
        Material::Rsa { n, e } => {
            let len = (n.len() as u64).to_be_bytes();
            [len.as_slice(), n, e].concat()
        }
        Material::EcPoint(key) | Material::Ed25519(key) | Material::Der(key) => key.to_vec(),
        Material::Secret(_) => Vec::new(),
    }
}

/// Where keys come from.
pub(crate) enum Source {
    /// Given once.
    Fixed(Vec<Arc<Key>>),
    /// A file that may change.
    File(KeyFile),
    /// Those that were fetched last, while they are trusted.
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

    fn look(&mut self, clock: &Clock) {
        if let Self::File(file) = self {
            file.look(clock);
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
    /// The second in which the sources were last looked at.
    looked_at: AtomicU64,
    /// Whether a file can't be used now, so that it may have keys that are not here.
    file_fails: AtomicBool,
    sources: Mutex<Sources>,
    #[cfg(feature = "remote")]
    remote: Option<remote::Remote>,
}

struct Sources {
    all: Vec<Source>,
    /// The uptime at which an unknown `kid` last made us look.
    looked_anew_at: Option<Duration>,
}

impl KeySet {
    pub(crate) fn new(sources: Vec<Source>, now: UnixTime) -> Self {
        Self {
            version: AtomicU64::new(0),
            current: RwLock::new(merged(&sources)),
            may_change: sources.iter().any(Source::may_change),
            looked_at: AtomicU64::new(now.as_secs()),
            file_fails: AtomicBool::new(false),
            sources: Mutex::new(Sources {
                all: sources,
                looked_anew_at: None,
            }),
            #[cfg(feature = "remote")]
            remote: None,
        }
    }

    /// The keys of [`Source::Fetched`] come from there.
    #[cfg(feature = "remote")]
    pub(crate) fn fetched_by(self, remote: Option<remote::Remote>) -> Self {
        Self { remote, ..self }
    }

    fn lock_sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the set as it is now. Read it *before* [`current`](Self::current): then what
    /// is kept under it was made with this set or a newer one.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn current(&self) -> Arc<[Arc<Key>]> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether a key is still among those of the set.
    pub(crate) fn has(&self, serial: u64) -> bool {
        self.current().iter().any(|key| key.serial == serial)
    }

    /// Looks whether a source has changed, at most once in a second. One caller looks; others go
    /// on with what is there.
    pub(crate) fn look(self: &Arc<Self>, clock: &Clock, now: UnixTime) {
        if !self.may_change || self.looked_at.load(Ordering::Relaxed) == now.as_secs() {
            return;
        }
        let mut sources = match self.sources.try_lock() {
            Ok(sources) => sources,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.looked_at.store(now.as_secs(), Ordering::Relaxed);
        self.refresh(&mut sources, clock);
    }

    /// Looks at once, because a token names a key that is not there: it may be newer than the last
    /// look. Made-up names can't make this often. Whether the set is another than `version`.
    pub(crate) fn look_anew(self: &Arc<Self>, clock: &Clock, version: u64) -> bool {
        if !self.may_change {
            return false;
        }
        let mut sources = self.lock_sources();
        let uptime = clock.uptime();
        let due = sources
            .looked_anew_at
            .is_none_or(|at| uptime.saturating_sub(at) >= LOOK_ANEW_EVERY);
        if due && self.version() == version {
            sources.looked_anew_at = Some(uptime);
            self.refresh(&mut sources, clock);
        }
        self.version() != version
    }

    /// For a token that no key of the set with this version verifies: waits for the fetch that
    /// may bring its key, if there is one to wait for. `issued_at` is the token's `iat`, which
    /// nobody has verified.
    pub(crate) async fn newer(
        self: &Arc<Self>,
        version: u64,
        issued_at: Option<UnixTime>,
    ) -> Newer {
        #[cfg(feature = "remote")]
        let fetched = self.awaited(issued_at).await.map_err(unavailable);
        #[cfg(not(feature = "remote"))]
        let (fetched, _) = (Ok(()), issued_at);
        let file_fails = || {
            let fails = self.file_fails.load(Ordering::Relaxed);
            fails.then(|| unavailable(FileFails))
        };
        Newer {
            is_changed: self.version() != version,
            unavailable: fetched.err().or_else(file_fails),
        }
    }

    fn refresh(self: &Arc<Self>, sources: &mut Sources, clock: &Clock) {
        for source in &mut sources.all {
            source.look(clock);
        }
        let file_fails = sources.all.iter().any(Source::is_failing);
        self.file_fails.store(file_fails, Ordering::Relaxed);
        #[cfg(feature = "remote")]
        self.look_at_remote(sources);
        self.take(sources);
    }

    /// Goes on with the keys that the sources have now.
    fn take(&self, sources: &Sources) {
        let found = merged(&sources.all);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let same = current.len() == found.len()
            && current.iter().zip(&*found).all(|(a, b)| Arc::ptr_eq(a, b));
        if !same {
            *current = found;
            self.version.fetch_add(1, Ordering::Release);
        }
    }
}

/// What is known of the keys after a token came that none of them verifies.
pub(crate) struct Newer {
    /// Whether the set is another now, so that the token may be good.
    pub(crate) is_changed: bool,
    /// How to reject it if it is not: a key may be missing. `None`: its issuer has no such key.
    pub(crate) unavailable: Option<Rejection>,
}

#[derive(Debug, thiserror::Error)]
#[error("a key file can't be used now")]
struct FileFails;

fn unavailable(why: impl std::error::Error + Send + Sync + 'static) -> Rejection {
    Rejection::new(Reason::Unavailable).source(why)
}

/// Whether a key has the `kid` that a token names.
pub(crate) fn names(keys: &[Arc<Key>], key_id: Option<&str>) -> bool {
    key_id.is_some_and(|id| keys.iter().any(|key| key.id.as_deref() == Some(id)))
}

fn merged(sources: &[Source]) -> Arc<[Arc<Key>]> {
    sources.iter().flat_map(Source::keys).cloned().collect()
}

/// The keys that a token with this header may have been signed with: those of its `kid`; where no
/// key has that `kid`, those without one; where the token has none, all. Never more than
/// [`MAX_TRIED`], and only those of its algorithm (RFC 8725 §3.1).
pub(crate) fn candidates<'a>(
    keys: &'a [Arc<Key>],
    algorithm: Algorithm,
    key_id: Option<&'a str>,
) -> Result<impl Iterator<Item = &'a Arc<Key>>, Reason> {
    let is_named = names(keys, key_id);
    let mut named = keys
        .iter()
        .filter(move |key| match (key_id, is_named) {
            (None, _) => true,
            (Some(id), true) => key.id.as_deref() == Some(id),
            (Some(_), false) => key.id.is_none(),
        })
        .peekable();
    if named.peek().is_none() {
        return Err(Reason::UnknownKey);
    }
    let mut fitting = named
        .filter(move |key| key.algorithm == algorithm)
        .take(MAX_TRIED)
        .peekable();
    if fitting.peek().is_none() {
        return Err(Reason::AlgorithmNotAllowed);
    }
    Ok(fitting)
}
