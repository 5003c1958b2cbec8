//! Who waits for the end of which token.
//!
//! A watch is registered first, and its token checked then. A change becomes known first, and the
//! watches of its key are ended then. Whichever order the two meet in, one of them sees the other.

mod index;
mod state;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::sync::Notify;
use tower_revoke_core::{
    Clock, KeyDigest, Listed, TokenEnd, UnixTime, VerifiedToken, WatchToken,
    internal::concerned_since,
};

pub(crate) use self::index::Look;
use self::{
    index::{Entry, Index, NEVER},
    state::State,
};
use crate::sync::{
    Mutex, MutexGuard, SHARDS,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

/// By how much the limits of unknown watches differ at most, so that an outage doesn't end all
/// streams on every node at once.
const JITTER: Duration = Duration::from_secs(10);

/// Ends watches, and remembers whom to wake for it.
struct Ended<'a> {
    clock: &'a Clock,
    /// When the first of them ended, in microseconds of the clock's uptime.
    at: Option<u64>,
    wakers: Vec<Option<Waker>>,
}

impl Ended<'_> {
    fn end(&mut self, state: &State, end: TokenEnd) {
        let now = || micros(self.clock.uptime());
        self.wakers
            .push(state.set(end, *self.at.get_or_insert_with(now)));
    }
}

/// All watches of a list, spread over shards by their tokens. A change looks into all shards, since
/// the key of one token may concern others.
pub(crate) struct Watchers {
    clock: Clock,
    shards: Box<[Mutex<Index>]>,
    live: AtomicUsize,
    ended: AtomicU64,
    /// When all statuses were last known, in milliseconds of the clock's uptime.
    known: AtomicU64,
    is_unanswered: AtomicBool,
    /// The shortest unknown limit of all watches so far, in milliseconds.
    shortest_limit: AtomicU64,
    /// Keys of watches that could not be checked without asking the store.
    unchecked: Mutex<Vec<KeyDigest>>,
    /// Whether all watches are to be checked at once.
    hurries: AtomicBool,
    /// Whether a task tends the watches.
    pub(crate) is_tended: AtomicBool,
    pub(crate) wake: Notify,
    registered: AtomicU64,
    jitter: RandomState,
}

impl Watchers {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            shards: (0..SHARDS.min(16)).map(|_| Mutex::default()).collect(),
            live: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            known: AtomicU64::new(0),
            is_unanswered: AtomicBool::new(false),
            shortest_limit: AtomicU64::new(u64::MAX),
            unchecked: Mutex::default(),
            hurries: AtomicBool::new(false),
            is_tended: AtomicBool::new(false),
            wake: Notify::new(),
            registered: AtomicU64::new(0),
            jitter: RandomState::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many watches have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    fn shard_of(&self, digest: &KeyDigest) -> usize {
        let [.., last] = *digest.as_bytes();
        usize::from(last) % self.shards.len()
    }

