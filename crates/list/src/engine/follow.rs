//! Keeps the mirror up to date by following the feed.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::{Either, select};
use tower_revoke_core::{Change, Changes, Cursor, Store};

use super::{
    load::{Gap, Page, Place},
    snapshot::Saves,
    source::Source,
};
use crate::{
    SnapshotError,
    mirror::{AT_ONCE, Lost, Mirror, Phase},
    timer::Timer,
};

/// The shortest interval between two calls of the feed.
const MIN_GAP: Duration = Duration::from_millis(5);

/// The longest interval between two calls of a feed that signals changes all the time. Each call
/// then returns many changes, so that following costs the store little.
const MAX_GAP: Duration = Duration::from_millis(100);

/// How soon after changes that came with a hint the feed is read, however long `max_staleness` is.
const CONFIRM_WITHIN: Duration = Duration::from_secs(1);

/// The longest interval between two attempts of a failed call.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// The interval at which expired entries of the mirror are dropped.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// How soon it is tried again to load what did not fit into the mirror, at first and at most. Each
/// attempt may read nearly as many entries as the mirror may hold.
const REFILL_AFTER: Duration = Duration::from_secs(60);
const MAX_REFILL_AFTER: Duration = Duration::from_secs(3_600);

/// Invalidates the mirror on drop, for whatever reason the follower ends.
struct Following<S, T>(Arc<Source<S, T>>);

impl<S, T> Drop for Following<S, T> {
    fn drop(&mut self) {
        if let Some(mirror) = &self.0.mirror {
            mirror.stop();
        }
    }
}

impl<S: Store, T: Timer> Source<S, T> {
    /// Returns whether the feed has no follower.
    pub(super) fn wants_a_follower(&self) -> bool {
        let mirror = self.mirror.as_ref();
        mirror.is_some_and(|mirror| mirror.phase() == Phase::Idle)
    }

    /// Follows the store's feed until the future is dropped.
    pub(super) fn follow(self: Arc<Self>) -> impl Future<Output = ()> + Send {
        if let Some(mirror) = &self.mirror {
            mirror.enter(Phase::Loading);
        }
        // Made outside of the future: a runtime that shuts down may drop the future unpolled, and
        // the phase must then return to `Idle`, so that another follower can start.
        let following = Following(self);
        async move {
            let source = &following.0;
            if let Some(mirror) = &source.mirror {
                source.follow_into(mirror).await;
            }
        }
    }

