//! Writes through the list, and their effect on the mirror and the cache.

use std::future::ready;

use moka::ops::compute::Op;
use tower_revoke_core::{
    Change, Lift, Listed, Revocation, Store, StoreError, TokenId, TokenStatus, UnixTime, Use,
    UseOutcome,
};

use super::{Answer, Engine, versions::Move};
use crate::{
    mirror::{Key, Write, is_rule},
    timer::Timer,
};

impl<S: Store, T: Timer> Engine<S, T> {
    pub(super) async fn write_revocations(
        &self,
        revocations: Vec<Revocation>,
    ) -> Result<(), StoreError> {
        let complete = |revocation: Revocation| {
            let at = revocation.time().unwrap_or_else(|| self.source.clock.now());
            revocation
                .at(at)
                .with_max_token_life(self.source.max_token_life)
        };
        let revocations: Vec<_> = revocations.into_iter().map(complete).collect();
        let after = |(): &()| {
            let effects = revocations.iter().map(|revocation| {
                let at = revocation.time().unwrap_or(UnixTime::EPOCH);
                Write::Lists(revocation.into(), at)
            });
            effects.collect()
        };
        let keys = revocations.iter().map(|one| Key::of(one.key())).collect();
        let call = self.source.store.revoke(&revocations);
        self.write_all(keys, call, after).await
    }

    /// Restores revocations of which only the digest is known.
    pub(super) async fn write_changes(&self, known: Vec<Change>) -> Result<(), StoreError> {
        let prolonged = |change: &Change| self.source.prolonged(change).unwrap_or(*change);
        let known = &known.iter().map(prolonged).collect::<Vec<_>>()[..];
        let key = |change: &Change| Key {
            digest: *change.key(),
            is_rule: is_rule(change),
        };
        // The store ignores a revocation that was lifted since, so only the store knows the result.
        let after = |(): &()| vec![Write::Unknown; known.len()];
        let keys = known.iter().map(key).collect();
        let feed = self.source.store.feed();
        let feed = feed.ok_or(StoreError::Unsupported(
            "way to keep what only has a digest",
        ))?;
        self.write_all(keys, feed.restore(known), after).await
    }

    pub(super) async fn write_lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let at = lift.time().unwrap_or_else(|| self.source.clock.now());
        let lift = lift.clone().at(at);
        let after = |_: &bool| Some(Write::Lifts(at));
        let key = Key::of(lift.key());
        self.write(key, self.source.store.lift(&lift), after).await
    }

    pub(super) async fn write_use(&self, use_: &Use) -> Result<UseOutcome, StoreError> {
        let until = use_.until;
        let used_up = |own| Write::UsesUp { until, own };
        let after = |outcome: &UseOutcome| {
            if let (UseOutcome::Taken { .. }, Some(mirror)) = (outcome, &self.source.mirror) {
                mirror.keep_use(use_);
            }
            match outcome {
                UseOutcome::Taken { left: 1.. } => None,
                UseOutcome::Taken { left: 0 } => Some(used_up(true)),
                UseOutcome::Spent => Some(used_up(false)),
            }
        };
        let key = Key::of(&use_.token.into());
        let call = self.source.store.take_use(use_, self.source.clock.now());
        self.write(key, call, after).await
    }

    pub(super) async fn write_return(&self, use_: &Use) -> Result<bool, StoreError> {
        if let Some(mirror) = &self.source.mirror {
            // Dropped before the call: otherwise a write-back at the same time could take the use
            // again after the store has returned it.
            mirror.drop_use(use_);
        }
        let after = |returned: &bool| returned.then_some(Write::Frees);
        let key = Key::of(&use_.token.into());
        self.write(key, self.source.store.return_use(use_), after)
            .await
    }

    async fn write<R: Send>(
        &self,
        key: Key,
        call: impl Future<Output = Result<R, StoreError>> + Send,
        after: impl FnOnce(&R) -> Option<Write> + Send,
    ) -> Result<R, StoreError> {
        let after = |result: &R| after(result).into_iter().collect();
        self.write_all(vec![key], call, after).await
    }

    /// Writes to the store, then updates the mirror, then the versions, then the cached answers.
    ///
    /// The order matters. Once the versions have moved, no older answer is used, so the mirror must
    /// reflect the write by then. Updating the cache last only preserves the rejection for an
    /// outage that follows, so a timeout at that point loses nothing.
    ///
    /// `after` returns the effect on each key, or an empty list if nothing has changed.
    async fn write_all<R: Send>(
        &self,
        keys: Vec<Key>,
        call: impl Future<Output = Result<R, StoreError>> + Send,
        after: impl FnOnce(&R) -> Vec<Write> + Send,
    ) -> Result<R, StoreError> {
        let mut done = None;
        let in_time = self
            .source
            .timer
            .within(async {
                let versions = keys.iter().map(|key| self.source.versions.move_after(*key));
                let mut versions: Vec<_> = versions.collect();
                let result = call.await;
                let after = result.as_ref().map_or_else(|_| Vec::new(), after);
                if result.is_ok() && after.is_empty() {
                    versions.iter_mut().for_each(Move::cancel);
                }
                if let Some(mirror) = &self.source.mirror {
                    for (key, write) in keys.iter().zip(&after) {
                        mirror.write(*key, *write);
                    }
                }
                drop(versions);
                for (key, write) in keys.iter().zip(&after) {
                    self.source.tell_watchers_of_write(*key, *write);
                }
                done = Some(result);
                for (key, after) in keys.iter().zip(after) {
                    if !key.is_rule {
                        self.keep(key.digest.as_token(), after).await;
                    }
                }
            })
            .await;
        let result = match (done, in_time) {
            (Some(result), _) => result,
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(StoreError::Unavailable("the call did not end".into())),
        };
        if let Err(error) = &result {
            self.source.failed(error);
        }
        result
    }

    /// Keeps a rejection for an outage that follows, or drops one that no longer stands.
    async fn keep(&self, id: TokenId, write: Write) {
        if S::ANSWERS_AT_ONCE {
            return;
        }
        let put = |status| {
            Op::Put(Answer {
                status,
                asked: None,
            })
        };
        let entry = self.answers.entry(id);
        entry
            .and_compute_with(|known| {
                let known = known.map(|entry| entry.into_value().status);
                ready(match write {
                    Write::Lists(Listed::Spent { .. }, _) | Write::UsesUp { .. } => {
                        put(TokenStatus::Spent)
                    }
                    Write::Lists(..) => put(TokenStatus::Revoked),
                    // Returning a use ends no revocation.
                    Write::Frees if known == Some(TokenStatus::Revoked) => Op::Nop,
                    Write::Frees | Write::Lifts(_) | Write::Unknown => Op::Remove,
                })
            })
            .await;
    }
}
