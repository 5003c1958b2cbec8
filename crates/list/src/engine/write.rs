//! What is written through the list, and what that means for what is known here.

use std::future::ready;

use moka::ops::compute::Op;
use tower_revoke_core::{
    Claim, ClaimOutcome, Lift, Listed, Revocation, RevocationKey, Standing, Store, StoreError,
    TokenId, UnixTime,
};

use super::{Answer, Engine, Timer};
use crate::mirror::Write;

/// What a write means for what is known here.
struct After {
    /// The token stands like this now, or no longer.
    standing: Standing,
    stands: bool,
    write: Write,
}

impl After {
    fn stands(standing: Standing, write: Write) -> Option<Self> {
        let stands = true;
        Some(Self {
            standing,
            stands,
            write,
        })
    }

    fn stands_no_longer(standing: Standing, write: Write) -> Option<Self> {
        let stands = false;
        Some(Self {
            standing,
            stands,
            write,
        })
    }
}

impl<S: Store, T: Timer> Engine<S, T> {
    pub(crate) async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        let revocation = match revocation.said_at() {
            Some(_) => revocation,
            None => revocation.at(self.clock.now()),
        };
        let at = revocation.said_at().unwrap_or(UnixTime::EPOCH);
        let until = revocation.remembered_until();
        let listed = match revocation.issued_at_or_before() {
            Some(issued_at_or_before) => Listed::Rule {
                issued_at_or_before,
                until,
            },
            None => Listed::Revoked { until },
        };
        let revocations = [revocation];
        let key = revocations[0].key();
        let after = |(): &()| After::stands(Standing::Revoked, Write::Lists(listed, at));
        self.write(key, self.store.revoke(&revocations), after)
            .await
    }

    pub(crate) async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let after = |_: &bool| After::stands_no_longer(Standing::Revoked, Write::Lifts(lift.at));
        self.write(&lift.key, self.store.lift(lift), after).await
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
                ClaimOutcome::Won { left: 0 } => spends(true),
                ClaimOutcome::Spent => spends(false),
            }
        };
        let key = claim.token.into();
        self.write(&key, self.store.claim(claim), after).await
    }

    pub(crate) async fn release(&self, claim: &Claim) -> Result<bool, StoreError> {
        if let Some(mirror) = &self.mirror {
            // First, so that it is not claimed again once it is given back.
            mirror.drop_claim(claim);
        }
        let after = |released: &bool| {
            released
                .then(|| After::stands_no_longer(Standing::Spent, Write::Frees))
                .flatten()
        };
        let key = claim.token.into();
        self.write(&key, self.store.release(claim), after).await
    }

    /// First the durable write, then the mirror, then the stamp, then the answer that is kept.
    /// From the stamp on no older answer counts; moving the kept one only saves what is known from
    /// a store that fails next, so nothing is lost if time runs out over it.
    async fn write<R: Send>(
        &self,
        key: &RevocationKey,
        call: impl Future<Output = Result<R, StoreError>> + Send,
        after: impl FnOnce(&R) -> Option<After> + Send,
    ) -> Result<R, StoreError> {
        let mut done = None;
        let in_time = self
            .timer
            .within(async {
                let mut stamp = self.generations.move_after(key);
                let result = call.await;
                let after = result.as_ref().map_or(None, after);
                if result.is_ok() && after.is_none() {
                    stamp.cancel();
                }
                if let (Some(after), Some(mirror)) = (&after, &self.mirror) {
                    mirror.write(key, after.write);
                }
                drop(stamp);
                done = Some(result);
                if let (RevocationKey::Token(id), Some(after)) = (key, after) {
                    self.keep(*id, after).await;
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
