//! A gRPC service where each call takes the only use of its token, and an axum router on the same
//! port.
//!
//! It is a library so that tests can run it over another store. The program is in `main.rs`.

mod http;
mod orders;

use std::{fmt, pin::pin, time::Duration};

use tokio::{net::TcpListener, sync::oneshot, time::timeout};
use tonic::{
    service::{LayerExt, Routes},
    transport::{Server, server::TcpIncoming},
};
use tower::ServiceBuilder;
use tower_revoke::{
    JwtVerifier, Monitor, Outcome, PendingRevocations, RequireBearerLayer, RevocationList,
    TokenLifetimeLayer, UseLimitLayer, core::BoxError,
};

use crate::{orders::Shop, proto::orders_server::OrdersServer};

/// The code that `tests/generated.rs` generates from `proto/orders/v1/orders.proto`.
#[allow(missing_docs, unused_qualifications, clippy::all, reason = "generated")]
pub mod proto {
    include!("generated/orders.v1.rs");

    /// The encoded descriptors of the proto file, for reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/orders.v1.bin");
}

/// How long running calls may take to end after a stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long pending revocations may then take to be written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// The service, with the parts of it that other code needs: its list, its metrics, and its pending
/// revocations.
#[derive(Clone, Debug)]
pub struct App {
    list: RevocationList,
    monitor: Monitor,
    pending: PendingRevocations,
}

impl App {
    /// Creates the service over this list.
    pub fn new(list: RevocationList) -> Self {
        let monitor = Monitor::new();
        monitor.add_health(list.clone());
        Self {
            list,
            monitor,
            pending: PendingRevocations::default(),
        }
    }

    /// Returns the metrics.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Returns everything that the port serves, for tokens of `issuer`.
    ///
    /// # Errors
    /// If the configuration is invalid, or the list is not ready.
    pub async fn routes(&self, issuer: &str) -> Result<Routes, BoxError> {
        let tokens = JwtVerifier::discover(issuer)
            .audience("orders")
            .revocations(self.list.clone())
            .build()?;
        self.monitor.add_health(tokens.clone());
        let bearer = RequireBearerLayer::new(tokens);

        let lifetime = TokenLifetimeLayer::new();

        // Outermost first. `named_layer` keeps the name by which tonic finds the service.
        let orders = ServiceBuilder::new()
            .layer(self.monitor.layer("orders"))
            .layer(bearer.clone().scope("orders"))
            // A response that is our fault, such as UNAVAILABLE, returns the use.
            .layer(
                UseLimitLayer::single()
                    .return_on(Outcome::Exception)
                    .pending_revocations(&self.pending),
            )
            // Innermost: a stream ends with its token, in both directions.
            .layer(lifetime.clone())
            .layer(lifetime.request_bodies())
            .named_layer(OrdersServer::new(Shop));

        // Health and reflection take no token: their callers have none.
        self.list.ready().await?;
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<OrdersServer<Shop>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .build_v1()?;

        Ok(Routes::from(http::router(self, bearer))
            .add_service(orders)
            .add_service(health)
            .add_service(reflection))
    }

    /// Serves until `stop`, waits for running calls to end, and then for their outcomes to be
    /// written.
    ///
    /// # Errors
    /// As [`routes`](Self::routes), or if the server fails.
    pub async fn serve(
        &self,
        socket: TcpListener,
        issuer: &str,
        stop: impl Future<Output = ()>,
    ) -> Result<Stopped, BoxError> {
        let (tell, told) = oneshot::channel::<()>();
        let server = Server::builder()
            .accept_http1(true)
            .add_routes(self.routes(issuer).await?)
            .serve_with_incoming_shutdown(
                // Trailers are small writes, which Nagle's algorithm would hold back.
                TcpIncoming::from(socket).with_nodelay(Some(true)),
                async {
                    // Resolves when the sender is dropped as well.
                    let _ = told.await;
                },
            );
        let mut server = pin!(server);
        let ended = tokio::select! {
            ended = &mut server => Ok(ended),
            () = stop => {
                drop(tell);
                // A limit, because streams may stay open forever.
                timeout(GRACE, server).await
            }
        };
        if let Ok(ended) = ended {
            ended?;
        }
        // A limit, because the store may stay down.
        let report = self.pending.shutdown(WRITTEN_WITHIN).await;
        Ok(Stopped {
            owed: report.pending,
        })
    }
}

/// The result of a shutdown. `Display` formats it for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// How many calls were cut off before their outcome was written. Their uses were taken before
    /// the call and stay taken.
    pub owed: u32,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owed {
            0 => f.write_str("nothing is owed"),
            owed => write!(f, "calls cut off: {owed}; their uses stay spent"),
        }
    }
}
