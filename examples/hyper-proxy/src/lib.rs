//! A proxy on hyper. It verifies the token of each call, revokes it if the call spends it, and
//! forwards the call to the upstream that its path names.

mod websocket;

use std::{convert::Infallible, pin::pin, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode, Uri, header::UPGRADE, uri::PathAndQuery};
use http_body_util::{Either, Empty};
use hyper::{Request, Response, body::Incoming, upgrade::OnUpgrade};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{io::copy_bidirectional, net::TcpListener, task::JoinSet, time};
use tower::{ServiceBuilder, ServiceExt};
use tower_revoke::{
    Condition, ConditionRequest, HopByHop, HopByHopLayer, HttpsClient, JwtVerifier, Outbound,
    OutboundAuthorization, OutboundAuthorizationLayer, OutboundBody, PendingRevocations,
    PreserveAuthorizationLayer, RejectAmbiguousLayer, RequireBearerLayer, ResponseHead,
    RevocationClient, RevocationList, RevokeAfterResponseLayer, ShutdownReport, TokenLifetime,
    TokenLifetimeLayer, UseLimitLayer,
    core::{BoxError, RejectionBody},
};

use crate::websocket::Handshake;

/// The maximum size of a request head. It must fit a token, which may have 8 KiB.
const MAX_HEAD: u32 = 32 * 1024;

/// The upstreams, as `host:port`.
///
/// Credentials go by this address: two upstreams at one address would get the same credentials.
#[derive(Clone, Debug)]
pub struct Upstreams {
    /// For `/orders` and `/tickets`, and paths below. Gets the caller's `Authorization`.
    pub orders: String,
    /// For `/stock` and paths below. Gets the proxy's own client credentials.
    pub stock: String,
    /// For `/maps` and paths below. Gets no `Authorization`.
    pub maps: String,
}

impl Upstreams {
    /// Returns the upstream of the service that the path names. Nothing else in a request affects
    /// it.
    fn of(&self, uri: &Uri) -> Option<&str> {
        match service_of(uri.path())? {
            "orders" | "tickets" => Some(&self.orders),
            "stock" => Some(&self.stock),
            "maps" => Some(&self.maps),
            _ => None,
        }
    }
}

/// Returns the first segment of a path.
///
/// Routing and the rules for spending tokens both use it, so that no spelling of a path reaches a
/// service without its rule.
fn service_of(path: &str) -> Option<&str> {
    path.split('/').nth(1)
}

/// The proxy.
#[derive(Debug)]
pub struct Proxy {
    tokens: JwtVerifier,
    server: RevocationClient,
    pending: PendingRevocations,
    forward: Forward,
}

impl Proxy {
    /// Creates a proxy that accepts tokens of `issuer`, and reports revocations to it.
    ///
    /// # Errors
    /// If the configuration is invalid.
    pub fn new(issuer: &str, list: RevocationList, to: Upstreams) -> Result<Self, BoxError> {
        let http = HttpsClient::new()?;
        let tokens = JwtVerifier::issuer(issuer)
            .audience("orders")
            .discover()
            .http_client(http.clone())
            .revocations(list)
            .build()?;
        let server = RevocationClient::discover(issuer)
            .client_credentials("orders", "secret")
            .http_client(http)
            .build()?;
        Ok(Self {
            tokens,
            server,
            pending: PendingRevocations::default(),
            forward: Forward::new(to, false)?,
        })
    }

    /// Uses HTTP/2 with prior knowledge to the upstreams. gRPC needs HTTP/2 on the whole path.
    pub fn http2_upstreams(mut self) -> Result<Self, BoxError> {
        self.forward = Forward::new(self.forward.to, true)?;
        Ok(self)
    }

    /// Returns the layers that spend tokens.
    ///
    /// A token with the scope `OTT` has one use, and any token is revoked after the response of
    /// `/tickets` and paths below. Neither applies if the call never reached its upstream.
    fn costs(&self) -> (UseLimitLayer, RevokeAfterResponseLayer) {
        let not_sent = |head: &ResponseHead<'_>| head.extensions.get::<NotSent>().is_some();
        let one_time = UseLimitLayer::single()
            .when(Condition::scope("OTT"))
            .return_if(not_sent)
            .also_at(self.server.clone())
            .pending_revocations(&self.pending);
        let tickets =
            |request: &ConditionRequest<'_>| service_of(request.path()) == Some("tickets");
        let tickets = RevokeAfterResponseLayer::new()
            .when(tickets)
            .keep_if(not_sent)
            .also_at(self.server.clone())
            .pending_revocations(&self.pending);
        (one_time, tickets)
    }

