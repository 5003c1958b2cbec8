//! Loads the mirror and keeps it up to date by following the feed.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::select;
use tower_revoke_core::{Changes, Cursor, Store, StoreError};

use super::source::Source;
use crate::{
    mirror::{AT_ONCE, Lost, Mirror, Phase, Tables},
    timer::Timer,
};

/// The shortest interval between two calls of the feed, however often the store signals a change.
const MIN_GAP: Duration = Duration::from_millis(5);

/// The longest interval between two attempts of a failed call.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// The pause after an empty page.
const EMPTY_PAGE: Duration = Duration::from_millis(1);

/// The interval at which expired entries of the mirror are dropped.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Why the feed can't be followed from the last cursor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gap {
    /// Changes after the cursor were trimmed, so everything must be loaded again.
    Reload,
    /// The store has lost changes that were read from it.
    WentBack,
    /// The store has no feed.
    NoFeed,
    /// More is listed than the mirror may hold.
    TooMany,
}

/// One page of the feed, with the uptime and the number of the next write before the call began.
struct Page {
    began: Duration,
    number: u64,
    page: Changes,
}

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

    /// Follows the store's feed until the future is dropped. It completes only if there can be no
    /// mirror.
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

    async fn follow_into(&self, mirror: &Mirror) {
        let mut tidy_at = self.clock.uptime() + TIDY_EVERY;
        let mut place = None;
        let mut has_followed = true;
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
            match followed {
                Ok((cursor, began)) => {
                    if mirror.entries() > mirror.limit {
                        return give_up(mirror, Gap::TooMany);
                    }
                    if tidy_at <= self.clock.uptime() {
                        tidy_at = self.clock.uptime() + TIDY_EVERY;
                        self.tidy_mirror(mirror).await;
                    }
                    self.wait(mirror, &cursor, began).await;
                    has_followed = true;
                    place = Some(cursor);
                }
                Err(Gap::Reload) => {
                    mirror.reloads.fetch_add(1, Ordering::Relaxed);
                    if let Some(count) = self.log.reloads.count(self.clock.uptime(), 1) {
                        tracing::info!(
                            count,
                            "the feed has a gap: the mirror of the list is loaded again"
                        );
                    }
                }
                Err(Gap::WentBack) => {
                    mirror.enter(Phase::WritingBack);
                    // Answers that the store gave since it lost entries may be wrong.
                    self.versions.renew();
                    mirror.reloads.fetch_add(1, Ordering::Relaxed);
                    if let Some(count) = self.log.histories.count(self.clock.uptime(), 1) {
                        tracing::error!(
                            count,
                            "the revocation store has forgotten what it had told: \
                             what is known here is written back before this node is ready again"
                        );
                    }
                    self.write_back(mirror).await;
                }
                Err(gap) => return give_up(mirror, gap),
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

    /// Waits until the feed may have new changes.
    async fn wait(&self, mirror: &Mirror, cursor: &Cursor, began: Duration) {
        let wake = async {
            let told = match self.store.feed() {
                Some(feed) => feed.changed(cursor),
                None => Box::pin(pending()),
            };
            let woken = pin!(mirror.wake.notified());
            select(told, woken).await;
        };
        self.timer.pause(self.poll_every(), wake).await;
        let gap = MIN_GAP.saturating_sub(self.clock.uptime().saturating_sub(began));
        if !gap.is_zero() {
            self.timer.pause(gap, pending()).await;
        }
    }

    /// Loads everything that is listed, then the changes made since, into fresh tables, and puts
    /// them in place of the old ones.
    pub(super) async fn load(&self, mirror: &Mirror) -> Result<(Cursor, Duration), Gap> {
        let mut tables = Tables::empty();
        let mut since = None;
        let mut is_loaded = false;
        let mut short = Vec::new();
        loop {
            let Page {
                began,
                number,
                page,
            } = self.page(mirror, since.as_ref()).await?;
            short.extend(
                page.changes
                    .iter()
                    .filter_map(|change| self.prolonged(change)),
            );
            for changes in page.changes.chunks(AT_ONCE) {
                changes.iter().for_each(|change| tables.follow(change));
                tokio::task::yield_now().await;
            }
            if tables.len() > mirror.limit {
                return Err(Gap::TooMany);
            }
            if !page.more && is_loaded {
                mirror.replace(tables, number);
                // Invalidate every answer: the tables contain the changes that were missed, but
                // don't show which keys those concern.
                self.versions.renew();
                mirror.caught_up(began);
                self.prolong(&short).await;
                return Ok((page.next, began));
            }
            is_loaded |= !page.more;
            since = Some(page.next);
        }
    }

    /// Applies all changes since a cursor.
    pub(super) async fn catch_up(
        &self,
        mirror: &Mirror,
        mut since: Cursor,
    ) -> Result<(Cursor, Duration), Gap> {
        loop {
            let Page {
                began,
                number,
                page,
            } = self.page(mirror, Some(&since)).await?;
            let prolonged = page
                .changes
                .iter()
                .filter_map(|change| self.prolonged(change));
            let short: Vec<_> = prolonged.collect();
            for changes in page.changes.chunks(AT_ONCE) {
                mirror.follow(changes, |key, is_rule| self.versions.moved(key, is_rule));
                tokio::task::yield_now().await;
            }
            self.prolong(&short).await;
            since = page.next;
            if page.more {
                if mirror.entries() > mirror.limit {
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

    fn settle(&self, mirror: &Mirror, number: u64, complete: bool) -> Lost {
        mirror.settle(number, complete, |key, is_rule| {
            self.versions.moved(key, is_rule);
        })
    }

    /// Reads one page. Repeats a failed call until it succeeds or fails for good.
    async fn page(&self, mirror: &Mirror, since: Option<&Cursor>) -> Result<Page, Gap> {
        loop {
            let number = mirror.next_write();
            let began = self.clock.uptime();
            if !self.is_young(mirror, began) {
                // The mirror is too old to answer, so local writes need no protection from older
                // pages. This call contains them if it succeeds. Settling them keeps their number
                // bounded during an outage.
                self.settle(mirror, number, false);
            }
            let Some(feed) = self.store.feed() else {
                return Err(Gap::NoFeed);
            };
            let page = self.timer.within(feed.changes(since)).await;
            let error = match page.and_then(|page| page) {
                Ok(page) => {
                    if self.log.feed.works() {
                        tracing::info!("the revocation store's feed is followed again");
                    }
                    self.answered();
                    if page.more && page.changes.is_empty() {
                        // A store may return many empty pages in a row.
                        self.timer.pause(EMPTY_PAGE, pending()).await;
                    }
                    return Ok(Page {
                        began,
                        number,
                        page,
                    });
                }
                Err(StoreError::CursorTooOld) => return Err(Gap::Reload),
                // This follower read the cursor through the same handle. If the store doesn't know
                // it, another database has replaced the one that made it.
                Err(StoreError::HistoryWentBack | StoreError::ForeignCursor) => {
                    return Err(Gap::WentBack);
                }
                Err(error) => error,
            };
            self.failed(&error);
            if let Some(count) = self.log.feed.failed(self.clock.uptime()) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    count,
                    max_staleness = ?self.max_staleness,
                    "the feed of the revocation store failed: what is known here is told for \
                     max_staleness at most, then the store is asked about each token"
                );
            }
            self.timer.pause(self.retry_every(), pending()).await;
        }
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

fn give_up(mirror: &Mirror, gap: Gap) {
    mirror.give_up();
    match gap {
        Gap::TooMany => tracing::warn!(
            mirror_capacity = mirror.limit,
            "more is listed than the mirror of the list may hold: from now on the store is asked \
             about each token, within max_staleness"
        ),
        _ => tracing::info!(
            "the revocation store has no feed: it is asked about each token, within max_staleness"
        ),
    }
}
