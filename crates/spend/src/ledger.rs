//! What an observing layer would have spent, in place of a token's list.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use quick_cache::sync::Cache;
use tower_revoke_core::{
    BoxFuture, Clock, Revocation, RevocationKey, Revocations, StoreError, TokenEnd, TokenId,
    TokenStatus, Use, UseOutcome, VerifiedToken, WatchToken,
};

/// How many tokens are remembered, in about 100 bytes each.
const CAPACITY: usize = 100_000;

/// Counts uses and ended tokens in this process. Of more tokens than its capacity it forgets some,
/// which only means that less is observed.
#[derive(Debug)]
pub(crate) struct Ledger {
    tokens: Cache<TokenId, Arc<Entry>>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Entry {
    uses: AtomicU32,
    has_ended: AtomicBool,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            tokens: Cache::new(CAPACITY),
            clock: Clock::system(),
        }
    }

    fn entry(&self, token: TokenId) -> Arc<Entry> {
        let made = || Ok::<_, Infallible>(Arc::default());
        let Ok(entry) = self.tokens.get_or_insert_with(&token, made);
        entry
    }

    fn status_of(&self, token: TokenId) -> TokenStatus {
        let entry = self.tokens.get(&token);
        match entry.is_some_and(|entry| entry.has_ended.load(Ordering::Acquire)) {
            true => TokenStatus::Spent,
            false => TokenStatus::Valid,
        }
    }

    fn take(&self, use_: &Use) -> UseOutcome {
        let limit = use_.limit.get();
        let next = |taken| (taken < limit).then_some(taken + 1);
        let entry = self.entry(use_.token);
        let before = entry
            .uses
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        before.map_or(UseOutcome::Spent, |before| UseOutcome::Taken {
            left: limit - before - 1,
        })
    }
}

impl Revocations for Ledger {
    fn max_token_life(&self) -> Option<Duration> {
        None
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn known_status(&self, token: &VerifiedToken) -> Option<TokenStatus> {
        Some(self.status_of(token.id()))
    }

    fn status<'a>(
        &'a self,
        token: &'a VerifiedToken,
    ) -> BoxFuture<'a, Result<TokenStatus, StoreError>> {
        Box::pin(async { Ok(self.status_of(token.id())) })
    }

    fn revoke(
        self: Arc<Self>,
        revocation: Revocation,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        if let RevocationKey::Token(token) = revocation.key() {
            self.entry(*token).has_ended.store(true, Ordering::Release);
        }
        Box::pin(async { Ok(()) })
    }

    fn take_use(self: Arc<Self>, use_: Use) -> BoxFuture<'static, Result<UseOutcome, StoreError>> {
        let outcome = self.take(&use_);
        Box::pin(async move { Ok(outcome) })
    }

    /// A use is returned once at most, so that ids are not kept.
    fn return_use(self: Arc<Self>, use_: Use) -> BoxFuture<'static, Result<bool, StoreError>> {
        let one_less = |taken: u32| taken.checked_sub(1);
        let uses = &self.entry(use_.token).uses;
        let was_taken = uses
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less)
            .is_ok();
        Box::pin(async move { Ok(was_taken) })
    }

    fn watch(self: Arc<Self>, _: &VerifiedToken, _: Option<Duration>) -> Box<dyn WatchToken> {
        Box::new(Endless)
    }
}

/// What only observes ends no stream.
#[derive(Debug)]
struct Endless;

impl WatchToken for Endless {
    fn end(&self) -> Option<TokenEnd> {
        None
    }

    fn time_since_end(&self) -> Option<Duration> {
        None
    }

    fn poll_end(&self, _: &mut Context<'_>) -> Poll<TokenEnd> {
        Poll::Pending
    }
}