    /// Serves HTTP/1 and HTTP/2 until `stop`, then shuts down gracefully.
    ///
    /// A shutdown waits for running calls, then for pending revocations, and then for their reports
    /// to the authorization server, each for at most `grace`.
    pub async fn serve(
        self,
        socket: TcpListener,
        grace: Duration,
        stop: impl Future<Output = ()>,
    ) -> ShutdownReport {
        let (one_time, tickets) = self.costs();
        let forward = self.forward.clone();
        let service = ServiceBuilder::new()
            .layer(RejectAmbiguousLayer::new().allow_extended_connect())
            .layer(PreserveAuthorizationLayer::new().for_proxy())
            .layer(RequireBearerLayer::new(self.tokens.clone()).scope("proxy"))
            .layer(one_time)
            .layer(tickets)
            // A response that is cut off over HTTP/1.0 looks complete, as any response of a proxy may.
            .layer(TokenLifetimeLayer::new().allow_http_10())
            .service_fn(move |request| forward.clone().call(request));

        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(10))
            .max_buf_size(MAX_HEAD as usize);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(20))
            .enable_connect_protocol()
            .max_header_list_size(MAX_HEAD);
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = &mut stop => break,
            };
            // Too many open files: some are closed soon.
            let Ok((stream, _)) = accepted else {
                time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            // The last frame of a response may be small: Nagle's algorithm would hold it back.
            let _ = stream.set_nodelay(true);
            let service = TowerToHyperService::new(service.clone());
            let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
            connections.spawn(graceful.watch(connection.into_owned()));
            while connections.try_join_next().is_some() {}
        }
        drop(socket);
        let _ = time::timeout(grace, graceful.shutdown()).await;
        // Calls that still run are cut off, and their tokens stay spent. Their revocations are
        // written.
        connections.shutdown().await;
        let _ = self.pending.shutdown(grace).await;
        self.server.shutdown(grace).await
    }
}

/// Forwards calls to their upstreams.
#[derive(Clone, Debug)]
struct Forward {
    to: Upstreams,
    client: HopByHop<OutboundAuthorization<Client<HttpConnector, OutboundBody<Incoming>>>>,
}

/// An extension of a 502 response: no byte of the request reached the upstream.
#[derive(Clone)]
struct NotSent;

impl Forward {
    fn new(to: Upstreams, http2: bool) -> Result<Self, BoxError> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        connector.set_nodelay(true);
        let pool = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http2_only(http2)
            .build(connector);
        let ours = Outbound::client_credentials("proxy", "proxy-secret");
        let outbound = OutboundAuthorizationLayer::strip()
            .upstream(&to.orders, Outbound::keep())?
            .upstream(&to.stock, ours)?;
        let client = ServiceBuilder::new()
            .layer(HopByHopLayer::via("hyper-proxy")?)
            .layer(outbound)
            .service(pool);
        Ok(Self { to, client })
    }

    async fn call(self, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let Some(upstream) = self.to.of(request.uri()) else {
            return Ok(empty(StatusCode::NOT_FOUND));
        };
        let path = request.uri().path_and_query();
        let uri = Uri::builder()
            .scheme("http")
            .authority(upstream)
            .path_and_query(path.map_or("/", PathAndQuery::as_str));
        let Ok(uri) = uri.build() else {
            return Ok(empty(StatusCode::BAD_REQUEST));
        };
        *request.uri_mut() = uri;
        let handshake = Handshake::make(&mut request);
        if *request.method() == Method::CONNECT {
            return Ok(empty(StatusCode::NOT_IMPLEMENTED));
        }
        let upgrades = request.headers().contains_key(UPGRADE);
        let lifetime = upgrades.then(|| TokenLifetime::of(request.extensions()).ok());
        let caller = hyper::upgrade::on(&mut request);
        match self.client.oneshot(request).await {
            Ok(mut response) => {
                // To the caller of a CONNECT, any 2xx would say that the tunnel is open.
                if handshake.is_some() && response.status().is_success() {
                    return Ok(empty(StatusCode::BAD_GATEWAY));
                }
                if response.status() == StatusCode::SWITCHING_PROTOCOLS
                    && let Some(lifetime) = lifetime.flatten()
                {
                    let upstream = hyper::upgrade::on(&mut response);
                    if handshake.is_some_and(|handshake| !handshake.answer(&mut response)) {
                        return Ok(empty(StatusCode::BAD_GATEWAY));
                    }
                    tokio::spawn(join(caller, upstream, lifetime));
                }
                Ok(response.map(Either::Left))
            }
            Err(error) if error.is_connect() => {
                let mut response = empty(StatusCode::BAD_GATEWAY);
                response.extensions_mut().insert(NotSent);
                Ok(response)
            }
            Err(_) => Ok(empty(StatusCode::BAD_GATEWAY)),
        }
    }
}

type Body = Either<RejectionBody<Incoming>, Empty<Bytes>>;

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = status;
    response
}

/// Copies between two upgraded connections until both sides have closed, or the caller's token has
/// ended. If either upgrade fails, both connections are closed.
async fn join(caller: OnUpgrade, upstream: OnUpgrade, mut lifetime: TokenLifetime) {
    if let Ok((caller, upstream)) = tokio::try_join!(caller, upstream) {
        let (mut caller, mut upstream) = (TokioIo::new(caller), TokioIo::new(upstream));
        tokio::select! {
            _ = copy_bidirectional(&mut caller, &mut upstream) => {}
            _ = lifetime.ended() => {}
        }
    }
}
