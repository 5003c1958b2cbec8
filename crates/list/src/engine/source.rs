//! Where answers come from: the store, and the mirror of what it lists.

use std::{
    error::Error,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tower_revoke_core::{
    Clock, KeyDigest, Listed, Store, StoreError, UnixTime, VerifiedToken,
    internal::{LogLimit, OutageLog},
    retention,
};

use super::{snapshot::Snapshot, versions::Versions};
use crate::{
    MirrorSnapshot,
    mirror::{Mirror, Phase},
    stats::{Counters, ListStats, MirrorState},
    timer::Timer,
    watchers::Watchers,
};

/// The largest clock skew between nodes, stores and issuers at which no entry is purged that is
/// still needed.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// How the mirror of a list is configured.
pub(crate) struct MirrorSettings {
    pub(crate) capacity: u64,
    pub(crate) snapshot: Option<MirrorSnapshot>,
}

/// The store, its mirror, and the versions by which older answers are detected.
///
/// The task that follows the feed shares it with the [`Engine`](super::Engine), and outlives
/// neither the engine nor its cache.
pub(crate) struct Source<S, T> {
    pub(super) store: S,
    pub(super) timer: T,
    pub(super) clock: Clock,
    pub(super) max_staleness: Duration,
    pub(super) max_token_life: Option<Duration>,
    pub(super) versions: Versions,
    /// `None` if the mirror is disabled or of no use, or if the store has no feed.
    pub(super) mirror: Option<Mirror>,
    /// The file from which the mirror starts, and to which it is saved.
    pub(super) snapshot: Option<Snapshot>,
    /// The streams that end with their tokens.
    pub(super) watchers: Watchers,
    pub(super) counters: Counters,
    /// Entries that expired before this time may have been purged.
    purged_before: AtomicU64,
    /// Held during a purge, so that purges don't overlap.
    purging: tokio::sync::Mutex<()>,
    pub(super) log: Log,
}

/// One limit for each kind of line with which a failing store could flood the log.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Whether the store answers.
    store: OutageLog,
    /// Whether its feed can be followed.
    pub(super) feed: OutageLog,
    pub(super) reloads: LogLimit,
    pub(super) prolonged: LogLimit,
    pub(super) histories: LogLimit,
    pub(super) written_back: LogLimit,
    pub(super) not_written_back: LogLimit,
    /// Entries that were missing after a gap in the feed.
    pub(super) missing: LogLimit,
    /// Acknowledged writes that were missing from the feed.
    pub(super) said_again: LogLimit,
    /// Lost uses that were taken a second time.
    pub(super) won_again: LogLimit,
}

impl<S: Store, T: Timer> Source<S, T> {
    pub(super) fn new(
        store: S,
        timer: T,
        clock: Clock,
        max_staleness: Duration,
        mirror: MirrorSettings,
        max_token_life: Option<Duration>,
    ) -> Self {
        let mirrors = !S::ANSWERS_AT_ONCE
            && mirror.capacity > 0
            && !max_staleness.is_zero()
            && store.feed().is_some();
        Self {
            mirror: mirrors.then(|| Mirror::new(mirror.capacity)),
            snapshot: mirror.snapshot.map(Snapshot::new),
            store,
            timer,
            watchers: Watchers::new(clock.clone()),
            clock,
            max_staleness,
            max_token_life,
            versions: Versions::new(),
            counters: Counters::default(),
            purged_before: AtomicU64::new(0),
            purging: tokio::sync::Mutex::default(),
            log: Log::default(),
        }
    }

    /// Returns the output of a call, or an error if it takes too long.
    pub(super) async fn in_time<R: Send>(
        &self,
        call: impl Future<Output = Result<R, StoreError>> + Send,
    ) -> Result<R, StoreError> {
        self.timer.within(call).await.and_then(|done| done)
    }

