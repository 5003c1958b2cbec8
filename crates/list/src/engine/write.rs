//! What is written through the list, and what that means for what is known here.

use std::future::ready;

use moka::ops::compute::Op;
use tower_revoke_core::{
    Change, Claim, ClaimOutcome, Lift, Listed, Revocation, Standing, Store, StoreError, TokenId,
    UnixTime,
};

use super::{Answer, Engine, Timer, generations::Move};
use crate::mirror::{Key, Write};

/// What a write means for what is known here.
struct After {
    /// The token stands like this now, or no longer.
    standing: Standing,
    stands: bool,
    write: Write,
}

impl After {
    fn stands(standing: Standing, write: Write) -> Self {
        Self {
            standing,
            stands: true,
            write,
        }
    }

    fn stands_no_longer(standing: Standing, write: Write) -> Self {
        Self {
            standing,
            stands: false,
            write,
        }
    }
}

fn listed(revocation: &Revocation) -> Listed {
    let until = revocation.retained_until();
    match revocation.issued_at_or_before() {
        Some(issued_at_or_before) => Listed::Rule {
            issued_at_or_before,
            until,
        },
        None => Listed::Revoked { until },
    }
}

impl<S: Store, T: Timer> Engine<S, T> {
    pub(crate) async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        self.revoke_all(vec![revocation]).await
    }

    pub(crate) async fn revoke_all(&self, revocations: Vec<Revocation>) -> Result<(), StoreError> {
        let complete = |revocation: Revocation| {
            let at = revocation.said_at().unwrap_or_else(|| self.clock.now());
            revocation.with_max_token_life(self.max_token_life).at(at)
        };
        let revocations: Vec<_> = revocations.into_iter().map(complete).collect();
        let after = |(): &()| {
            let said = revocations.iter().map(|revocation| {
                let at = revocation.said_at().unwrap_or(UnixTime::EPOCH);
                After::stands(Standing::Revoked, Write::Lists(listed(revocation), at))
            });
            said.collect()
        };
        let keys = revocations.iter().map(|one| Key::of(one.key())).collect();
        let call = self.store.revoke(&revocations);
        self.write_all(keys, call, after).await
    }

    /// Revocations of which only the digest is known.
    pub(crate) async fn restore_all(&self, known: &[Change]) -> Result<(), StoreError> {
        let prolonged = |change: &Change| self.prolonged(change).unwrap_or(*change);
        let known: Vec<_> = known.iter().map(prolonged).collect();
        let known = &known[..];
        let key = |change: &Change| Key {
            digest: *change.key(),
            is_rule: matches!(
                change,
                Change::Listed {
                    listed: Listed::Rule { .. },
                    ..
                }
            ),
        };
        // What was lifted does not come back by this: only the store knows what stands now.
        let after = |(): &()| {
            let doubtful = || After::stands_no_longer(Standing::Revoked, Write::Unknown);
            known.iter().map(|_| doubtful()).collect()
        };
        let keys = known.iter().map(key).collect();
        self.write_all(keys, self.store.restore(known), after).await
    }

    pub(crate) async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let lifts = Write::Lifts(lift.at);
        let after = |_: &bool| Some(After::stands_no_longer(Standing::Revoked, lifts));
        let key = Key::of(&lift.key);
        self.write(key, self.store.lift(lift), after).await
    }

    pub(crate) async fn claim(&self, claim: &Claim) -> Result<ClaimOutcome, StoreError> {
        let until = claim.until;
        let spends = |own| After::stands(Standing::Spent, Write::Spends { until, own });
        let after = |outcome: &ClaimOutcome| {
            if let (ClaimOutcome::Won { .. }, Some(mirror)) = (outcome, &self.mirror) {
                mirror.keep_claim(claim);
            }
            match outcome {
                ClaimOutcome::Won { left: 1.. } => None,
                ClaimOutcome::Won { left: 0 } => Some(spends(true)),
                ClaimOutcome::Spent => Some(spends(false)),
            }
        };
        let key = Key::of(&claim.token.into());
        self.write(key, self.store.claim(claim), after).await
    }

    pub(crate) async fn release(&self, claim: &Claim) -> Result<bool, StoreError> {
        if let Some(mirror) = &self.mirror {
            // First, so that it is not claimed again once it is given back.
            mirror.drop_claim(claim);
        }
        let after = |released: &bool| {
            released.then(|| After::stands_no_longer(Standing::Spent, Write::Frees))
        };
        let key = Key::of(&claim.token.into());
        self.write(key, self.store.release(claim), after).await
    }

    async fn write<R: Send>(
        &self,
        key: Key,
        call: impl Future<Output = Result<R, StoreError>> + Send,
        after: impl FnOnce(&R) -> Option<After> + Send,
    ) -> Result<R, StoreError> {
        let after = |result: &R| after(result).into_iter().collect();
        self.write_all(vec![key], call, after).await
    }

    /// First the durable write, then the mirror, then the stamps, then the answers that are kept.
    /// From the stamp on no older answer counts; moving a kept one only saves what is known from a
    /// store that fails next, so nothing is lost if time runs out over it.
    ///
    /// `after` says what has become of each key; nothing, if nothing has changed.
    async fn write_all<R: Send>(
        &self,
        keys: Vec<Key>,
        call: impl Future<Output = Result<R, StoreError>> + Send,
        after: impl FnOnce(&R) -> Vec<After> + Send,
    ) -> Result<R, StoreError> {
        let mut done = None;
        let in_time = self
            .timer
            .within(async {
                let stamps = keys.iter().map(|key| self.generations.move_after(*key));
                let mut stamps: Vec<_> = stamps.collect();
                let result = call.await;
                let after = result.as_ref().map_or_else(|_| Vec::new(), after);
                if result.is_ok() && after.is_empty() {
                    stamps.iter_mut().for_each(Move::cancel);
                }
                if let Some(mirror) = &self.mirror {
                    for (key, after) in keys.iter().zip(&after) {
                        mirror.write(*key, after.write);
                    }
                }
                drop(stamps);
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
            self.failed(error);
        }
        result
    }

    async fn keep(&self, id: TokenId, after: After) {
        if S::ANSWERS_AT_ONCE {
            return;
        }
        let entry = self.answers.entry(id);
        entry
            .and_compute_with(|known| {
                let known = known.map(|entry| entry.into_value().standing);
                ready(match after.standing {
                    standing if after.stands => Op::Put(Answer {
                        standing,
                        asked: None,
                    }),
                    standing if known == Some(standing) => Op::Remove,
                    _ => Op::Nop,
                })
            })
            .await;
    }
}
