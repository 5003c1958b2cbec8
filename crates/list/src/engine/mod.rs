//! How answers are kept, and when they count: the whole coherence of the list.

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
    judge::judge,
    mirror::{Mirror, Phase},
    operators::Inspection,
    stats::{Counters, ListStats, MirrorState},
};

/// How far the clocks of nodes, stores and issuers may lie apart before something is forgotten
/// that somebody still accepts.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Bounds a call in time. A parameter, so that the engine needs no runtime and no timer.
pub(crate) trait Timer: Send + Sync + 'static {
    /// The call's own output, or [`StoreError::TimedOut`].
    fn within<F>(&self, call: F) -> impl Future<Output = Result<F::Output, StoreError>> + Send
    where
        F: Future<Output: Send> + Send;

    /// Waits for `wake`, but not for longer than that.
    fn pause<F>(&self, at_most: Duration, wake: F) -> impl Future<Output = ()> + Send
    where
        F: Future<Output = ()> + Send;
}

/// Answers over a store.
///
/// An answer counts while nothing that concerns its token was changed through this engine since
/// the store was asked (its version, see [`Versions`]), and while it is younger than
/// `max_staleness`. The cache may lose any answer at any time, and even hold a stale one: the
/// version alone decides. Its lock per key makes of many questions about one token a single one,
/// and keeps the answers about one token in the order in which they were given.
///
/// Where the store has a feed, a mirror of all that it lists stands before the cache
/// (`follow.rs`): while it is young, nothing else is asked.
pub(crate) struct Engine<S, T> {
    store: S,
    timer: T,
    clock: Clock,
    max_staleness: Duration,
    max_token_life: Option<Duration>,
    answers: Cache<TokenId, Answer>,
    versions: Versions,
    /// `None`: none is wanted, or of use, or the store has no feed.
    mirror: Option<Mirror>,
    counters: Counters,
    /// What ended before this may have been forgotten.
    purged_before: AtomicU64,
    log: EngineLog,
    /// The version is read too late, which the scheduler must find out.
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

    /// How the token stands, if its last good answer still counts: nothing is locked, allocated
    /// or awaited then. Else, if the mirror tells, or the store answers at once.
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
        // Nothing that concerns the token was told since: while the mirror is young, so is this.
        let mirrored = self.mirror.as_ref().and_then(|mirror| mirror.age(now));
        let age = now.saturating_sub(asked_at);
        let age = mirrored.map_or(age, |mirrored| mirrored.min(age));
        let counts = age < self.max_staleness && !self.may_be_forgotten(token);
        if counts {
            self.counters.served(age);
        }
        counts
    }

    /// How the token stands by the mirror, while that is young. The version was read before.
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

    /// How the mirror saw the token rejected, if the store has forgotten and is not yet told.
    fn kept_from_a_store_that_forgot(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        let mirror = self.mirror.as_ref()?;
        (mirror.phase() == Phase::WritingBack)
            .then(|| mirror.rejection(token))
            .flatten()
    }

    /// How the token stands. A rejection that is known stays one while the store can't answer.
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

    /// Asks a store that needs no waiting, and no answers beside it.
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

    /// Asks the store, unless somebody else has asked it in the meantime.
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
            // Only an answer that counts is left as it is. Rejected, should that ever be wrong.
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
        let status = judge(token, &listed)?;
        let mut asked = Asked { at, version };
        if status == TokenStatus::Valid {
            cached_status(token).keep(version, at);
        } else if before != Some(status) {
            // Revoked elsewhere: good answers that are younger than the bound must not be given
            // any more, now that it is known. This very move is allowed for in the version.
            self.versions.move_token(token);
            asked.version = version.wrapping_add(1);
        }
        Ok(Answer {
            status,
            asked: Some(asked),
        })
    }

    /// The answer, if it counts for a question that began at `begun`: it is young enough, or was
    /// asked after that.
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

    /// Lets the store forget what has ended, by the clock that is further behind: neither a step
    /// of the wall clock forwards nor one back makes it forget what may still be accepted.
    pub(crate) async fn purge(&self) -> Result<u64, StoreError> {
        let purged = self.store.purge(self.forgettable()).await;
        if let Err(error) = &purged {
            self.failed(error);
        }
        purged
    }

    /// What ended before this is forgotten from now on.
    fn forgettable(&self) -> UnixTime {
        let now = self.clock.now().min(self.clock.steady_now());
        let before = now.saturating_sub(CLOCK_SKEW);
        self.purged_before
            .fetch_max(before.as_secs(), Ordering::AcqRel);
        before
    }

    /// Whether what is known of the token may have been forgotten. It has expired, unless the wall
    /// clock was set back since: then nobody can vouch for it any more.
    fn may_be_forgotten(&self, token: &VerifiedToken) -> bool {
        let purged_before = self.purged_before.load(Ordering::Acquire);
        retention::ended_before(token.retained_until(), UnixTime::from_secs(purged_before))
    }

    /// The mirror as it must be, and one question about no token: both bounded in time.
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

    /// One page of the store's records, bounded in time.
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

    /// What the store itself says about one key, bounded in time.
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