    /// Changes one shard, and wakes whom `act` collects, once it is unlocked.
    fn with<R>(&self, shard: usize, act: impl FnOnce(&mut Index, &mut Ended<'_>) -> R) -> R {
        let mut ended = Ended {
            clock: &self.clock,
            at: None,
            wakers: Vec::new(),
        };
        let result = act(&mut lock(&self.shards[shard]), &mut ended);
        let Ended { wakers, .. } = ended;
        self.ended.fetch_add(wakers.len() as u64, Ordering::Relaxed);
        wakers.into_iter().flatten().for_each(Waker::wake);
        result
    }

    fn with_all(&self, mut act: impl FnMut(&mut Index, &mut Ended<'_>)) {
        if !self.is_empty() {
            (0..self.shards.len()).for_each(|shard| self.with(shard, &mut act));
        }
    }

    /// Applies how a key is listed. The change must be known to later checks already.
    pub(crate) fn listed(&self, digest: &KeyDigest, listed: Listed) {
        self.with_all(|index, ended| index.listed(digest, Some(listed), None, ended));
    }

    /// Applies how keys are listed by now.
    pub(crate) fn relisted(&self, keys: &[KeyDigest], look: Look<'_>) {
        for digest in keys {
            self.with_all(|index, ended| {
                // Under the lock: what was read before could be older than what a watch was told.
                index.listed(digest, look(digest), Some(look), ended);
            });
        }
    }

    /// Applies how all keys are listed by now.
    pub(crate) fn review(&self, look: Look<'_>) {
        self.with_all(|index, ended| index.review(look, true, ended));
    }

    /// Returns how often a watch of each shard was told that it is revoked.
    pub(crate) fn revoked(&self) -> Vec<u64> {
        let shards = self.shards.iter();
        shards.map(|shard| lock(shard).revoked).collect()
    }

    /// Applies how keys were listed when they were asked about. `revoked` has what
    /// [`revoked`](Self::revoked) returned before, if the answers are about all keys. Returns whether
    /// nothing that a watch was told meanwhile may be newer.
    pub(crate) fn review_answers(&self, look: Look<'_>, revoked: Option<&Vec<u64>>) -> bool {
        let mut is_current = true;
        for shard in 0..self.shards.len() {
            self.with(shard, |index, ended| {
                // What a watch was told since may be newer than the answers.
                let revives = revoked.is_some_and(|revoked| revoked[shard] == index.revoked);
                index.review(look, revives, ended);
                is_current &= revives;
            });
        }
        is_current
    }

    /// Adds watched keys from a place on, up to `at_most` in all. Returns where to go on.
    pub(crate) fn digests(
        &self,
        (shard, from): (usize, usize),
        at_most: usize,
        digests: &mut Vec<KeyDigest>,
    ) -> Option<(usize, usize)> {
        match lock(self.shards.get(shard)?).digests(from, at_most, digests) {
            Some(from) => Some((shard, from)),
            None => Some((shard + 1, 0)).filter(|(shard, _)| *shard < self.shards.len()),
        }
    }

    pub(crate) fn expire(&self, now: UnixTime) {
        self.with_all(|index, ended| index.expire(now, ended));
    }

    /// Notes that all statuses were known at an uptime.
    pub(crate) fn known_at(&self, uptime: Duration) {
        self.known.fetch_max(millis(uptime), Ordering::AcqRel);
    }

    /// Notes whether the store has answered about all tokens, and when it was asked.
    pub(crate) fn answered(&self, began: Option<Duration>) {
        self.is_unanswered.store(began.is_none(), Ordering::Release);
        if let Some(began) = began {
            self.known_at(began);
        }
    }

    /// Returns whether the store has not answered about all tokens when it was last asked.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.is_unanswered.load(Ordering::Acquire)
    }

    /// Ends the watches whose status has been unknown for too long.
    pub(crate) fn give_up(&self, uptime: Duration) {
        let (now, known) = (millis(uptime), self.known.load(Ordering::Acquire));
        if now.saturating_sub(known) >= self.shortest_limit.load(Ordering::Relaxed) {
            self.with_all(|index, ended| index.give_up(now, known, ended));
        }
    }

    /// Has all watches polled, so that one of them has them tended in its own runtime.
    pub(crate) fn leave(&self) {
        self.is_tended.store(false, Ordering::Release);
        for shard in &self.shards {
            let wakers: Vec<_> = lock(shard).wakers().collect();
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Has the store asked about a token at once.
    pub(crate) fn check(&self, token: &VerifiedToken) {
        lock(&self.unchecked).extend_from_slice(token.keys());
        self.wake.notify_one();
    }

    /// Has the store asked about all tokens at once.
    pub(crate) fn hurry(&self) {
        if !self.is_empty() {
            self.hurries.store(true, Ordering::Release);
            self.wake.notify_one();
        }
    }

    pub(crate) fn take_hurry(&self) -> bool {
        self.hurries.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn take_unchecked(&self) -> Vec<KeyDigest> {
        mem::take(&mut lock(&self.unchecked))
    }

    /// Returns the limit in milliseconds with its jitter.
    fn unknown_limit(&self, timeout: Option<Duration>) -> u32 {
        let Some(timeout) = timeout else {
            return NEVER;
        };
        let number = self.registered.fetch_add(1, Ordering::Relaxed);
        let jitter = self.jitter.hash_one(number) % (millis(JITTER) + 1);
        let limit = millis(timeout).saturating_add(jitter);
        let limit = u32::try_from(limit).unwrap_or(NEVER - 1);
        self.shortest_limit
            .fetch_min(u64::from(limit), Ordering::Relaxed);
        limit
    }
}

/// What has the watchers, and is kept alive by each watch.
pub(crate) trait Owner {
    fn watchers(&self) -> &Watchers;

    /// Starts a task that tends the watches, if there is a runtime.
    fn tend(&self);
}

/// One watch.
pub(crate) struct Watch<O: Owner> {
    owner: Arc<O>,
    state: Arc<State>,
    shard: u32,
    slot: u32,
}

impl<O: Owner> Watch<O> {
    /// Registers a watch at an uptime. The caller then checks the token, since a change that came
    /// before has found no watch.
    pub(crate) fn register(
        owner: Arc<O>,
        token: &VerifiedToken,
        unknown_timeout: Option<Duration>,
        uptime: Duration,
    ) -> Self {
        let state = Arc::new(State::live());
        let watchers = owner.watchers();
        let entry = Entry {
            state: state.clone(),
            concerned_since: concerned_since(token),
            since: millis(uptime),
            unknown_limit: watchers.unknown_limit(unknown_timeout),
            has_expired: false,
        };
        let shard = watchers.shard_of(&KeyDigest::of_token(token.id()));
        // Counted before it can be found, or a change could take the list for unwatched.
        let is_first = watchers.live.fetch_add(1, Ordering::AcqRel) == 0;
        let slot = watchers.with(shard, |index, _| {
            index.insert(entry, token.keys(), token.usable_until())
        });
        if is_first {
            watchers.wake.notify_one();
        }
        Self {
            owner,
            state,
            shard: u32::try_from(shard).expect("there are few shards"),
            slot,
        }
    }

    /// Ends the watch, unless it has ended.
    pub(crate) fn set(&self, end: TokenEnd) {
        self.watchers().with(self.shard as usize, |index, ended| {
            index.end(self.slot, end, ended);
        });
    }

    fn watchers(&self) -> &Watchers {
        self.owner.watchers()
    }
}

impl<O: Owner> Drop for Watch<O> {
    fn drop(&mut self) {
        let watchers = self.watchers();
        watchers.with(self.shard as usize, |index, _| index.remove(self.slot));
        watchers.live.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<O: Owner + Send + Sync> WatchToken for Watch<O> {
    fn end(&self) -> Option<TokenEnd> {
        self.state.end()
    }

    fn time_since_end(&self) -> Option<Duration> {
        let ended_at = self.state.ended_at()?;
        Some(self.watchers().clock.uptime().saturating_sub(ended_at))
    }

    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<TokenEnd> {
        let end = self.state.poll_end(cx);
        // After the waker is in place, so that whoever leaves the watches untended finds it.
        if end.is_pending() && !self.watchers().is_tended.load(Ordering::Acquire) {
            self.owner.tend();
        }
        end
    }
}

impl<O: Owner> fmt::Debug for Watch<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("end", &self.state.end())
            .finish_non_exhaustive()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Locks, ignoring poison. Nothing is expected to panic under a lock, and if it did, streams must
/// still end.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
