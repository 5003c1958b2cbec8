//! The layers that keep the caller's `Authorization` header, and say what an upstream gets of it.
//!
//! # Inbound
//!
//! [`PreserveAuthorizationLayer`] stands outside of all that may touch the header, and keeps its
//! value as [`OriginalAuthorization`] in the request's extensions. In a proxy,
//! [`for_proxy`](PreserveAuthorizationLayer::for_proxy) also rejects requests that name the header,
//! `Cookie`, `Host` or `Content-…` in `Connection`. [`RejectAmbiguousLayer`] stands further out still: it rejects what the proxy and
//! an upstream may read differently.
//!
//! # Outbound
//!
//! [`OutboundAuthorizationLayer`] stands around the HTTP client of a proxy, next to the connection,
//! and decides by upstream what becomes of the header. No upstream gets it that is not named.
//!
//! ```
//! use tower_revoke_preserve::{Outbound, OutboundAuthorizationLayer};
//!
//! # fn layer(token: &str) -> Result<OutboundAuthorizationLayer, tower_revoke_preserve::ConfigError> {
//! let outbound = OutboundAuthorizationLayer::strip()
//!     .upstream("orders.internal", Outbound::keep())?
//!     .upstream("legacy.internal:8080", Outbound::rename("x-forwarded-authorization")?)?
//!     .upstream("id.internal", Outbound::client_credentials("id", "secret"))?
//!     .upstream("stock.internal", Outbound::bearer(token)?)?;
//! # Ok(outbound) }
//! # layer("abc").expect("valid");
//! ```
//!
//! [`HopByHopLayer`] stands outside of it, and takes off what belongs to one connection.

mod ambiguous;
mod connection;
mod hop_by_hop;
mod inbound;
mod names;
mod original;
mod outbound;
mod proxy;

pub use self::{
    ambiguous::{RejectAmbiguous, RejectAmbiguousLayer},
    hop_by_hop::{HopByHop, HopByHopFuture, HopByHopLayer},
    inbound::{PreserveAuthorization, PreserveAuthorizationLayer},
    original::OriginalAuthorization,
    outbound::{
        ConfigError, Outbound, OutboundAuthorization, OutboundAuthorizationLayer, OutboundBody,
    },
    proxy::{PreserveForProxy, PreserveForProxyLayer},
};