    async fn follow_into(self: &Arc<Self>, mirror: &Mirror) {
        let mut place = self.start_from_snapshot(mirror).await;
        let mut restored = place.is_some();
        let mut saves = Saves::default();
        // A snapshot may be old, so what has expired since is dropped first.
        let mut tidy_at = match restored {
            true => Duration::ZERO,
            false => self.clock.uptime() + TIDY_EVERY,
        };
        let mut has_followed = true;
        let mut gap = Duration::ZERO;
        let mut refill_after = REFILL_AFTER;
        loop {
            let followed = match place.take() {
                Some(cursor) => self.catch_up(mirror, cursor).await,
                None => {
                    if !std::mem::take(&mut has_followed) {
                        // The last load did not lead to following either, so don't load in a tight
                        // loop.
                        self.timer.pause(self.retry_every(), pending()).await;
                    }
                    self.load(mirror).await
                }
            };
            // Whether this was the first answer of the store to a mirror from a snapshot.
            let is_restored = std::mem::take(&mut restored);
            match followed {
                Ok(_) if mirror.entries() > mirror.capacity => {
                    // A full mirror is of no use: it is dropped, as after a load that was too large.
                    self.overflow(mirror, &mut refill_after).await;
                }
                Ok((cursor, began)) => {
                    if let Some(snapshot) = &self.snapshot {
                        if is_restored {
                            self.versions.renew();
                            snapshot.is_taken_over();
                        }
                        snapshot.moves_to(Some(&cursor));
                        saves.save_if_due(self, snapshot.settings().every());
                    }
                    if tidy_at <= self.clock.uptime() {
                        tidy_at = self.clock.uptime() + TIDY_EVERY;
                        self.tidy_mirror(mirror).await;
                    }
                    place = Some(self.wait(mirror, cursor, began, &mut gap).await);
                    has_followed = true;
                    refill_after = REFILL_AFTER;
                }
                Err(Gap::TooMany) => self.overflow(mirror, &mut refill_after).await,
                Err(Gap::Reload) if is_restored => {
                    mirror.forget_uses();
                    self.reject_snapshot(SnapshotError::TooOld);
                }
                Err(Gap::Foreign) if is_restored => {
                    mirror.clear();
                    self.reject_snapshot(SnapshotError::OtherStore);
                }
                Err(Gap::Reload) => {
                    mirror.reloads.fetch_add(1, Ordering::Relaxed);
                    if let Some(count) = self.log.reloads.count(self.clock.uptime(), 1) {
                        tracing::info!(
                            target: "tower_revoke::list",
                            count,
                            "the feed has a gap: the mirror of the list is loaded again"
                        );
                    }
                }
                // The follower read the cursor through the same handle. If the store doesn't know
                // it, another database has replaced the one that made it.
                Err(Gap::WentBack | Gap::Foreign) => {
                    mirror.enter(Phase::WritingBack);
                    if let Some(snapshot) = self.snapshot.as_ref().filter(|_| is_restored) {
                        snapshot.is_taken_over();
                    }
                    // Answers that the store gave since it lost entries may be wrong.
                    self.versions.renew();
                    mirror.reloads.fetch_add(1, Ordering::Relaxed);
                    if let Some(count) = self.log.histories.count(self.clock.uptime(), 1) {
                        tracing::error!(
                            target: "tower_revoke::list",
                            count,
                            "the revocation store has lost entries that it had published: \
                             what the mirror holds is written back before this node is ready again"
                        );
                    }
                    self.write_back(mirror).await;
                }
            }
        }
    }

    fn poll_every(&self) -> Duration {
        (self.max_staleness / 4).max(MIN_GAP)
    }

    /// Returns the interval at which a failed call is repeated. It is short even if `max_staleness`
    /// is long, since no change signals are received until then.
    pub(super) fn retry_every(&self) -> Duration {
        self.poll_every().min(RETRY_EVERY)
    }

    /// Drops the mirror, and waits until it is worth loading it again.
    async fn overflow(&self, mirror: &Mirror, refill_after: &mut Duration) {
        if mirror.phase() != Phase::Refilling {
            tracing::warn!(
                target: "tower_revoke::list",
                mirror_capacity = mirror.capacity,
                "more is listed than the mirror of the list may hold: the store is asked about \
                 each token, within max_staleness, until no more than 90 % of it is listed"
            );
        }
        if let Some(snapshot) = &self.snapshot {
            snapshot.moves_to(None);
        }
        mirror.overflow();
        self.timer.pause(*refill_after, pending()).await;
        *refill_after = (*refill_after * 2).min(MAX_REFILL_AFTER);
        mirror.enter(Phase::Refilling);
    }

    /// Waits until the feed has to be read again, and returns the cursor from which.
    ///
    /// Changes that come with a hint are applied here. They don't make the mirror younger, and settle
    /// none of this list's own writes, so they don't put off the next call of the feed.
    ///
    /// After a quiet time, a change is read at once. While each wait ends early, `gap` doubles.
    async fn wait(
        &self,
        mirror: &Mirror,
        mut cursor: Cursor,
        began: Duration,
        gap: &mut Duration,
    ) -> Cursor {
        let mut due = self.clock.uptime() + self.poll_every();
        loop {
            let waits_from = self.clock.uptime();
            let left = due.saturating_sub(waits_from);
            let news = self.hint(mirror, &cursor, left).await;
            let now = self.clock.uptime();
            let waited = now.saturating_sub(waits_from);
            let Some(Changes {
                changes,
                next,
                more,
            }) = news
            else {
                let rest = self.rest(gap, waited);
                let rest = rest.saturating_sub(now.saturating_sub(began));
                self.pause(rest).await;
                return cursor;
            };
            self.apply(mirror, &changes).await;
            cursor = next;
            due = due.min(now + CONFIRM_WITHIN);
            if !more {
                let rest = self.rest(gap, waited);
                self.pause(rest.min(due.saturating_sub(now))).await;
            }
            if self.clock.uptime() >= due || mirror.entries() > mirror.capacity {
                return cursor;
            }
        }
    }

