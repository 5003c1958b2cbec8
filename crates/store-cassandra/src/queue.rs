//! Concurrent callers for the same thing: one goes first, and then one asks for all that wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::time::Instant;
use tower_revoke_core::TokenId;

use crate::rows::Uses;

/// A read that is made by one caller at a time. Callers that waited for it share the next one.
#[derive(Debug, Default)]
pub(crate) struct SharedRead<T>(tokio::sync::Mutex<Option<Reading<T>>>);

/// A value, and a time before it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<T> {
    pub(crate) asked: Instant,
    pub(crate) value: T,
}

impl<T: Clone> SharedRead<T> {
    /// Returns a value that was read since then.
    pub(crate) async fn since<E>(
        &self,
        then: Instant,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<Reading<T>, E> {
        let mut last = self.0.lock().await;
        if let Some(answer) = last.as_ref().filter(|answer| answer.asked >= then) {
            return Ok(answer.clone());
        }
        let asked = Instant::now();
        let value = read.await?;
        Ok(last.insert(Reading { asked, value }).clone())
    }
}

/// The callers that change the uses of one token.
#[derive(Debug, Default)]
pub(crate) struct TokenQueue {
    /// Lets them go one after the other through one handle: at the server, concurrent conditional
    /// writes would make each other start over.
    pub(crate) lock: tokio::sync::Mutex<()>,
    /// The state of the uses.
    pub(crate) seen: SharedRead<Uses>,
}

/// By tokens.
#[derive(Debug, Default)]
pub(crate) struct TokenQueues(Mutex<HashMap<TokenId, Weak<TokenQueue>>>);

impl TokenQueues {
    pub(crate) fn of(&self, token: TokenId) -> Arc<TokenQueue> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = queues.get(&token).and_then(Weak::upgrade) {
            return turn;
        }
        if queues.len() >= 1_024 {
            queues.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::default();
        queues.insert(token, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        convert::Infallible,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use tokio::sync::oneshot;

    use super::*;

    /// Counts the reads; each is answered once the test sends its answer.
    async fn asks(asked: &Cell<u32>, answer: oneshot::Receiver<()>) -> Result<u32, Infallible> {
        let number = asked.get() + 1;
        asked.set(number);
        let _ = answer.await;
        Ok(number)
    }

    #[test]
    fn a_caller_during_a_look_up_shares_the_next_one() {
        let (shared, asked) = (SharedRead::default(), Cell::new(0));
        let mut context = Context::from_waker(Waker::noop());
        let start = Instant::now();
        let (delete_use, answer) = oneshot::channel();
        let mut first = pin!(shared.since(start, asks(&asked, answer)));
        assert!(first.as_mut().poll(&mut context).is_pending());
        let later = Instant::now();
        let (let_second_go, answer) = oneshot::channel();
        let mut second = pin!(shared.since(later, asks(&asked, answer)));
        let mut third = pin!(shared.since(later, asks(&asked, oneshot::channel().1)));
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        delete_use.send(()).expect("it waits");
        let is = |poll| match poll {
            Poll::Ready(Ok::<Reading<u32>, Infallible>(answer)) => Some(answer.value),
            Poll::Pending => None,
        };
        assert_eq!(is(first.poll(&mut context)), Some(1));
        assert_eq!(is(second.as_mut().poll(&mut context)), None);
        let_second_go.send(()).expect("it waits");
        assert_eq!(is(second.poll(&mut context)), Some(2));
        assert_eq!(is(third.poll(&mut context)), Some(2));
        let mut fourth = pin!(shared.since(Instant::now(), asks(&asked, oneshot::channel().1)));
        assert_eq!(is(fourth.as_mut().poll(&mut context)), Some(3));
    }
}
