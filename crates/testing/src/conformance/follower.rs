//! One who follows a store's feed, as the list's mirror does.

use std::{collections::HashMap, time::Duration};

use tower_revoke_core::{Change, Cursor, KeyDigest, Listed, Store, StoreError, UnixTime};

use super::world::{Node, worked};

/// No store needs as many pages for what a clause writes.
const MOST_PAGES: usize = 20_000;

/// What is known from the feed alone.
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
    spent: Option<Listed>,
}

impl Follower {
    /// Asks for one page. What was in it.
    pub(super) async fn turn<S: Store>(
        &mut self,
        node: &Node<S>,
    ) -> Result<Vec<Change>, StoreError> {
        let page = node.try_changes(self.cursor.as_ref()).await?;
        self.cursor = Some(page.next);
        self.is_at_the_end = !page.more;
        for change in &page.changes {
            self.take(change);
        }
        Ok(page.changes)
    }

    /// Whether the last page said that there is no more.
    pub(super) fn is_at_the_end(&self) -> bool {
        self.is_at_the_end
    }

    /// Asks until there is no more. All that came.
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

    /// Follows until it knows what the store answers. The feed may be a little late, never wrong.
    ///
    /// # Panics
    /// If that doesn't come about in the ground's patience.
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
                // As one polls who isn't woken.
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

    /// As the store would answer.
    pub(super) fn listed(&self, key: &KeyDigest) -> Option<Listed> {
        let known = self.known.get(key)?;
        known.revoked.map(|(listed, _)| listed).or(known.spent)
    }

    /// What has come before may come again: only news counts.
    fn take(&mut self, change: &Change) {
        let known = self.known.entry(*change.key()).or_default();
        match *change {
            Change::Listed {
                listed: Listed::Spent { until },
                ..
            } => known.spent = Some(Listed::Spent { until }),
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
            Change::Returned { .. } => known.spent = None,
            _ => {}
        }
    }
}
