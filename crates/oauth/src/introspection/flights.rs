//! One request at a time for a token, whose answer all callers share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{Shared, WeakShared},
};
use tower_revoke_core::{BoxFuture, Rejection, VerifiedToken, internal::CacheKey};

pub(super) type Answer = Result<Arc<VerifiedToken>, Rejection>;

type Flight = BoxFuture<'static, Answer>;

/// The requests under way. One is dropped with the last caller that waits for it.
#[derive(Debug, Default)]
pub(super) struct Flights {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    under_way: HashMap<CacheKey, UnderWay>,
    started: u64,
}

#[derive(Debug)]
struct UnderWay {
    number: u64,
    began: Duration,
    flight: WeakShared<Flight>,
}

impl Flights {
    /// Returns the request that is under way for this token and is younger than `max_age`, if that is
    /// not zero, or starts one.
    ///
    /// # Errors
    /// That of `start`.
    pub(super) fn join(
        self: &Arc<Self>,
        key: CacheKey,
        now: Duration,
        max_age: Duration,
        start: impl FnOnce() -> Result<Flight, Rejection>,
    ) -> Result<Shared<Flight>, Rejection> {
        let mut state = self.lock();
        // One that is too old is not upgraded: dropped here, it would take the lock.
        let is_young = |it: &&UnderWay| max_age.is_zero() || now.saturating_sub(it.began) < max_age;
        let found = state.under_way.get(&key).filter(is_young);
        if let Some(flight) = found.and_then(|it| it.flight.upgrade()) {
            return Ok(flight);
        }
        let flight = start()?;
        state.started += 1;
        let landing = Landing {
            flights: self.clone(),
            key,
            number: state.started,
        };
        let flight = async move {
            let _landing = landing;
            flight.await
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            let under_way = UnderWay {
                number: state.started,
                began: now,
                flight: weak,
            };
            state.under_way.insert(key, under_way);
        }
        Ok(flight)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().under_way.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No change of the state can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a request when it has ended, or was dropped.
struct Landing {
    flights: Arc<Flights>,
    key: CacheKey,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut state = self.flights.lock();
        let found = state.under_way.get(&self.key);
        // A dropped one may have been replaced already.
        if found.is_some_and(|it| it.number == self.number) {
            state.under_way.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use serde_json::json;
    use tower_revoke_core::{Claims, Reason, TokenId, internal::TokenCache};

    use super::*;

    const NOW: Duration = Duration::ZERO;
    const MAX_AGE: Duration = Duration::from_secs(5);

    fn token() -> Arc<VerifiedToken> {
        let claims = Claims::from_value(json!({})).unwrap();
        let id = TokenId::from_bytes([1; 16]);
        Arc::new(VerifiedToken::new(id, claims, Duration::ZERO))
    }

    fn key() -> CacheKey {
        TokenCache::<()>::new(1).unwrap().key(b"t")
    }

    #[tokio::test]
    async fn callers_share_a_request_and_the_first_one_may_leave() {
        let flights = Arc::new(Flights::default());
        let key = key();
        let (tell, told) = tokio::sync::oneshot::channel();
        let start = || Ok(async move { told.await.unwrap() }.boxed());
        let mut first = flights.join(key, NOW, MAX_AGE, start).unwrap();
        assert!(futures_util::poll!(&mut first).is_pending());
        let second = flights
            .join(key, NOW, MAX_AGE, || panic!("one is under way"))
            .unwrap();
        drop(first);
        tell.send(Ok(token())).unwrap();
        assert!(second.await.is_ok());
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn a_request_without_callers_is_dropped_and_another_one_can_start() {
        let flights = Arc::new(Flights::default());
        let key = key();
        let first = flights
            .join(key, NOW, MAX_AGE, || Ok(pending().boxed()))
            .unwrap();
        drop(first);
        assert_eq!(flights.len(), 0);
        let rejected = || Ok(std::future::ready(Err(Reason::Inactive.into())).boxed());
        let second = flights.join(key, NOW, MAX_AGE, rejected).unwrap();
        assert_eq!(second.await.unwrap_err().reason(), Reason::Inactive);
        let refused = flights.join(key, NOW, MAX_AGE, || Err(Reason::Unavailable.into()));
        assert_eq!(refused.err().unwrap().reason(), Reason::Unavailable);
        assert_eq!(flights.len(), 0);
    }
}
