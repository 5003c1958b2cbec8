//! The conformance suite for layers: how they use `poll_ready` of the service that they wrap.

mod ground;
mod strict;
#[cfg(test)]
mod tests;

use std::pin::{Pin, pin};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer, Service, util::BoxCloneSyncService};
use tower_revoke_core::BoxError;

use self::ground::Fixture;

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
    for ground in [
        Fixture::concurrency_limit(),
        Fixture::buffer(),
        Fixture::mock(),
    ] {
        over(&ground, &layer, &mut make_request).await;
    }
}

async fn over<L, B, R>(
    ground: &Fixture<B>,
    layer: &L,
    make_request: &mut impl FnMut() -> Request<B>,
) where
    B: Send + 'static,
    L: Layer<ReadinessService<B>>,
    L::Service: Service<Request<B>, Response = Response<R>>,
    <L::Service as Service<Request<B>>>::Error: Into<BoxError>,
    R: Body,
{
    in_turn(ground, layer, make_request).await;
    at_once(ground, layer, make_request).await;
    never_called(ground, layer).await;
    for polls in 0..MOST_POLLS {
        dropped(ground, layer, make_request, polls).await;
    }
    busy_at_first(ground, layer, make_request).await;
}

/// More polls than the inner service needs to respond, so that futures are dropped at each of their
/// await points, and also when their response was never read.
const MOST_POLLS: usize = 12;

async fn in_turn<L, B, R>(
    ground: &Fixture<B>,
    layer: &L,
    make_request: &mut impl FnMut() -> Request<B>,
) where
    B: Send + 'static,
    L: Layer<ReadinessService<B>>,
    L::Service: Service<Request<B>, Response = Response<R>>,
    <L::Service as Service<Request<B>>>::Error: Into<BoxError>,
    R: Body,
{
    let mut service = layer.layer(ground.service());
    for _ in 0..3 {
        let answer = ask(&mut service, make_request());
        ground.succeeds("asked three times in turn", answer).await;
    }
    drop(service);
    ground.all_is_back("after three requests in turn").await;
}

async fn at_once<L, B, R>(
    ground: &Fixture<B>,
    layer: &L,
    make_request: &mut impl FnMut() -> Request<B>,
) where
    B: Send + 'static,
    L: Layer<ReadinessService<B>>,
    L::Service: Service<Request<B>, Response = Response<R>>,
    <L::Service as Service<Request<B>>>::Error: Into<BoxError>,
    R: Body,
{
    let callers = (0..4).map(|_| {
        let mut service = layer.layer(ground.service());
        let request = make_request();
        async move { ask(&mut service, request).await }
    });
    let answers = futures_util::future::try_join_all(callers);
    ground.succeeds("asked four times at once", answers).await;
    ground.all_is_back("after four requests at once").await;
}

async fn never_called<L, B, R>(ground: &Fixture<B>, layer: &L)
where
    B: Send + 'static,
    L: Layer<ReadinessService<B>>,
    L::Service: Service<Request<B>, Response = Response<R>>,
    <L::Service as Service<Request<B>>>::Error: Into<BoxError>,
{
    let mut service = layer.layer(ground.service());
    let when = "made ready and never called";
    ground.succeeds(when, ready(&mut service)).await;
    drop(service);
    ground.all_is_back(when).await;
}

async fn dropped<L, B, R>(
    ground: &Fixture<B>,
    layer: &L,
    make_request: &mut impl FnMut() -> Request<B>,
    polls: usize,
) where
    B: Send + 'static,
    L: Layer<ReadinessService<B>>,
    L::Service: Service<Request<B>, Response = Response<R>>,
    <L::Service as Service<Request<B>>>::Error: Into<BoxError>,
    R: Body,
{
    let when = format!("with a response future dropped after {polls} polls");
    let mut service = layer.layer(ground.service());
    ground.succeeds(&when, ready(&mut service)).await;
    {
        let mut call = pin!(service.call(make_request()));
        for _ in 0..polls {
            if futures_util::poll!(call.as_mut()).is_ready() {
                break;
            }
            // Lets other tasks run, on which the layer or the inner service may wait.
            tokio::task::yield_now().await;
        }
    }
    ground.keeps_the_rules(&when);
    let answer = ask(&mut service, make_request());
    ground
        .succeeds(&format!("{when}, then asked"), answer)
        .await;
    drop(service);
    ground.all_is_back(&when).await;
}

async fn busy_at_first<L, B, R>(
    ground: &Fixture<B>,
    layer: &L,
    make_request: &mut impl FnMut() -> Request<B>,
) where
    B: Send + 'static,
    L: Layer<ReadinessService<B>>,
    L::Service: Service<Request<B>, Response = Response<R>>,
    <L::Service as Service<Request<B>>>::Error: Into<BoxError>,
    R: Body,
{
    let when = "over a service that was busy at first";
    let others = ground.make_busy().await;
    let mut service = layer.layer(ground.service());
    let mut answer = pin!(ask(&mut service, make_request()));
    // A layer may reject without its inner service, or wait for it in the future of `call`.
    if futures_util::poll!(answer.as_mut()).is_pending() {
        ground.keeps_the_rules(when);
        drop(others);
        ground.succeeds(when, answer).await;
    }
    ground.keeps_the_rules(when);
}

async fn ready<S, T>(service: &mut S) -> Result<(), BoxError>
where
    S: Service<T>,
    S::Error: Into<BoxError>,
{
    let ready = std::future::poll_fn(|cx| service.poll_ready(cx));
    ready.await.map_err(Into::into)
}

/// Polls the service ready, calls it, and reads the whole response body.
async fn ask<S, B, R>(service: &mut S, request: Request<B>) -> Result<(), BoxError>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body,
{
    ready(service).await?;
    let response = service.call(request).await.map_err(Into::into)?;
    let mut body = pin!(response.into_body());
    while let Some(Ok(_)) = next_frame(body.as_mut()).await {}
    Ok(())
}

async fn next_frame<R: Body>(
    mut body: Pin<&mut R>,
) -> Option<Result<http_body::Frame<R::Data>, R::Error>> {
    std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await
}
