//! The inner services of the suite: each has one permit, and shows whether it is released.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::{sync::Semaphore, task::yield_now, time::timeout};
use tower::{BoxError, Service, buffer::Buffer, limit::ConcurrencyLimit, service_fn};
use tower_revoke_core::BoxFuture;
use tower_test::mock;

use super::{ReadinessService, ready, strict::Strict};

/// The time limit for each step. On correct layers, what they wait for is available at once.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Fixture<B> {
    name: &'static str,
    service: ReadinessService<B>,
    /// The permits of the inner service, if the suite can count them.
    permits: Option<Arc<Semaphore>>,
    called_unready: Arc<AtomicBool>,
}

/// A single permit, so that a layer that leaks it blocks all later calls.
const PERMITS: usize = 1;

impl<B: Send + 'static> Fixture<B> {
    fn new<S>(name: &'static str, inner: S, permits: Option<Arc<Semaphore>>) -> Self
    where
        S: Service<Request<B>, Response = Response<Full<Bytes>>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        let called_unready = Arc::<AtomicBool>::default();
        Self {
            name,
            service: ReadinessService::new(Strict::new(inner, called_unready.clone())),
            permits,
            called_unready,
        }
    }

    pub(super) fn concurrency_limit() -> Self {
        let permits = Arc::new(Semaphore::new(PERMITS));
        let inner = ConcurrencyLimit::with_semaphore(service_fn(respond), permits.clone());
        Self::new("ConcurrencyLimit", inner, Some(permits))
    }

    pub(super) fn buffer() -> Self {
        Self::new("Buffer", Buffer::new(service_fn(respond), PERMITS), None)
    }

    /// Puts a concurrency limit around the mock, which has no limit of its own.
    pub(super) fn mock() -> Self {
        let (inner, mut handle) = mock::pair::<Request<B>, _>();
        tokio::spawn(async move {
            while let Some((_, respond)) = handle.next_request().await {
                yield_now().await;
                respond.send_response(Response::new(Full::from("ok")));
            }
        });
        let permits = Arc::new(Semaphore::new(PERMITS));
        let inner = ConcurrencyLimit::with_semaphore(inner, permits.clone());
        Self::new("tower-test's mock", inner, Some(permits))
    }

    pub(super) fn service(&self) -> ReadinessService<B> {
        self.service.clone()
    }

    /// Takes the permit, until the returned service is dropped.
    pub(super) async fn make_busy(&self) -> ReadinessService<B> {
        let mut other = self.service();
        self.succeeds("before the layer was there", ready(&mut other))
            .await;
        other
    }

    /// Panics if the layer has called a service that was not ready.
    #[track_caller]
    pub(super) fn keeps_the_rules(&self, when: &str) {
        assert!(
            !self.called_unready.load(Ordering::Acquire),
            "over {}, {when}: the layer called a service that was not made ready. A clone made \
             after `poll_ready` is not ready: swap the ready service out with `mem::replace`, or \
             drop it and poll the clone",
            self.name,
        );
    }

    /// Panics if a rule was violated, or if `doing` failed or never completed.
    pub(super) async fn succeeds<T>(
        &self,
        when: &str,
        doing: impl Future<Output = Result<T, BoxError>>,
    ) {
        let result = timeout(PATIENCE, doing).await;
        self.keeps_the_rules(when);
        match result {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => panic!("over {}, {when}: the layer failed: {error}", self.name),
            Err(_) => panic!(
                "over {}, {when}: the layer never came to an end. It lost a permit, or waits for \
                 one while it holds another",
                self.name
            ),
        }
    }

    /// Panics if the permit was not released.
    pub(super) async fn permit_is_released(&self, when: &str) {
        self.keeps_the_rules(when);
        let mut other = self.service();
        let all: BoxFuture<'_, bool> = match &self.permits {
            Some(permits) => Box::pin(async {
                let all = permits.acquire_many(PERMITS as u32).await;
                all.is_ok()
            }),
            None => Box::pin(async move { ready(&mut other).await.is_ok() }),
        };
        let back = timeout(PATIENCE, all).await;
        assert!(
            back == Ok(true),
            "over {}, {when}: the layer lost a permit of its inner service",
            self.name
        );
    }
}

/// Responds after a few yields, so that its future has await points at which it can be dropped.
async fn respond<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, BoxError> {
    for _ in 0..3 {
        yield_now().await;
    }
    drop(request);
    Ok(Response::new(Full::from("ok")))
}
