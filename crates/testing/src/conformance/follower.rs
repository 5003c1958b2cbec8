//! A follower of a store's feed, which mirrors it as the list's mirror does.

use std::{collections::HashMap, time::Duration};

use tower_revoke_core::{Change, Changes, Cursor, KeyDigest, Listed, Store, StoreError, UnixTime};

use super::world::{Node, worked};

/// More pages than any store needs for what a clause writes.
const MOST_PAGES: usize = 20_000;

/// The state of a store, as known from its feed alone.
#[derive(Clone, Default)]
pub(super) struct Follower {
    pub(super) cursor: Option<Cursor>,
    known: HashMap<KeyDigest, Known>,
    is_at_the_end: bool,
}

#[derive(Clone, Default)]
struct Known {
    revoked: Option<(Listed, UnixTime)>,
    lifted: Option<UnixTime>,
    used_up: Option<Listed>,
}

impl Follower {
    /// Reads one page and returns its changes.
    pub(super) async fn turn<S: Store>(
        &mut self,
        node: &Node<S>,
    ) -> Result<Vec<Change>, StoreError> {
        let page = node.try_changes(self.cursor.as_ref()).await?;
        self.cursor = Some(page.next);
        self.is_at_the_end = !page.more;
        self.take_all(&page.changes);
        Ok(page.changes)
    }

    /// Applies what a hint brought, if anything.
    pub(super) fn take_news(&mut self, news: Option<Changes>) {
        if let Some(news) = news {
            self.take_all(&news.changes);
            self.cursor = Some(news.next);
        }
    }

    /// Applies changes that were read elsewhere.
    pub(super) fn take_all(&mut self, changes: &[Change]) {
        for change in changes {
            self.take(change);
        }
    }

    /// Returns whether the last page was the end of the feed.
    pub(super) fn is_at_the_end(&self) -> bool {
        self.is_at_the_end
    }

    /// Reads to the end of the feed and returns all changes.
    pub(super) async fn catch_up<S: Store>(&mut self, node: &Node<S>) -> Vec<Change> {
        let mut all = Vec::new();
        for _ in 0..MOST_PAGES {
            all.append(&mut worked("changes", self.turn(node).await));
            if self.is_at_the_end {
                return all;
            }
        }
        panic!("the feed says for {MOST_PAGES} pages that there is more");
    }

    /// Follows the feed until it agrees with `look_up` for these keys.
    ///
    /// A feed may lag behind the store for a moment, so it is read repeatedly.
    ///
    /// # Panics
    /// If they still differ after the fixture's time limit.
    pub(super) async fn agrees<S: Store>(&mut self, node: &Node<S>, keys: &[KeyDigest]) {
        let expected = node.look_up(keys).await;
        let mut differ = Vec::new();
        let agreed = tokio::time::timeout(node.patience, async {
            loop {
                self.catch_up(node).await;
                let both = keys.iter().zip(&expected);
                differ = both
                    .map(|(key, listed)| (*key, self.listed(key), *listed))
                    .filter(|(_, told, listed)| told != listed)
                    .collect();
                if differ.is_empty() {
                    break;
                }
                // Polls, since this must hold without hints from `changed` too.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        if agreed.await.is_err() {
            let (key, told, listed) = differ[0];
            panic!(
                "the feed and the store differ in {} of {} keys: of {key:?} the feed told {told:?}, \
                 and it is {listed:?}",
                differ.len(),
                keys.len(),
            );
        }
    }

    /// Returns what `look_up` would return for the key.
    pub(super) fn listed(&self, key: &KeyDigest) -> Option<Listed> {
        let known = self.known.get(key)?;
        let revoked = known.revoked.map(|(listed, _)| listed);
        match (revoked, known.used_up) {
            (Some(revoked), Some(used_up)) => Some(revoked.longer(used_up)),
            (one, other) => one.or(other),
        }
    }

    /// Applies a change. The feed may repeat old changes, so only newer ones take effect.
    fn take(&mut self, change: &Change) {
        let known = self.known.entry(*change.key()).or_default();
        match *change {
            Change::UsedUp { until, .. } => known.used_up = Some(Listed::Spent { until }),
            Change::Listed { listed, at, .. } => {
                if known.lifted.is_some_and(|lifted| at < lifted) {
                    return;
                }
                known.revoked = Some(match known.revoked {
                    Some((before, said)) => (before.longer(listed), said.max(at)),
                    None => (listed, at),
                });
            }
            Change::Lifted { at, .. } => {
                known.revoked.take_if(|(_, said)| *said < at);
                known.lifted = known.lifted.max(Some(at));
            }
            Change::Returned { .. } => known.used_up = None,
            _ => {}
        }
    }
}
