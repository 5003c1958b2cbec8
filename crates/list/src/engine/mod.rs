//! The cache of answers, and the rules by which an answer is still valid.

mod answer;
mod follow;
mod log;
#[cfg(test)]
mod tests;
mod versions;
mod write;
mod write_back;

use std::{
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use moka::{
    Entry,
    future::Cache,
    ops::compute::{CompResult, Op},
};
use tower_revoke_core::{
    Clock, Cursor, KeyDigest, RecordFilter, RecordPage, RevocationKey, Store, StoreError, TokenId,
    TokenStatus, UnixTime, VerifiedToken, internal::cached_status, retention,
};

use self::{
    answer::{Answer, Asked},
    log::EngineLog,
    versions::Versions,
};
use crate::{
    mirror::{Mirror, Phase},
    operators::Inspection,
    stats::{Counters, ListStats, MirrorState},
    status::status_of,
};

/// The largest clock skew between nodes, stores and issuers at which no entry is purged that is
/// still needed.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Applies a timeout to calls. It is a parameter, so that the engine itself needs no runtime.
pub(crate) trait Timer: Send + Sync + 'static {
    /// Returns the output of the call, or [`StoreError::TimedOut`].
    fn within<F>(&self, call: F) -> impl Future<Output = Result<F::Output, StoreError>> + Send
    where
        F: Future<Output: Send> + Send;

    /// Waits for `wake`, for at most that time.
    fn pause<F>(&self, at_most: Duration, wake: F) -> impl Future<Output = ()> + Send
    where
        F: Future<Output = ()> + Send;
}

/// Answers the status of tokens from a mirror, a cache and a store.
///
/// An answer is valid while it is younger than `max_staleness`, and while nothing that concerns its
/// token was changed through this engine since the look-up (see [`Versions`]). The cache may drop
/// an answer at any time, and may even hold a stale one: only the version decides. The cache locks
/// each key, which merges concurrent look-ups of one token into one, and keeps its answers in
/// order.
///
/// If the store has a feed, a mirror of everything that it lists comes before the cache
/// (`follow.rs`). While the mirror is young, neither the cache nor the store is used.
pub(crate) struct Engine<S, T> {
    store: S,
    timer: T,
    clock: Clock,
    max_staleness: Duration,
    max_token_life: Option<Duration>,
    answers: Cache<TokenId, Answer>,
    versions: Versions,
    /// `None` if the mirror is disabled or of no use, or if the store has no feed.
    mirror: Option<Mirror>,
    counters: Counters,
    /// Entries that expired before this time may have been purged.
    purged_before: AtomicU64,
    log: EngineLog,
    /// Breaks the engine for a test: it reads the version too late. The scheduler must detect it.
    #[cfg(test)]
    pub(crate) stamp_late: bool,
}

impl<S: Store, T: Timer> Engine<S, T> {
    pub(crate) fn new(
        store: S,
        timer: T,
        clock: Clock,
        max_staleness: Duration,
        answers: u64,
        mirror_capacity: u64,
        max_token_life: Option<Duration>,
    ) -> Self {
        let mirrors = !S::ANSWERS_AT_ONCE
            && mirror_capacity > 0
            && !max_staleness.is_zero()
            && store.feed().is_some();
        Self {
            mirror: mirrors.then(|| Mirror::new(mirror_capacity)),
            store,
            timer,
            clock,
            max_staleness,
            max_token_life,
            answers: Cache::new(answers),
            versions: Versions::new(),
            counters: Counters::default(),
            purged_before: AtomicU64::new(0),
            log: EngineLog::default(),
            #[cfg(test)]
            stamp_late: false,
        }
    }

