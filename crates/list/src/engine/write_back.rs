//! Writes back entries that the store has lost, and rules that it would purge too early.

use std::{future::pending, sync::atomic::Ordering};

use futures_util::{StreamExt, stream};
use tower_revoke_core::{
    Change, KeyDigest, Listed, Store, StoreError, Use, UseOutcome, internal::WHENEVER_ISSUED,
    retention,
};

use super::source::Source;
use crate::{
    mirror::{AT_ONCE, Lost, Mirror, Shard, Tables, is_alive},
    timer::Timer,
};

/// How many changes are written back in one call.
const BACK_AT_ONCE: usize = 1_000;

/// How many uses are written back at the same time.
const USES_AT_ONCE: usize = 32;

impl<S: Store, T: Timer> Source<S, T> {
    /// Returns the rule with an `until` that suffices for the tokens that this list accepts, if
    /// that is later than its own.
    pub(super) fn prolonged(&self, change: &Change) -> Option<Change> {
        let Change::Listed { key, listed, at } = *change else {
            return None;
        };
        let Listed::Rule {
            issued_at_or_before,
            until: Some(kept),
        } = listed
        else {
            return None;
        };
        // The end of a grant is that of its tokens, and not up to this list.
        if issued_at_or_before == WHENEVER_ISSUED {
            return None;
        }
        let until = retention::of_rule(issued_at_or_before, self.max_token_life);
        let listed = Listed::Rule {
            issued_at_or_before,
            until,
        };
        let is_longer = until.is_none_or(|until| until > kept);
        is_longer.then_some(Change::Listed { key, listed, at })
    }

    /// Prolongs rules that a list with a shorter `max_token_life` has written. Otherwise they would
    /// be purged while a token that they concern is still accepted here.
    pub(super) async fn prolong(&self, rules: &[Change]) {
        if rules.is_empty() {
            return;
        }
        let entries = rules.len() as u64;
        if let Some(count) = self.log.prolonged.count(self.clock.uptime(), entries) {
            tracing::error!(
                target: "tower_revoke::list",
                count,
                max_token_life = ?self.max_token_life,
                "another list over this store has a shorter max_token_life: \
                 its rules are kept for as long as this one needs them"
            );
        }
        for rules in rules.chunks(BACK_AT_ONCE) {
            self.tell(rules).await;
        }
    }

    /// Writes again what the store acknowledged to this list, but its feed does not contain.
    pub(super) async fn say_again(&self, mirror: &Mirror, lost: Lost) {
        let now = self.clock.now();
        let mut changes = lost.changes;
        changes.retain(|change| is_alive(change, now));
        let uses = |key: &KeyDigest| mirror.uses(Some(key));
        let uses: Vec<_> = lost.taken.iter().flat_map(uses).collect();
        if changes.is_empty() && uses.is_empty() {
            return;
        }
        let entries = (changes.len() + uses.len()) as u64;
        if let Some(count) = self.log.said_again.count(self.clock.uptime(), entries) {
            tracing::error!(
                target: "tower_revoke::list",
                count,
                "the revocation store has not told of what it had acknowledged: it is written again"
            );
        }
        self.restore(mirror, &changes).await;
        let taken = self.take_again(uses).await;
        mirror.written_back.fetch_add(taken, Ordering::Relaxed);
    }

    /// Writes the whole mirror back to the store. Retries until the store has accepted it.
    pub(super) async fn write_back(&self, mirror: &Mirror) {
        let before = mirror.written_back.load(Ordering::Relaxed);
        let taken = self.take_again(mirror.uses(None)).await;
        mirror.written_back.fetch_add(taken, Ordering::Relaxed);
        let mut table = 0;
        while let Some(known) = mirror.known(table, self.clock.now()) {
            self.restore(mirror, &known).await;
            table += 1;
        }
        let entries = mirror.written_back.load(Ordering::Relaxed) - before;
        if let Some(count) = self.log.written_back.count(self.clock.uptime(), 1) {
            tracing::warn!(
                target: "tower_revoke::list",
                entries,
                count,
                "what the revocation store had forgotten is written back"
            );
        }
    }

