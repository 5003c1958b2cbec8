//! What a watch and its stream share: whether the token has ended, and whom to wake.

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tower_revoke_core::TokenEnd;

use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering};

const LIVE: u8 = 0;
const REVOKED: u8 = 1;
const EXPIRED: u8 = 2;
const UNKNOWN: u8 = 3;

/// Changes only under the lock of the shard that the watch is in.
#[derive(Debug)]
pub(super) struct State {
    end: AtomicU8,
    /// When the end was set, in microseconds of the clock's uptime.
    ended_at: AtomicU64,
    waker: AtomicWaker,
}

impl State {
    pub(super) fn live() -> Self {
        Self {
            end: AtomicU8::new(LIVE),
            ended_at: AtomicU64::new(0),
            waker: AtomicWaker::new(),
        }
    }

    pub(super) fn end(&self) -> Option<TokenEnd> {
        match self.end.load(Ordering::Acquire) {
            LIVE => None,
            REVOKED => Some(TokenEnd::Revoked),
            EXPIRED => Some(TokenEnd::Expired),
            _ => Some(TokenEnd::Unknown),
        }
    }

    /// Returns the uptime at which the end was set.
    pub(super) fn ended_at(&self) -> Option<Duration> {
        let end = self.end();
        end.map(|_| Duration::from_micros(self.ended_at.load(Ordering::Relaxed)))
    }

    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<TokenEnd> {
        // The waker comes first: an end that is set after the load then finds it.
        self.waker.register(cx.waker());
        self.end().map_or(Poll::Pending, Poll::Ready)
    }

    /// Sets the end at an uptime, and returns whom to wake, once the shard is no longer locked.
    pub(super) fn set(&self, end: TokenEnd, at: u64) -> Option<Waker> {
        self.ended_at.store(at, Ordering::Relaxed);
        let end = match end {
            TokenEnd::Revoked => REVOKED,
            TokenEnd::Expired => EXPIRED,
            _ => UNKNOWN,
        };
        self.end.store(end, Ordering::Release);
        self.waker.take()
    }

    pub(super) fn take_waker(&self) -> Option<Waker> {
        self.waker.take()
    }

    /// Takes back that the token was revoked.
    pub(super) fn revive(&self) {
        self.end.store(LIVE, Ordering::Release);
    }
}