    /// Returns the status of a token, if it is known without waiting.
    ///
    /// A cached answer that the token is valid takes no lock and no allocation. Otherwise the
    /// mirror is used, or a store that answers at once.
    pub(crate) fn known_status(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        let version = self.versions.version(token);
        let now = self.clock.uptime();
        if self.is_known_good(token, version, now) {
            return Some(TokenStatus::Valid);
        }
        if !S::ANSWERS_AT_ONCE {
            return self.mirrored(token, version, now);
        }
        let asked = pin!(self.ask_at_once(token));
        match asked.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(status)) => Some(status),
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }

    fn is_known_good(&self, token: &VerifiedToken, version: u64, now: Duration) -> bool {
        let Some(asked_at) = cached_status(token).asked_at(version) else {
            return false;
        };
        // The version is current, so the feed has had no change that concerns the token since. The
        // answer is then as young as the mirror.
        let mirrored = self.mirror.as_ref().and_then(|mirror| mirror.age(now));
        let age = now.saturating_sub(asked_at);
        let age = mirrored.map_or(age, |mirrored| mirrored.min(age));
        let counts = age < self.max_staleness && !self.may_be_forgotten(token);
        if counts {
            self.counters.served(age);
        }
        counts
    }

    /// Returns the status of a token according to the mirror, while that is young. The caller has
    /// read `version` before.
    fn mirrored(&self, token: &VerifiedToken, version: u64, now: Duration) -> Option<TokenStatus> {
        let mirror = self.mirror.as_ref()?;
        let age = mirror.age(now).filter(|age| *age < self.max_staleness)?;
        if self.may_be_forgotten(token) {
            return Some(TokenStatus::Revoked);
        }
        let status = mirror.known_status(token)?;
        self.counters.served(age);
        if status == TokenStatus::Valid {
            cached_status(token).keep(version, now.saturating_sub(age));
        }
        Some(status)
    }

    /// Returns the rejection according to the mirror, while the mirror is being written back to a
    /// store that has lost entries.
    fn kept_from_a_store_that_forgot(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        let mirror = self.mirror.as_ref()?;
        (mirror.phase() == Phase::WritingBack)
            .then(|| mirror.rejection(token))
            .flatten()
    }

    /// Returns the status of a token. A known rejection still applies while the store can't answer.
    pub(crate) async fn status(&self, token: &VerifiedToken) -> Result<TokenStatus, StoreError> {
        if self.may_be_forgotten(token) {
            return Ok(TokenStatus::Revoked);
        }
        if S::ANSWERS_AT_ONCE {
            return self.ask_at_once(token).await;
        }
        let version = self.versions.version(token);
        let begun = self.clock.uptime();
        if let Some(status) = self.mirrored(token, version, begun) {
            return Ok(status);
        }
        if let Some(rejected) = self.kept_from_a_store_that_forgot(token) {
            return Ok(rejected);
        }
        let known = self.answers.get(&token.id()).await;
        if let Some(status) = known.and_then(|answer| self.counting(answer, token, begun)) {
            return Ok(status);
        }
        let asked = self.timer.within(self.ask(token, begun)).await;
        match asked.and_then(|answer| answer) {
            Ok(status) => Ok(status),
            Err(error) => {
                self.failed(&error);
                let known = known.map(|answer| answer.status);
                let rejected = known.filter(|status| *status != TokenStatus::Valid);
                let mirrored = || self.mirror.as_ref()?.rejection(token);
                rejected.or_else(mirrored).ok_or(error)
            }
        }
    }

    /// Queries a store that completes on the first poll, and bypasses the cache.
    async fn ask_at_once(&self, token: &VerifiedToken) -> Result<TokenStatus, StoreError> {
        if self.may_be_forgotten(token) {
            return Ok(TokenStatus::Revoked);
        }
        match self.ask_store(token, None).await {
            Ok(answer) => Ok(answer.status),
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    /// Queries the store, unless another call has cached a valid answer in the meantime.
    async fn ask(&self, token: &VerifiedToken, begun: Duration) -> Result<TokenStatus, StoreError> {
        let asked = self
            .answers
            .entry(token.id())
            .and_try_compute_with(async |known: Option<Entry<TokenId, Answer>>| {
                let known = known.map(Entry::into_value);
                if known.is_some_and(|answer| self.counting(answer, token, begun).is_some()) {
                    return Ok(Op::Nop);
                }
                let before = known.map(|answer| answer.status);
                self.ask_store(token, before).await.map(Op::Put)
            })
            .await?;
        match asked {
            CompResult::Inserted(entry)
            | CompResult::ReplacedWith(entry)
            | CompResult::Unchanged(entry) => Ok(entry.into_value().status),
            // Not reachable, since only a valid answer is left unchanged. If it were, fail closed.
            CompResult::Removed(_) | CompResult::StillNone(_) => {
                Err(StoreError::Unavailable("no answer was kept".into()))
            }
        }
    }

    async fn ask_store(
        &self,
        token: &VerifiedToken,
        before: Option<TokenStatus>,
    ) -> Result<Answer, StoreError> {
        let at = self.clock.uptime();
        let version = self.versions.version(token);
        self.counters.asked();
        let listed = self.store.look_up(token.keys()).await?;
        self.answered();
        #[cfg(test)]
        let version = if self.stamp_late {
            self.versions.version(token)
        } else {
            version
        };
        let status = status_of(token, &listed)?;
        let mut asked = Asked { at, version };
        if status == TokenStatus::Valid {
            cached_status(token).keep(version, at);
        } else if before != Some(status) {
            // The token was revoked or spent by another node. Cached answers that it is valid must
            // not be used any more, even if they are young, so the token's slot moves. The new
            // answer's version includes that move.
            self.versions.move_token(token);
            asked.version = version.wrapping_add(1);
        }
        Ok(Answer {
            status,
            asked: Some(asked),
        })
    }

    /// Returns the status of a cached answer, if it is valid for a check that began at `begun`: it
    /// is young enough, or its look-up began after the check.
    fn counting(
        &self,
        answer: Answer,
        token: &VerifiedToken,
        begun: Duration,
    ) -> Option<TokenStatus> {
        let asked = answer.asked?;
        let age = self.clock.uptime().saturating_sub(asked.at);
        let is_young = age < self.max_staleness;
        if asked.version != self.versions.version(token) || !(is_young || asked.at > begun) {
            return None;
        }
        if is_young {
            self.counters.served(age);
        }
        if answer.status == TokenStatus::Valid {
            cached_status(token).keep(asked.version, asked.at);
        }
        Some(answer.status)
    }

    /// Deletes expired entries from the store.
    ///
    /// It uses the earlier of two clocks, so that a step of the wall clock in either direction
    /// never deletes the entry of a token that may still be accepted.
    pub(crate) async fn purge(&self) -> Result<u64, StoreError> {
        let purged = self.store.purge(self.forgettable()).await;
        if let Err(error) = &purged {
            self.failed(error);
        }
        purged
    }

    /// Returns the time before which expired entries may be dropped, and records it.
    fn forgettable(&self) -> UnixTime {
        let now = self.clock.now().min(self.clock.steady_now());
        let before = now.saturating_sub(CLOCK_SKEW);
        self.purged_before
            .fetch_max(before.as_secs(), Ordering::AcqRel);
        before
    }

    /// Returns whether the entries of the token may have been purged.
    ///
    /// The token has then expired, unless the wall clock was set back since. Its status can no
    /// longer be determined, so it must be rejected.
    fn may_be_forgotten(&self, token: &VerifiedToken) -> bool {
        let purged_before = self.purged_before.load(Ordering::Acquire);
        retention::ended_before(token.retained_until(), UnixTime::from_secs(purged_before))
    }

    /// Waits for the mirror, then makes one look-up of an unused key, each with the timeout.
    pub(crate) async fn ready(&self) -> Result<(), StoreError> {
        if let Some(mirror) = &self.mirror {
            self.timer.within(mirror.settled()).await?;
        }
        let nobody = [KeyDigest::from_bytes([0; 16])];
        let answer = self.timer.within(self.store.look_up(&nobody)).await;
        match answer.and_then(|answer| answer) {
            Ok(_) => {
                self.answered();
                Ok(())
            }
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    /// Reads one page of the store's records, with the timeout.
    pub(crate) async fn page_of_records(
        &self,
        wanted: &RecordFilter,
        after: Option<&Cursor>,
        at_most: usize,
    ) -> Result<RecordPage, StoreError> {
        let records = self.store.records();
        let records = records.ok_or(StoreError::Unsupported("records"))?;
        let page = self.timer.within(records.page(wanted, after, at_most));
        let page = page.await.and_then(|page| page);
        page.inspect_err(|error| self.failed(error))
    }

    /// Reads from the store itself how one key is listed, with the timeout.
    pub(crate) async fn inspect(&self, key: RevocationKey) -> Result<Inspection, StoreError> {
        let keys = [key.digest()];
        let listed = self.timer.within(self.store.look_up(&keys)).await;
        let listed = listed.and_then(|listed| listed);
        let listed = listed.inspect_err(|error| self.failed(error))?;
        let wanted = RecordFilter::all().key(key);
        let record = match self.page_of_records(&wanted, None, 1).await {
            Ok(page) => page.records.into_iter().next(),
            Err(StoreError::Unsupported(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(Inspection {
            listed: listed.into_iter().next().flatten(),
            record,
        })
    }

    pub(crate) fn is_ready(&self) -> bool {
        let phase = self.mirror.as_ref().map(Mirror::phase);
        self.counters.has_answered() && !matches!(phase, Some(Phase::Loading | Phase::WritingBack))
    }

    pub(crate) fn stats(&self) -> ListStats {
        let now = self.clock.uptime();
        let mut stats = self.counters.snapshot(self.answers.entry_count());
        stats.max_staleness = self.max_staleness;
        if let Some(mirror) = &self.mirror {
            let age = mirror.age(now);
            stats.mirror = match mirror.phase() {
                Phase::Off | Phase::Idle => MirrorState::Off,
                Phase::Loading => MirrorState::Loading,
                Phase::Following if self.is_young(mirror, now) => MirrorState::Live,
                Phase::Following | Phase::WritingBack => MirrorState::Lost,
            };
            stats.mirrored = mirror.entries();
            stats.mirror_lag = age;
            stats.mirror_reloads = mirror.reloads.load(Ordering::Relaxed);
            stats.written_back = mirror.written_back.load(Ordering::Relaxed);
        }
        stats
    }

    pub(crate) fn max_token_life(&self) -> Option<Duration> {
        self.max_token_life
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    fn answered(&self) {
        self.counters.answered(self.clock.now());
        if self.log.store.works() {
            tracing::info!("the revocation store answers again");
        }
    }

    fn failed(&self, error: &StoreError) {
        if !matches!(error, StoreError::Unavailable(_) | StoreError::TimedOut(_)) {
            return;
        }
        self.counters.failed();
        if let Some(count) = self.log.store.failed(self.clock.uptime()) {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                count,
                "the revocation store failed"
            );
        }
    }
}
