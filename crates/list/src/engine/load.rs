//! Loads the mirror, and reads the pages of the feed.

use std::{future::pending, time::Duration};

use tower_revoke_core::{Change, Changes, Cursor, Store, StoreError};

use super::source::Source;
use crate::{
    mirror::{AT_ONCE, Mirror, Phase, Shard, Tables},
    timer::Timer,
};

/// The pause after an empty page that is not the last. It doubles with each, since a store may
/// return many in a row.
const EMPTY_PAGE: Duration = Duration::from_millis(1);
const MAX_EMPTY_PAGE: Duration = Duration::from_millis(20);

/// Why the feed can't be followed from the last cursor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gap {
    /// Changes after the cursor were trimmed, so everything must be loaded again.
    Reload,
    /// The store has lost changes that were read from it.
    WentBack,
    /// Another store made the cursor.
    Foreign,
    /// More is listed than the mirror may hold.
    TooMany,
}

/// What a page is read from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// The changes since a cursor, or all that is listed and then the changes.
    Feed(Option<&'a Cursor>),
    /// What is listed, after the last page of it.
    Listed(Option<&'a Cursor>),
}

/// One page of the feed, with the uptime and the number of the next write before the call began.
pub(super) struct Page {
    pub(super) began: Duration,
    pub(super) number: u64,
    pub(super) page: Changes,
}

/// The state of a load in progress.
struct Loaded {
    tables: Tables<Shard>,
    capacity: u64,
    /// Rules that the store would purge too early.
    prolonged: Vec<Change>,
    /// The pause after the last empty page.
    rest: Duration,
}

impl<S: Store, T: Timer> Source<S, T> {
    /// Loads everything that is listed, and the changes made since, into fresh tables, and puts
    /// them in place of the old ones.
    ///
    /// The feed is followed while the pages of what is listed are read. Otherwise a store that
    /// keeps fewer changes than are made during a load could never be loaded.
    pub(super) async fn load(&self, mirror: &Mirror) -> Result<(Cursor, Duration), Gap> {
        let mut loaded = Loaded {
            tables: Tables::empty(),
            // A mirror that was dropped comes back only with room to grow.
            capacity: match mirror.phase() {
                Phase::Refilling => mirror.capacity - mirror.capacity / 10,
                _ => mirror.capacity,
            },
            prolonged: Vec::new(),
            rest: Duration::ZERO,
        };
        // A store that went back has been told everything already.
        let mut is_told = mirror.phase() == Phase::WritingBack;
        let mut tail = self.end_of_feed().await;
        let mut listed = None;
        loop {
            let place = match &tail {
                Some(_) => Place::Listed(listed.as_ref()),
                None => Place::Feed(listed.as_ref()),
            };
            let Page { page, .. } = self.load_page(mirror, &mut loaded, place).await?;
            listed = Some(page.next);
            if let Some(cursor) = tail {
                // After the page: a change that the page contains may be told again, none is lost.
                let last = self.load_changes(mirror, &mut loaded, cursor).await?;
                tail = Some(last.page.next);
            }
            if !page.more {
                break;
            }
        }
        let mut since = tail.or(listed);
        while let Some(cursor) = since {
            let Page {
                began,
                number,
                page,
            } = self.load_changes(mirror, &mut loaded, cursor).await?;
            if !std::mem::replace(&mut is_told, true)
                && self.tell_missing(mirror, &loaded.tables).await
            {
                // Read what the store has made of it.
                since = Some(page.next);
                continue;
            }
            if mirror.phase() == Phase::Refilling {
                tracing::info!(
                    target: "tower_revoke::list",
                    "what is listed fits into the mirror of the list again"
                );
            }
            mirror.replace(loaded.tables, number);
            // Invalidate every answer: the tables contain the changes that were missed, but don't
            // show which keys those concern.
            self.versions.renew();
            self.watchers.review(&|key| mirror.listed(key));
            mirror.caught_up(began);
            self.prolong(&loaded.prolonged).await;
            return Ok((page.next, began));
        }
        Err(Gap::Reload)
    }

    async fn load_page(
        &self,
        mirror: &Mirror,
        loaded: &mut Loaded,
        place: Place<'_>,
    ) -> Result<Page, Gap> {
        let page = self.page(mirror, place, &mut loaded.rest).await?;
        let changes = &page.page.changes;
        let prolonged = changes.iter().filter_map(|change| self.prolonged(change));
        loaded.prolonged.extend(prolonged);
        for changes in changes.chunks(AT_ONCE) {
            changes
                .iter()
                .for_each(|change| loaded.tables.follow(change));
            tokio::task::yield_now().await;
        }
        if loaded.tables.len() > loaded.capacity {
            return Err(Gap::TooMany);
        }
        Ok(page)
    }

    /// Loads all changes since a cursor. Returns the last page.
    async fn load_changes(
        &self,
        mirror: &Mirror,
        loaded: &mut Loaded,
        mut since: Cursor,
    ) -> Result<Page, Gap> {
        loop {
            let place = Place::Feed(Some(&since));
            let page = self.load_page(mirror, loaded, place).await?;
            if !page.page.more {
                return Ok(page);
            }
            since = page.page.next;
        }
    }

    /// Returns the end of the feed, if the store can tell. If it fails now, a later load may succeed.
    async fn end_of_feed(&self) -> Option<Cursor> {
        let end = self.in_time(self.store.feed()?.end()).await;
        end.inspect_err(|error| self.failed(error)).ok().flatten()
    }

    /// Reads one page. Repeats a failed call until it succeeds or fails for good.
    ///
    /// `rest` is the pause after the last page. It grows while pages are empty.
    pub(super) async fn page(
        &self,
        mirror: &Mirror,
        place: Place<'_>,
        rest: &mut Duration,
    ) -> Result<Page, Gap> {
        loop {
            let number = mirror.next_write();
            let began = self.clock.uptime();
            if !self.is_young(mirror, began) {
                // The mirror is too old to answer, so local writes need no protection from older
                // pages. This call contains them if it succeeds. Settling them keeps their number
                // bounded during an outage.
                self.settle(mirror, number, false);
            }
            let page = match (self.store.feed(), place) {
                (Some(feed), Place::Feed(since)) => self.in_time(feed.changes(since)).await,
                (Some(feed), Place::Listed(after)) => self.in_time(feed.listed(after)).await,
                (None, _) => Err(StoreError::Unsupported("feed any more")),
            };
            let error = match page {
                Ok(page) => {
                    if self.log.feed.works() {
                        tracing::info!(
                            target: "tower_revoke::list",
                            "the revocation store's feed is followed again"
                        );
                    }
                    self.answered();
                    if page.more && page.changes.is_empty() {
                        *rest = (*rest * 2).clamp(EMPTY_PAGE, MAX_EMPTY_PAGE);
                        self.timer.pause(*rest, pending()).await;
                    } else {
                        *rest = Duration::ZERO;
                    }
                    return Ok(Page {
                        began,
                        number,
                        page,
                    });
                }
                Err(StoreError::CursorTooOld) => return Err(Gap::Reload),
                Err(StoreError::HistoryWentBack) => return Err(Gap::WentBack),
                Err(StoreError::ForeignCursor) => return Err(Gap::Foreign),
                Err(error) => error,
            };
            self.failed(&error);
            if let Some(count) = self.log.feed.failed(self.clock.uptime()) {
                tracing::warn!(
                    target: "tower_revoke::list",
                    error = &error as &dyn std::error::Error,
                    count,
                    max_staleness = ?self.max_staleness,
                    "the feed of the revocation store failed: the mirror is used for up to \
                     max_staleness, then each token is looked up in the store"
                );
            }
            self.timer.pause(self.retry_every(), pending()).await;
        }
    }
}
