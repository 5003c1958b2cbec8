//! Tests each layer wherever tonic takes one: around the whole server, around one service that
//! keeps its name, and around a client's channel.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use http_body::Body;
use tokio::net::TcpListener;
use tonic::{
    Code, Request, Response, Status, Streaming,
    server::NamedService,
    service::{LayerExt, Routes},
    transport::{Server, server::TcpIncoming},
};
use tonic_service::proto::{
    Line, Order, Price, WatchRequest,
    orders_client::OrdersClient,
    orders_server::{Orders, OrdersServer},
};
use tower::{
    Layer, Service, ServiceBuilder,
    util::{Either, MapRequestLayer},
};
use tower_revoke::{
    Authenticated, MonitorLayer, OriginalAuthorization, Outbound, OutboundAuthorizationLayer,
    OutboundBody, PreserveAuthorizationLayer, RejectAmbiguousLayer, RequireBearerLayer,
    RequireClaimsLayer, RevokeAfterResponseLayer, UseLimitLayer, core::BoxError,
};
use tower_revoke_testing::{Behavior, StoreOp};
use tower_revoke_tests::World;

use crate::kit::{Kind, Outcome, call, channel, line, with_token};

/// A service that counts its calls and responds to each kind as the example does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probe {
    calls: Arc<AtomicUsize>,
}

impl Probe {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Reports in `customer` what the request carried.
    fn called<T>(&self, request: &Request<T>) -> Order {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let extensions = request.extensions();
        let caller = Authenticated::of(extensions).ok();
        let original = extensions.get::<OriginalAuthorization>();
        let customer = format!(
            "caller {}, header {}, original {}",
            caller.and_then(Authenticated::subject).unwrap_or("nobody"),
            request.metadata().contains_key("authorization"),
            original.is_some(),
        );
        Order {
            customer,
            ..Order::default()
        }
    }
}

type Prices = BoxStream<'static, Result<Price, Status>>;

#[tonic::async_trait]
impl Orders for Probe {
    type WatchStream = Prices;
    type QuoteStream = Prices;

    async fn place(&self, request: Request<Line>) -> Result<Response<Order>, Status> {
        Ok(Response::new(self.called(&request)))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Prices>, Status> {
        self.called(&request);
        let prices = vec![Ok(Price::default()); request.get_ref().times as usize];
        Ok(Response::new(futures_util::stream::iter(prices).boxed()))
    }

    async fn import(&self, request: Request<Streaming<Line>>) -> Result<Response<Order>, Status> {
        let order = self.called(&request);
        let mut lines = request.into_inner();
        while lines.message().await?.is_some() {}
        Ok(Response::new(order))
    }

    async fn quote(&self, request: Request<Streaming<Line>>) -> Result<Response<Prices>, Status> {
        self.called(&request);
        let lines = request.into_inner();
        Ok(Response::new(
            lines.map(|line| line.map(|_| Price::default())).boxed(),
        ))
    }
}

/// Returns the probe as a service, and a handle to it.
pub(crate) fn probe() -> (OrdersServer<Probe>, Probe) {
    let probe = Probe::default();
    (OrdersServer::new(probe.clone()), probe)
}

/// Serves one service, whatever wraps it, until the end of the test.
pub(crate) async fn serve<S>(service: S) -> SocketAddr
where
    S: Service<http::Request<tonic::body::Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Response: axum::response::IntoResponse,
    S::Future: Send + 'static,
{
    let (incoming, at) = listen().await;
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    at
}

async fn listen() -> (TcpIncoming, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = socket.local_addr().expect("a bound socket");
    (TcpIncoming::from(socket).with_nodelay(Some(true)), at)
}

/// Serves a probe with a layer around the whole server.
async fn serve_layered<L, B>(layer: L) -> (SocketAddr, Probe)
where
    L: Layer<Routes> + Clone + Send + 'static,
    L::Service: Service<http::Request<tonic::body::Body>, Response = http::Response<B>>
        + Clone
        + Send
        + 'static,
    <L::Service as Service<http::Request<tonic::body::Body>>>::Future: Send,
    <L::Service as Service<http::Request<tonic::body::Body>>>::Error: Into<BoxError> + Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (service, probe) = probe();
    let (incoming, at) = listen().await;
    let server = Server::builder().layer(layer).add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    (at, probe)
}

