//! The conformance suite for layers: how they use `poll_ready` of the service that they wrap.

mod fixture;
mod strict;
#[cfg(test)]
mod tests;

use std::{future::poll_fn, pin::pin};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer, Service, util::BoxCloneSyncService};
use tower_revoke_core::BoxError;

use self::fixture::Fixture;

/// The inner service of [`readiness_conformance`]: a concurrency limit, a buffer or a mock, boxed
/// so that all have one type.
pub type ReadinessService<B> = BoxCloneSyncService<Request<B>, Response<Full<Bytes>>, BoxError>;

/// Checks that a layer honors the contract of `poll_ready`.
///
/// Applies the layer to `tower`'s `ConcurrencyLimit` and `Buffer` and to `tower-test`'s mock, and
/// sends the requests that `make_request` returns. Rejecting a request is no violation, so run the
/// suite once with requests that the layer forwards and once with requests that it rejects.
///
/// # What is checked
/// The suite checks the time between `poll_ready` and the end of the future of `call`:
///
/// - The service that is called was itself polled ready. A clone of a ready service is not ready.
/// - The layer never waits for a second permit while it holds the first, which can deadlock.
/// - The permit is released after a response, after a rejection, and if the future is dropped at
///   any point.
/// - A busy service becomes ready again.
///
/// # How to comply
/// A layer that awaits something before it calls its inner service can do one of two things. Both
/// swap a clone in for the ready service, by `mem::replace`.
///
/// - Move the ready service into the future and call it there. This fits if the wait takes
///   something that can't be returned, such as one use of a token.
/// - Drop the ready service, and poll another clone ready after the wait. This fits if a caller can
///   prolong the wait, since no permit is held meanwhile.
///
/// # Panics
/// If the layer violates one of these. The message names the rule, the inner service and the
/// situation. A layer that never becomes ready or never responds panics after 30 seconds of tokio's
/// time.
///
/// # Examples
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use tower_revoke_testing::readiness_conformance;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let layer = tower::layer::layer_fn(|inner: tower_revoke_testing::ReadinessService<_>| inner);
/// readiness_conformance(layer, || http::Request::new(Full::<Bytes>::default())).await;
/// # }
/// ```
pub async fn readiness_conformance<L, B, R>(layer: L, mut make_request: impl FnMut() -> Request<B>)
where
    B: Send + 'static,
    L: Layer<ReadinessService<B>>,
    L::Service: Service<Request<B>, Response = Response<R>>,
    <L::Service as Service<Request<B>>>::Error: Into<BoxError>,
    R: Body,
{
    for fixture in [
        Fixture::concurrency_limit(),
        Fixture::buffer(),
        Fixture::mock(),
    ] {
        let mut suite = Suite {
            fixture,
            layer: &layer,
            make_request: &mut make_request,
        };
        suite.run().await;
    }
}

/// More polls than the inner service needs to respond, so that futures are dropped at each of their
/// await points, and also when their response was never read.
const MOST_POLLS: usize = 12;

/// The checks over one inner service.
struct Suite<'a, L, B, F> {
    fixture: Fixture<B>,
    layer: &'a L,
    make_request: &'a mut F,
}

impl<L, B, R, F> Suite<'_, L, B, F>
where
    B: Send + 'static,
    L: Layer<ReadinessService<B>>,
    L::Service: Service<Request<B>, Response = Response<R>>,
    <L::Service as Service<Request<B>>>::Error: Into<BoxError>,
    R: Body,
    F: FnMut() -> Request<B>,
{
    async fn run(&mut self) {
        self.in_turn().await;
        self.at_once().await;
        self.never_called().await;
        for polls in 0..MOST_POLLS {
            self.dropped(polls).await;
        }
        self.busy_at_first().await;
    }

    fn service(&self) -> L::Service {
        self.layer.layer(self.fixture.service())
    }

    async fn in_turn(&mut self) {
        let mut service = self.service();
        for _ in 0..3 {
            let response = exchange(&mut service, (self.make_request)());
            let when = "called three times in turn";
            self.fixture.succeeds(when, response).await;
        }
        drop(service);
        let when = "after three requests in turn";
        self.fixture.permit_is_released(when).await;
    }

    async fn at_once(&mut self) {
        let callers = (0..4).map(|_| {
            let mut service = self.layer.layer(self.fixture.service());
            let request = (self.make_request)();
            async move { exchange(&mut service, request).await }
        });
        let responses = futures_util::future::try_join_all(callers);
        let when = "called four times at once";
        self.fixture.succeeds(when, responses).await;
        let when = "after four requests at once";
        self.fixture.permit_is_released(when).await;
    }

    async fn never_called(&self) {
        let mut service = self.service();
        let when = "made ready and never called";
        self.fixture.succeeds(when, ready(&mut service)).await;
        drop(service);
        self.fixture.permit_is_released(when).await;
    }

    async fn dropped(&mut self, polls: usize) {
        let when = format!("with a response future dropped after {polls} polls");
        let mut service = self.service();
        self.fixture.succeeds(&when, ready(&mut service)).await;
        {
            let mut call = pin!(service.call((self.make_request)()));
            for _ in 0..polls {
                if futures_util::poll!(call.as_mut()).is_ready() {
                    break;
                }
                // Lets other tasks run, on which the layer or the inner service may wait.
                tokio::task::yield_now().await;
            }
        }
        self.fixture.keeps_the_rules(&when);
        let response = exchange(&mut service, (self.make_request)());
        let then = format!("{when}, then called");
        self.fixture.succeeds(&then, response).await;
        drop(service);
        self.fixture.permit_is_released(&when).await;
    }

    async fn busy_at_first(&mut self) {
        let when = "over a service that was busy at first";
        let others = self.fixture.make_busy().await;
        let mut service = self.service();
        let mut response = pin!(exchange(&mut service, (self.make_request)()));
        // A layer may reject without its inner service, or wait for it in the future of `call`.
        if futures_util::poll!(response.as_mut()).is_pending() {
            self.fixture.keeps_the_rules(when);
            drop(others);
            self.fixture.succeeds(when, response).await;
        }
        self.fixture.keeps_the_rules(when);
    }
}

async fn ready<S, T>(service: &mut S) -> Result<(), BoxError>
where
    S: Service<T>,
    S::Error: Into<BoxError>,
{
    let ready = poll_fn(|cx| service.poll_ready(cx)).await;
    ready.map_err(Into::into)
}

/// Polls the service ready, calls it, and reads the whole response body.
async fn exchange<S, B, R>(service: &mut S, request: Request<B>) -> Result<(), BoxError>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body,
{
    ready(service).await?;
    let response = service.call(request).await.map_err(Into::into)?;
    let mut body = pin!(response.into_body());
    while let Some(Ok(_)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {}
    Ok(())
}
