//! The watch of a token that is checked against no list: it ends when the token expires.

use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep};
use tower_revoke_core::{Clock, TokenEnd, UnixTime, WatchToken, retention::has_ended};

/// How soon a step of the wall clock is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct ExpiryWatch {
    until: Option<UnixTime>,
    clock: Clock,
    timer: Mutex<Option<Pin<Box<Sleep>>>>,
}

impl ExpiryWatch {
    pub(crate) fn new(until: Option<UnixTime>) -> Self {
        Self {
            until,
            clock: Clock::system(),
            timer: Mutex::default(),
        }
    }
}

impl WatchToken for ExpiryWatch {
    fn end(&self) -> Option<TokenEnd> {
        has_ended(self.until, self.clock.now()).then_some(TokenEnd::Expired)
    }

    fn time_since_end(&self) -> Option<Duration> {
        let now = self.clock.now();
        let until = self.until.filter(|until| has_ended(Some(*until), now))?;
        Some(Duration::from_secs(
            now.as_secs().saturating_sub(until.as_secs()),
        ))
    }

    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<TokenEnd> {
        let Some(until) = self.until else {
            return Poll::Pending;
        };
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(end) = self.end() {
                return Poll::Ready(end);
            }
            let left = until.as_secs().saturating_sub(self.clock.now().as_secs());
            let left = Duration::from_secs(left).min(LOOK_EVERY);
            let running = timer.get_or_insert_with(|| Box::pin(sleep(left)));
            ready!(running.as_mut().poll(cx));
            *timer = None;
        }
    }
}