/// Returns what a probe saw of a call, or the code with which the call was rejected.
async fn seen(at: SocketAddr, token: Option<&str>) -> Result<String, Code> {
    let mut orders = OrdersClient::new(channel(at).await);
    let placed = orders.place(with_token(line("tea", 1), token)).await;
    placed
        .map(|order| order.into_inner().customer)
        .map_err(|status| status.code())
}

fn saw(caller: &str, header: bool, original: bool) -> Result<String, Code> {
    Ok(format!(
        "caller {caller}, header {header}, original {original}"
    ))
}

#[tokio::test]
async fn grpc_each_layer_works_around_a_whole_server() {
    let world = World::new();
    let bearer = || RequireBearerLayer::new(world.tokens.clone());
    let token = world.token();

    let monitor = MonitorLayer::service("all");
    let (at, probe) = serve_layered(monitor.clone()).await;
    let channel = channel(at).await;
    for kind in Kind::ALL {
        assert_eq!(call(&channel, kind, None).await, Outcome::good(kind));
    }
    assert_eq!(probe.calls(), 4);
    let counts = monitor.monitor().snapshot();
    assert_eq!(counts.services["all"].total.success, 4);

    let (at, _) = serve_layered(PreserveAuthorizationLayer::new()).await;
    assert_eq!(seen(at, None).await, saw("nobody", false, false));
    assert_eq!(seen(at, Some(&token)).await, saw("nobody", true, true));

    // The proxy mode lets gRPC through as well.
    let (at, _) = serve_layered(PreserveAuthorizationLayer::new().for_proxy()).await;
    assert_eq!(seen(at, Some(&token)).await, saw("nobody", true, true));
    let (at, _) = serve_layered(RejectAmbiguousLayer::new()).await;
    assert_eq!(seen(at, Some(&token)).await, saw("nobody", true, false));

    let (at, probe) = serve_layered(bearer()).await;
    assert_eq!(seen(at, None).await, Err(Code::Unauthenticated));
    assert_eq!(probe.calls(), 0);
    assert_eq!(seen(at, Some(&token)).await, saw("ann", true, false));
    let (at, _) = serve_layered(bearer().optional()).await;
    assert_eq!(seen(at, None).await, saw("nobody", false, false));

    let claims = RequireClaimsLayer::scope("orders");
    let (at, probe) = serve_layered(ServiceBuilder::new().layer(bearer()).layer(claims)).await;
    assert_eq!(seen(at, Some(&token)).await, Err(Code::PermissionDenied));
    assert_eq!(probe.calls(), 0);

    for spend in [
        Either::Left(UseLimitLayer::single()),
        Either::Right(RevokeAfterResponseLayer::new()),
    ] {
        let token = world.token();
        let layers = ServiceBuilder::new().layer(bearer()).layer(spend);
        let (at, probe) = serve_layered(layers).await;
        assert_eq!(seen(at, Some(&token)).await, saw("ann", true, false));
        assert_eq!(seen(at, Some(&token)).await, Err(Code::Unauthenticated));
        assert_eq!(probe.calls(), 1);
    }
}

/// All layers at once, in the order of tonic's `layer` calls: the last one is the innermost.
#[tokio::test]
async fn grpc_the_whole_stack_works_around_a_whole_server() {
    let world = World::new();
    let (service, probe) = probe();
    let (incoming, at) = listen().await;
    let server = Server::builder()
        .layer(MonitorLayer::service("all"))
        .layer(PreserveAuthorizationLayer::new())
        .layer(RequireBearerLayer::new(world.tokens.clone()))
        .layer(RequireClaimsLayer::claim("sub", "ann"))
        .layer(UseLimitLayer::uses::<2>())
        .add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    let token = world.token();
    for _ in 0..2 {
        assert_eq!(seen(at, Some(&token)).await, saw("ann", true, true));
    }
    assert_eq!(seen(at, Some(&token)).await, Err(Code::Unauthenticated));
    assert_eq!(probe.calls(), 2);
}