    /// Makes one look-up, with the timeout, past every cache.
    pub(super) async fn look_up(&self, key: KeyDigest) -> Result<Option<Listed>, StoreError> {
        let keys = [key];
        let listed = self.in_time(self.store.look_up(&keys)).await;
        let listed = listed.inspect_err(|error| self.failed(error))?;
        self.answered();
        Ok(listed.into_iter().next().flatten())
    }

    /// Waits for the mirror, then makes one look-up of an unused key, each with the timeout.
    pub(super) async fn ready(&self) -> Result<(), StoreError> {
        if let Some(mirror) = &self.mirror {
            self.timer.within(mirror.settled()).await?;
        }
        let nobody = KeyDigest::from_bytes([0; 16]);
        self.look_up(nobody).await.map(drop)
    }

    pub(super) fn is_ready(&self) -> bool {
        let phase = self.mirror.as_ref().map(Mirror::phase);
        let has_answered = S::ANSWERS_AT_ONCE || self.counters.has_answered();
        has_answered && !matches!(phase, Some(Phase::Loading | Phase::WritingBack))
    }

    /// Deletes expired entries from the store, after the purge that is running, if any.
    ///
    /// It uses the earlier of two clocks, so that a step of the wall clock in either direction
    /// never deletes the entry of a token that may still be accepted.
    pub(super) async fn purge(&self) -> Result<u64, StoreError> {
        let _alone = self.purging.lock().await;
        self.purge_alone().await
    }

    /// As [`purge`](Self::purge), but does nothing while another one is running.
    pub(super) async fn purge_unless_running(&self) {
        if let Ok(_alone) = self.purging.try_lock() {
            // The failure is logged and counted. The next purge deletes the rest.
            let _ = self.purge_alone().await;
        }
    }

    async fn purge_alone(&self) -> Result<u64, StoreError> {
        let purged = self.store.purge(self.forgettable()).await;
        purged.inspect_err(|error| self.failed(error))
    }

    /// Returns the time before which expired entries may be dropped, and records it.
    pub(super) fn forgettable(&self) -> UnixTime {
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
    pub(super) fn may_be_forgotten(&self, token: &VerifiedToken) -> bool {
        let purged_before = self.purged_before.load(Ordering::Acquire);
        retention::ended_before(token.retained_until(), UnixTime::from_secs(purged_before))
    }

    pub(super) fn stats(&self, cached: u64) -> ListStats {
        let now = self.clock.uptime();
        let mut stats = self.counters.snapshot(cached);
        stats.max_staleness = self.max_staleness;
        stats.watches = self.watchers.len() as u64;
        stats.ended_watches = self.watchers.ended();
        if let Some(mirror) = &self.mirror {
            stats.mirror = match mirror.phase() {
                Phase::Idle => MirrorState::Off,
                Phase::Loading => MirrorState::Loading,
                Phase::Following if self.is_young(mirror, now) => MirrorState::Live,
                Phase::Following | Phase::WritingBack => MirrorState::Lost,
                Phase::Full | Phase::Refilling => MirrorState::Full,
            };
            stats.mirrored = mirror.entries();
            stats.mirror_lag = mirror.age(now);
            stats.mirror_reloads = mirror.reloads.load(Ordering::Relaxed);
            stats.written_back = mirror.written_back.load(Ordering::Relaxed);
        }
        if let Some(snapshot) = &self.snapshot {
            snapshot.report(&mut stats);
        }
        stats
    }

    pub(super) fn answered(&self) {
        self.counters.answered(self.clock.now());
        if self.log.store.works() {
            tracing::info!(target: "tower_revoke::list", "the revocation store answers again");
        }
    }

    pub(super) fn failed(&self, error: &StoreError) {
        if !matches!(error, StoreError::Unavailable(_) | StoreError::TimedOut(_)) {
            return;
        }
        self.counters.failed(self.clock.now());
        if let Some(count) = self.log.store.failed(self.clock.uptime()) {
            tracing::warn!(
                target: "tower_revoke::list",
                error = error as &dyn Error,
                count,
                "the revocation store failed"
            );
        }
    }
}
