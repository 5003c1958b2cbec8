//! How answers are kept, and when they count: the whole coherence of the list.

mod answer;
mod generations;
#[cfg(test)]
mod tests;

use std::{
    future::ready,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use moka::{
    Entry,
    future::Cache,
    ops::compute::{CompResult, Op},
};
use tower_revoke_core::{
    Claim, ClaimOutcome, Clock, KeyDigest, Lift, Revocation, RevocationKey, Standing, Store,
    StoreError, TokenId, UnixTime, VerifiedToken,
};

use self::{
    answer::{Answer, Asked, judge},
    generations::Generations,
};
use crate::stats::{Counters, ListStats};

/// How far the clocks of nodes, stores and issuers may lie apart before something is forgotten
/// that somebody still accepts.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Bounds a call in time. A parameter, so that the engine needs no runtime and no timer.
pub(crate) trait Timer: Send + Sync + 'static {
    /// The call's own output, or [`StoreError::TimedOut`].
    fn within<F>(&self, call: F) -> impl Future<Output = Result<F::Output, StoreError>> + Send
    where
        F: Future<Output: Send> + Send;
}

/// Answers over a store.
///
/// An answer counts while nothing that concerns its token was changed through this engine since
/// the store was asked (its stamp, see [`Generations`]), and while it is younger than
/// `max_staleness`. The cache may lose any answer at any time, and even hold a stale one: the
/// stamp alone decides. Its lock per key makes of many questions about one token a single one,
/// and keeps the answers about one token in the order in which they were given.
pub(crate) struct Engine<S, T> {
    store: S,
    timer: T,
    clock: Clock,
    max_staleness: Duration,
    answers: Cache<TokenId, Answer>,
    generations: Generations,
    counters: Counters,
    /// What ended before this may have been forgotten.
    purged_before: AtomicU64,
    failing: AtomicBool,
    /// The stamp is read too late, which the scheduler must find out.
    #[cfg(test)]
    pub(crate) stamp_late: bool,
}

/// What a write means for the answer that is kept about the token.
enum After {
    /// Nothing has changed.
    Unchanged,
    /// The token stands like this now.
    Stands(Standing),
    /// The token stands like this no longer.
    StandsNoLonger(Standing),
}

impl<S: Store, T: Timer> Engine<S, T> {
    pub(crate) fn new(
        store: S,
        timer: T,
        clock: Clock,
        max_staleness: Duration,
        answers: u64,
    ) -> Self {
        Self {
            store,
            timer,
            clock,
            max_staleness,
            answers: Cache::new(answers),
            generations: Generations::new(),
            counters: Counters::default(),
            purged_before: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            #[cfg(test)]
            stamp_late: false,
        }
    }