/// A service with an interceptor keeps its name, and our layers pass the name on.
#[tokio::test]
async fn grpc_a_layered_service_keeps_its_name_and_its_interceptor() {
    let world = World::new();
    let probe = Probe::default();
    let intercepted =
        OrdersServer::with_interceptor(
            probe.clone(),
            |request: Request<()>| match Authenticated::of(request.extensions()) {
                Ok(caller) if caller.subject() == Some("ann") => Ok(request),
                _ => Err(Status::permission_denied("ann alone")),
            },
        );
    let layered = ServiceBuilder::new()
        .layer(RequireBearerLayer::new(world.tokens.clone()))
        .layer(UseLimitLayer::single())
        .named_layer(intercepted);
    let at = serve(layered).await;
    let ann = world.token();
    assert_eq!(seen(at, Some(&ann)).await, saw("ann", true, false));
    let bob = world.issuer.token().audience("api").subject("bob").sign();
    assert_eq!(seen(at, Some(&bob)).await, Err(Code::PermissionDenied));
    // The interceptor runs inside the layer that spends.
    assert_eq!(seen(at, Some(&bob)).await, Err(Code::Unauthenticated));
    assert_eq!(probe.calls(), 1);
}

/// G1 for `RevokeAfterResponseLayer`: the trailers wait for the store, 1,000 times.
#[tokio::test]
async fn g1_trailers_wait_for_the_store() {
    let world = World::new();
    world
        .store
        .set(StoreOp::Revoke, Behavior::Slow(Duration::from_millis(2)));
    let (service, probe) = probe();
    let layered = ServiceBuilder::new()
        .layer(RequireBearerLayer::new(world.tokens.clone()))
        .layer(RevokeAfterResponseLayer::new())
        .named_layer(service);
    let channel = channel(serve(layered).await).await;
    let spent = Outcome::spent();
    for _ in 0..250 {
        for kind in Kind::ALL {
            let token = world.token();
            assert_eq!(
                call(&channel, kind, Some(&token)).await,
                Outcome::good(kind)
            );
            assert_eq!(call(&channel, kind, Some(&token)).await, spent);
        }
    }
    assert_eq!(probe.calls(), 1_000);
}

/// If the store fails, the trailers never come, so the response is incomplete.
#[tokio::test]
async fn g1_without_the_store_there_are_no_trailers() {
    let world = World::new();
    world.store.set(StoreOp::Revoke, Behavior::Fails);
    let (service, _) = probe();
    let spend = RevokeAfterResponseLayer::new().commit_timeout(Duration::from_millis(50));
    let layered = ServiceBuilder::new()
        .layer(RequireBearerLayer::new(world.tokens.clone()))
        .layer(spend)
        .named_layer(service);
    let channel = channel(serve(layered).await).await;
    for kind in Kind::ALL {
        let outcome = call(&channel, kind, Some(&world.token())).await;
        assert_ne!(outcome.code, Code::Ok, "{kind:?}");
    }
}

/// Around a channel, the outbound layer decides by the origin that the client was configured with.
#[tokio::test]
async fn a_channel_sends_the_token_only_to_configured_upstreams() {
    let (service, _) = probe();
    let at = serve(service).await;
    let keep = OutboundAuthorizationLayer::strip().upstream(&at.to_string(), Outbound::keep());
    let keep = keep.expect("an upstream");
    let strip = OutboundAuthorizationLayer::strip();
    let origin = || format!("http://{at}").parse().expect("a URI");
    for (layer, header) in [(keep, true), (strip, false)] {
        let body = |request: http::Request<OutboundBody<_>>| request.map(tonic::body::Body::new);
        let layers = (layer, MapRequestLayer::new(body));
        let channel = layers.layer(channel(at).await);
        let mut orders = OrdersClient::with_origin(channel, origin());
        let placed = orders.place(with_token(line("tea", 1), Some("secret")));
        let customer = placed.await.expect("an order").into_inner().customer;
        assert_eq!(Ok(customer), saw("nobody", header, false));
    }
}