    /// Tells the store of revocations, lifts and own uses that the mirror holds and a load didn't
    /// return. Returns whether there were any.
    ///
    /// After a gap in the feed, only the store knows whether such an entry was lifted or lost. The store ignores a revocation that was lifted, and a use that it has.
    pub(super) async fn tell_missing(&self, mirror: &Mirror, loaded: &Tables<Shard>) -> bool {
        let now = self.clock.now();
        let yields = mirror.entries() > AT_ONCE as u64;
        let mut entries = 0;
        let mut table = 0;
        while let Some(missing) = mirror.missing_from(loaded, table, now) {
            for missing in missing.chunks(BACK_AT_ONCE) {
                self.tell(missing).await;
            }
            entries += missing.len() as u64;
            table += 1;
            if yields {
                tokio::task::yield_now().await;
            }
        }
        let uses = mirror.uses_missing_from(loaded, now);
        entries += uses.len() as u64;
        self.take_again(uses).await;
        if entries > 0
            && let Some(count) = self.log.missing.count(self.clock.uptime(), entries)
        {
            tracing::warn!(
                target: "tower_revoke::list",
                count,
                "after a gap in the feed, the revocation store was told of entries that it no \
                 longer lists, in case they were lost rather than lifted"
            );
        }
        entries > 0
    }

    async fn restore(&self, mirror: &Mirror, known: &[Change]) {
        for known in known.chunks(BACK_AT_ONCE) {
            self.tell(known).await;
            let restored = known.len() as u64;
            mirror.written_back.fetch_add(restored, Ordering::Relaxed);
        }
    }

    /// Restores changes in the store. Retries until it succeeds.
    async fn tell(&self, known: &[Change]) {
        while let Some(feed) = self.store.feed()
            && let Err(error) = self.in_time(feed.restore(known)).await
        {
            self.could_not_write_back(&error).await;
        }
    }

    /// Takes uses again, under their own ids. Returns how many the store then had.
    async fn take_again(&self, uses: Vec<Use>) -> u64 {
        let taken = stream::iter(uses).map(|use_| self.take_one_again(use_));
        let taken = taken.buffer_unordered(USES_AT_ONCE);
        taken
            .fold(0, async |sum, taken| sum + u64::from(taken))
            .await
    }

    /// Returns whether the store then had the use.
    async fn take_one_again(&self, use_: Use) -> bool {
        loop {
            match self
                .in_time(self.store.take_use(&use_, self.clock.now()))
                .await
            {
                Ok(UseOutcome::Taken { .. }) => return true,
                Ok(UseOutcome::Spent) => {
                    let token = use_.token;
                    if let Some(count) = self.log.won_again.count(self.clock.uptime(), 1) {
                        tracing::error!(
                            target: "tower_revoke::list",
                            %token, count,
                            "a use that the store had forgotten was won again"
                        );
                    } else {
                        tracing::debug!(
                            target: "tower_revoke::list",
                            %token,
                            "a use that the store had forgotten was won again"
                        );
                    }
                    return false;
                }
                Err(StoreError::Expired | StoreError::LimitMismatch { .. }) => return false,
                Err(error) => self.could_not_write_back(&error).await,
            }
        }
    }

    async fn could_not_write_back(&self, error: &StoreError) {
        self.failed(error);
        if !matches!(error, StoreError::Unavailable(_) | StoreError::TimedOut(_))
            && let Some(count) = self.log.not_written_back.count(self.clock.uptime(), 1)
        {
            tracing::error!(
                target: "tower_revoke::list",
                error = error as &dyn std::error::Error,
                count,
                "what the revocation store has forgotten can't be written back"
            );
        }
        self.timer.pause(self.retry_every(), pending()).await;
    }
}