    /// How the token stands, if its last good answer still counts: nothing is locked, allocated
    /// or awaited then. Else, if the store answers at once.
    pub(crate) fn standing(&self, token: &VerifiedToken) -> Option<Standing> {
        if self.is_known_good(token) {
            return Some(Standing::Good);
        }
        if !S::ANSWERS_AT_ONCE {
            return None;
        }
        let asked = pin!(self.ask_at_once(token));
        match asked.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(standing)) => Some(standing),
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }

    fn is_known_good(&self, token: &VerifiedToken) -> bool {
        let stamp = self.generations.stamp(token);
        let Some(asked_at) = token.known_good().asked_at(stamp) else {
            return false;
        };
        let age = self.clock.uptime().saturating_sub(asked_at);
        let counts = age < self.max_staleness && !self.may_be_forgotten(token);
        if counts {
            self.counters.served(age);
        }
        counts
    }

    /// How the token stands. A refusal that is known stays one while the store can't answer.
    pub(crate) async fn check(&self, token: &VerifiedToken) -> Result<Standing, StoreError> {
        if self.may_be_forgotten(token) {
            return Ok(Standing::Revoked);
        }
        if S::ANSWERS_AT_ONCE {
            return self.ask_at_once(token).await;
        }
        let begun = self.clock.uptime();
        let known = self.answers.get(&token.id()).await;
        if let Some(standing) = known.and_then(|answer| self.counting(answer, token, begun)) {
            return Ok(standing);
        }
        let asked = self.timer.within(self.ask(token, begun)).await;
        match asked.and_then(|answer| answer) {
            Ok(standing) => Ok(standing),
            Err(error) => {
                self.failed(&error);
                known
                    .map(|answer| answer.standing)
                    .filter(|standing| *standing != Standing::Good)
                    .ok_or(error)
            }
        }
    }

    /// Asks a store that needs no waiting, and no answers beside it.
    async fn ask_at_once(&self, token: &VerifiedToken) -> Result<Standing, StoreError> {
        if self.may_be_forgotten(token) {
            return Ok(Standing::Revoked);
        }
        match self.ask_store(token, None).await {
            Ok(answer) => Ok(answer.standing),
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    /// Asks the store, unless somebody else has asked it in the meantime.
    async fn ask(&self, token: &VerifiedToken, begun: Duration) -> Result<Standing, StoreError> {
        let asked = self
            .answers
            .entry(token.id())
            .and_try_compute_with(async |known: Option<Entry<TokenId, Answer>>| {
                let known = known.map(Entry::into_value);
                if known.is_some_and(|answer| self.counting(answer, token, begun).is_some()) {
                    return Ok(Op::Nop);
                }
                let before = known.map(|answer| answer.standing);
                self.ask_store(token, before).await.map(Op::Put)
            })
            .await?;
        match asked {
            CompResult::Inserted(entry)
            | CompResult::ReplacedWith(entry)
            | CompResult::Unchanged(entry) => Ok(entry.into_value().standing),
            // Only an answer that counts is left as it is. Refused, should that ever be wrong.
            CompResult::Removed(_) | CompResult::StillNone(_) => {
                Err(StoreError::Unavailable("no answer was kept".into()))
            }
        }
    }

    async fn ask_store(
        &self,
        token: &VerifiedToken,
        before: Option<Standing>,
    ) -> Result<Answer, StoreError> {
        let at = self.clock.uptime();
        let stamp = self.generations.stamp(token);
        self.counters.asked();
        let listed = self.store.look_up(token.keys()).await?;
        self.answered();
        #[cfg(test)]
        let stamp = if self.stamp_late {
            self.generations.stamp(token)
        } else {
            stamp
        };
        let standing = judge(token, &listed)?;
        let mut asked = Asked { at, stamp };
        if standing == Standing::Good {
            token.known_good().keep(stamp, at);
        } else if before != Some(standing) {
            // Revoked elsewhere: good answers that are younger than the bound must not be given
            // any more, now that it is known. This very move is allowed for in the stamp.
            self.generations.move_token(token);
            asked.stamp = stamp.wrapping_add(1);
        }
        Ok(Answer {
            standing,
            asked: Some(asked),
        })
    }

    /// The answer, if it counts for a question that began at `begun`: it is young enough, or was
    /// asked after that.
    fn counting(&self, answer: Answer, token: &VerifiedToken, begun: Duration) -> Option<Standing> {
        let asked = answer.asked?;
        let age = self.clock.uptime().saturating_sub(asked.at);
        let is_young = age < self.max_staleness;
        if asked.stamp != self.generations.stamp(token) || !(is_young || asked.at > begun) {
            return None;
        }
        if is_young {
            self.counters.served(age);
        }
        if answer.standing == Standing::Good {
            token.known_good().keep(asked.stamp, asked.at);
        }
        Some(answer.standing)
    }

    pub(crate) async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        let revocation = match revocation.said_at() {
            Some(_) => revocation,
            None => revocation.at(self.clock.now()),
        };
        let revocations = [revocation];
        let key = revocations[0].key();
        let after = |(): &()| After::Stands(Standing::Revoked);
        self.write(key, self.store.revoke(&revocations), after)
            .await
    }

    pub(crate) async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let after = |_: &bool| After::StandsNoLonger(Standing::Revoked);
        self.write(&lift.key, self.store.lift(lift), after).await
    }

    pub(crate) async fn claim(&self, claim: &Claim) -> Result<ClaimOutcome, StoreError> {
        let after = |outcome: &ClaimOutcome| match outcome {
            ClaimOutcome::Won { left: 1.. } => After::Unchanged,
            ClaimOutcome::Won { left: 0 } | ClaimOutcome::Spent => After::Stands(Standing::Spent),
        };
        let key = claim.token.into();
        self.write(&key, self.store.claim(claim), after).await
    }

    pub(crate) async fn release(&self, claim: &Claim) -> Result<bool, StoreError> {
        let after = |released: &bool| match released {
            true => After::StandsNoLonger(Standing::Spent),
            false => After::Unchanged,
        };
        let key = claim.token.into();
        self.write(&key, self.store.release(claim), after).await
    }

    /// First the durable write, then the stamp, then the answer that is kept. From the stamp on
    /// no older answer counts; moving the kept one only saves what is known from a store that
    /// fails next, so nothing is lost if time runs out over it.
    async fn write<R: Send>(
        &self,
        key: &RevocationKey,
        call: impl Future<Output = Result<R, StoreError>> + Send,
        after: impl FnOnce(&R) -> After + Send,
    ) -> Result<R, StoreError> {
        let mut done = None;
        let in_time = self
            .timer
            .within(async {
                let mut stamp = self.generations.move_after(key);
                let result = call.await;
                let after = result.as_ref().map_or(After::Unchanged, after);
                if result.is_ok() && matches!(after, After::Unchanged) {
                    stamp.cancel();
                }
                drop(stamp);
                done = Some(result);
                if let RevocationKey::Token(id) = key {
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
        if S::ANSWERS_AT_ONCE || matches!(after, After::Unchanged) {
            return;
        }
        let entry = self.answers.entry(id);
        entry
            .and_compute_with(|known| {
                let known = known.map(|entry| entry.into_value().standing);
                ready(match after {
                    After::Stands(standing) => Op::Put(Answer {
                        standing,
                        asked: None,
                    }),
                    After::StandsNoLonger(standing) if known == Some(standing) => Op::Remove,
                    After::StandsNoLonger(_) | After::Unchanged => Op::Nop,
                })
            })
            .await;
    }

    /// Lets the store forget what has ended, by the clock that is further behind: neither a step
    /// of the wall clock forwards nor one back makes it forget what may still be accepted.
    pub(crate) async fn purge(&self) -> Result<u64, StoreError> {
        let now = self.clock.now().min(self.clock.steady_now());
        let before = now.saturating_sub(CLOCK_SKEW);
        self.purged_before
            .fetch_max(before.as_secs(), Ordering::AcqRel);
        let purged = self.store.purge(before).await;
        if let Err(error) = &purged {
            self.failed(error);
        }
        purged
    }

    /// Whether the token ended before something was forgotten. It is expired, unless the wall
    /// clock was set back since: then nobody can vouch for it any more.
    fn may_be_forgotten(&self, token: &VerifiedToken) -> bool {
        let purged_before = self.purged_before.load(Ordering::Acquire);
        token
            .usable_until()
            .is_some_and(|until| until < UnixTime::from_secs(purged_before))
    }

    /// One question about no token, bounded in time.
    pub(crate) async fn ready(&self) -> Result<(), StoreError> {
        let nobody = [KeyDigest::from_bytes([0; 16])];
        let answer = self.timer.within(self.store.look_up(&nobody)).await;
        match answer.and_then(|answer| answer) {
            Ok(_) => {
                self.answered();
                Ok(())
            }
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    pub(crate) fn has_answered(&self) -> bool {
        self.counters.has_answered()
    }

    pub(crate) fn stats(&self) -> ListStats {
        self.counters
            .snapshot(self.clock.uptime(), self.answers.entry_count())
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    fn answered(&self) {
        self.counters.answered(self.clock.uptime());
        if self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the revocation store answers again");
        }
    }

    /// Logs the first failure of a row: a store that is down would fill the log.
    fn failed(&self, error: &StoreError) {
        if !matches!(error, StoreError::Unavailable(_) | StoreError::TimedOut(_)) {
            return;
        }
        self.counters.failed();
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the revocation store failed"
            );
        }
    }
}
