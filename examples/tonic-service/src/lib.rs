//! A gRPC service in which every call costs a token, beside an axum router on one port.
//!
//! The program is in `main.rs`. Here is what it serves, so that tests can put another store behind
//! the list.

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
    HttpsClient, JwtVerifier, Monitor, Outcome, PendingRevocations, RequireBearerLayer,
    RevocationList, UseLimitLayer, core::BoxError,
};

use crate::{orders::Shop, proto::orders_server::OrdersServer};

/// What is generated from `proto/orders/v1/orders.proto`, by `tests/generated.rs`.
#[allow(missing_docs, unused_qualifications, clippy::all, reason = "generated")]
pub mod proto {
    include!("generated/orders.v1.rs");

    /// The proto itself, for reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/orders.v1.bin");
}

/// How long running calls have to end when the program is told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long the store has then to take what is owed.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// The service, and what one wants to keep at hand of it.
#[derive(Clone, Debug)]
pub struct App {
    list: RevocationList,
    monitor: Monitor,
    slots: PendingRevocations,
}

impl App {
    /// The service over this list.
    pub fn new(list: RevocationList) -> Self {
        Self {
            list,
            monitor: Monitor::new(),
            slots: PendingRevocations::default(),
        }
    }

    /// What was counted.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// All that is served on the one port, to callers with tokens of `issuer`.
    ///
    /// # Errors
    /// What is configured and can't work, and a list that is not ready.
    pub async fn routes(&self, issuer: &str) -> Result<Routes, BoxError> {
        let tokens = JwtVerifier::issuer(issuer)
            .audience("orders")
            .discover()
            .http_client(HttpsClient::new()?)
            .revocations(self.list.clone())
            .build()?;
        let bearer = RequireBearerLayer::new(tokens);

        // Outermost first. `named_layer` keeps the name by which tonic finds the service.
        let orders = ServiceBuilder::new()
            .layer(self.monitor.layer("orders"))
            .layer(bearer.clone().scope("orders"))
            // An answer that blames us, such as UNAVAILABLE, costs the caller nothing.
            .layer(
                UseLimitLayer::single()
                    .return_on(Outcome::Exception)
                    .pending_revocations(&self.slots),
            )
            .named_layer(OrdersServer::new(Shop));

        // Whoever watches the service's health, or asks what it can do, has no token.
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

    /// Serves until `stop`, lets running calls end, and waits until their ends are written down.
    ///
    /// # Errors
    /// As [`routes`](Self::routes), and tonic's.
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
                // Or the trailers, one small write after another, wait for an acknowledgement.
                TcpIncoming::from(socket).with_nodelay(Some(true)),
                async {
                    // Dropped is told too.
                    let _ = told.await;
                },
            );
        let mut server = pin!(server);
        let ended = tokio::select! {
            ended = &mut server => Ok(ended),
            () = stop => {
                drop(tell);
                // Streams may be open for ever.
                timeout(GRACE, server).await
            }
        };
        if let Ok(ended) = ended {
            ended?;
        }
        // A store may never come back.
        let _ = timeout(WRITTEN_WITHIN, self.slots.idle()).await;
        Ok(Stopped {
            owed: self.slots.len(),
        })
    }
}

/// How it ended. Displayed, it is a line for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Calls that were cut off before their use was written down as spent or returned. It was
    /// claimed before the call, so it stays spent.
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
