//! Answers the status of a token from the mirror, the cache or the store.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use moka::{
    Entry,
    ops::compute::{CompResult, Op},
};
use tower_revoke_core::{
    Store, StoreError, TokenId, TokenStatus, VerifiedToken, internal::cached_status,
};

use super::Engine;
use crate::{mirror::Phase, status::status_of, timer::Timer};

/// A cached answer about one token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: TokenStatus,
    /// `None` for the result of a local write. It is used only for as long as the store can't
    /// answer.
    pub(super) asked: Option<Asked>,
}

/// The uptime and the version that were read before the look-up, in this order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: Duration,
    pub(super) version: u64,
}

impl<S: Store, T: Timer> Engine<S, T> {
    /// Returns the status of a token, if it is known without waiting.
    ///
    /// A cached answer that the token is valid takes no lock and no allocation. Otherwise the
    /// mirror is used, or a store that answers at once.
    pub(super) fn find_status(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        let version = self.source.versions.version(token);
        let now = self.source.clock.uptime();
        if self.is_known_good(token, version, now) {
            return Some(TokenStatus::Valid);
        }
        if !S::ANSWERS_AT_ONCE {
            return self.mirrored(token, version, now);
        }
        let asked = pin!(self.ask_at_once(token));
        match asked.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(status)) => Some(status),
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }

    fn is_known_good(&self, token: &VerifiedToken, version: u64, now: Duration) -> bool {
        let Some(asked_at) = cached_status(token).asked_at(version) else {
            return false;
        };
        // The version is current, so the feed has had no change that concerns the token since. The
        // answer is then as young as the mirror.
        let mirrored = self
            .source
            .mirror
            .as_ref()
            .and_then(|mirror| mirror.age(now));
        let age = now.saturating_sub(asked_at);
        let age = mirrored.map_or(age, |mirrored| mirrored.min(age));
        let counts = age < self.source.max_staleness && !self.source.may_be_forgotten(token);
        if counts {
            self.source.counters.served(age);
        }
        counts
    }

    /// Returns the status of a token according to the mirror, while that is young. The caller has
    /// read `version` before.
    fn mirrored(&self, token: &VerifiedToken, version: u64, now: Duration) -> Option<TokenStatus> {
        let mirror = self.source.mirror.as_ref()?;
        let age = mirror
            .age(now)
            .filter(|age| *age < self.source.max_staleness)?;
        if self.source.may_be_forgotten(token) {
            return Some(TokenStatus::Revoked);
        }
        let status = mirror.known_status(token)?;
        self.source.counters.served(age);
        if status == TokenStatus::Valid {
            cached_status(token).keep(version, now.saturating_sub(age));
        }
        Some(status)
    }

    /// Returns the rejection according to the mirror, while the mirror is being written back to a
    /// store that has lost entries.
    fn kept_from_a_store_that_forgot(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        let mirror = self.source.mirror.as_ref()?;
        (mirror.phase() == Phase::WritingBack)
            .then(|| mirror.rejection(token))
            .flatten()
    }

    /// Returns the status of a token. A known rejection still applies while the store can't answer.
    pub(super) async fn check(&self, token: &VerifiedToken) -> Result<TokenStatus, StoreError> {
        if self.source.may_be_forgotten(token) {
            return Ok(TokenStatus::Revoked);
        }
        if S::ANSWERS_AT_ONCE {
            return self.ask_at_once(token).await;
        }
        let version = self.source.versions.version(token);
        let begun = self.source.clock.uptime();
        if let Some(status) = self.mirrored(token, version, begun) {
            return Ok(status);
        }
        if let Some(rejected) = self.kept_from_a_store_that_forgot(token) {
            return Ok(rejected);
        }
        let known = self.answers.get(&token.id()).await;
        if let Some(status) = known.and_then(|answer| self.counting(answer, token, begun)) {
            return Ok(status);
        }
        let asked = self.source.timer.within(self.ask(token, begun)).await;
        match asked.and_then(|answer| answer) {
            Ok(status) => Ok(status),
            Err(error) => {
                self.source.failed(&error);
                let known = known.map(|answer| answer.status);
                let rejected = known.filter(|status| *status != TokenStatus::Valid);
                let mirrored = || self.source.mirror.as_ref()?.rejection(token);
                rejected.or_else(mirrored).ok_or(error)
            }
        }
    }

    /// Queries a store that completes on the first poll, and bypasses the cache.
    async fn ask_at_once(&self, token: &VerifiedToken) -> Result<TokenStatus, StoreError> {
        if self.source.may_be_forgotten(token) {
            return Ok(TokenStatus::Revoked);
        }
        match self.ask_store(token, None).await {
            Ok(answer) => Ok(answer.status),
            Err(error) => {
                self.source.failed(&error);
                Err(error)
            }
        }
    }

    /// Queries the store, unless another call has cached a valid answer in the meantime.
    async fn ask(&self, token: &VerifiedToken, begun: Duration) -> Result<TokenStatus, StoreError> {
        let asked = self
            .answers
            .entry(token.id())
            .and_try_compute_with(async |known: Option<Entry<TokenId, Answer>>| {
                let known = known.map(Entry::into_value);
                if known.is_some_and(|answer| self.counting(answer, token, begun).is_some()) {
                    return Ok(Op::Nop);
                }
                let before = known.map(|answer| answer.status);
                self.ask_store(token, before).await.map(Op::Put)
            })
            .await?;
        match asked {
            CompResult::Inserted(entry)
            | CompResult::ReplacedWith(entry)
            | CompResult::Unchanged(entry) => Ok(entry.into_value().status),
            // Not reachable, since only a valid answer is left unchanged. If it were, fail closed.
            CompResult::Removed(_) | CompResult::StillNone(_) => {
                Err(StoreError::Unavailable("no answer was kept".into()))
            }
        }
    }

    async fn ask_store(
        &self,
        token: &VerifiedToken,
        before: Option<TokenStatus>,
    ) -> Result<Answer, StoreError> {
        let at = self.source.clock.uptime();
        let version = self.source.versions.version(token);
        self.source.counters.asked();
        let listed = self.source.store.look_up(token.keys()).await?;
        self.source.answered();
        #[cfg(test)]
        let version = if self.stamp_late {
            self.source.versions.version(token)
        } else {
            version
        };
        let status = status_of(token, &listed)?;
        for (key, listed) in token.keys().iter().zip(&listed) {
            if let Some(listed) = listed {
                self.source.watchers.listed(key, *listed);
            }
        }
        let mut asked = Asked { at, version };
        if status == TokenStatus::Valid {
            cached_status(token).keep(version, at);
        } else if before != Some(status) {
            // The token was revoked or spent by another node. Cached answers that it is valid must
            // not be used any more, even if they are young, so the token's slot moves. The new
            // answer's version includes that move.
            self.source.versions.move_token(token);
            asked.version = version.wrapping_add(1);
        }
        Ok(Answer {
            status,
            asked: Some(asked),
        })
    }

    /// Returns the status of a cached answer, if it is valid for a check that began at `begun`: it
    /// is young enough, or its look-up began after the check.
    fn counting(
        &self,
        answer: Answer,
        token: &VerifiedToken,
        begun: Duration,
    ) -> Option<TokenStatus> {
        let asked = answer.asked?;
        let age = self.source.clock.uptime().saturating_sub(asked.at);
        let is_young = age < self.source.max_staleness;
        if asked.version != self.source.versions.version(token) || !(is_young || asked.at > begun) {
            return None;
        }
        if is_young {
            self.source.counters.served(age);
        }
        if answer.status == TokenStatus::Valid {
            cached_status(token).keep(asked.version, asked.at);
        }
        Some(answer.status)
    }
}