    /// Returns the interval between two reads, after one that had to wait for so long.
    fn rest(&self, gap: &mut Duration, waited: Duration) -> Duration {
        *gap = match waited >= (*gap).max(MIN_GAP) {
            true => Duration::ZERO,
            false => (*gap * 2).clamp(MIN_GAP, MAX_GAP.min(self.poll_every())),
        };
        *gap
    }

    async fn pause(&self, rest: Duration) {
        if !rest.is_zero() {
            self.timer.pause(rest, pending()).await;
        }
    }

    /// Waits for a hint that the feed may have new changes, and returns those that came with it.
    async fn hint(&self, mirror: &Mirror, cursor: &Cursor, at_most: Duration) -> Option<Changes> {
        let mut news = None;
        let wake = async {
            let changed = match self.store.feed() {
                Some(feed) => feed.changed(cursor),
                None => Box::pin(pending()),
            };
            let woken = pin!(mirror.wake.notified());
            if let Either::Left((changes, _)) = select(changed, woken).await {
                news = changes;
            }
        };
        self.timer.pause(at_most, wake).await;
        news
    }

    /// Applies all changes since a cursor.
    pub(super) async fn catch_up(
        &self,
        mirror: &Mirror,
        mut since: Cursor,
    ) -> Result<(Cursor, Duration), Gap> {
        let mut rest = Duration::ZERO;
        loop {
            let Page {
                began,
                number,
                page,
            } = self
                .page(mirror, Place::Feed(Some(&since)), &mut rest)
                .await?;
            self.apply(mirror, &page.changes).await;
            since = page.next;
            if page.more {
                if mirror.entries() > mirror.capacity {
                    return Err(Gap::TooMany);
                }
                continue;
            }
            let lost = self.settle(mirror, number, true);
            mirror.caught_up(began);
            if !lost.is_empty() {
                self.say_again(mirror, lost).await;
            }
            return Ok((since, began));
        }
    }

    /// Applies changes of the feed, which follow those that were applied before.
    async fn apply(&self, mirror: &Mirror, changes: &[Change]) {
        for changes in changes.chunks(AT_ONCE) {
            let mut keys = Vec::with_capacity(changes.len());
            mirror.follow(changes, |key, is_rule| {
                self.versions.moved(key, is_rule);
                keys.push(*key);
            });
            // After all of them: a revocation that is lifted further on ends no stream.
            self.tell_watchers(mirror, &keys);
            tokio::task::yield_now().await;
        }
        let short = changes.iter().filter_map(|change| self.prolonged(change));
        self.prolong(&short.collect::<Vec<_>>()).await;
    }

    pub(super) fn settle(&self, mirror: &Mirror, number: u64, complete: bool) -> Lost {
        let mut keys = Vec::new();
        let lost = mirror.settle(number, complete, |key, is_rule| {
            self.versions.moved(key, is_rule);
            keys.push(*key);
        });
        self.tell_watchers(mirror, &keys);
        lost
    }

    pub(super) fn is_young(&self, mirror: &Mirror, uptime: Duration) -> bool {
        mirror
            .age(uptime)
            .is_some_and(|age| age < self.max_staleness)
    }

    /// Drops expired entries of the mirror, by the same time as [`purge`](Self::purge).
    async fn tidy_mirror(&self, mirror: &Mirror) {
        let before = self.forgettable();
        let mut table = 0;
        while mirror.forget(table, before) {
            table += 1;
            tokio::task::yield_now().await;
        }
    }
}
