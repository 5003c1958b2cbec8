//! The layers that preserve the caller's `Authorization` header, and decide what an upstream gets of it.
//!
//! # Inbound
//!
//! [`PreserveAuthorizationLayer`] goes outside of all layers that may touch the header, and keeps its
//! value as [`OriginalAuthorization`] in the request's extensions. In a proxy,
//! [`for_proxy`](PreserveAuthorizationLayer::for_proxy) also rejects requests that name the header,
//! `Cookie`, `Host` or `Content-…` in `Connection`. [`RejectAmbiguousLayer`] goes further out still: it
//! rejects what the proxy and an upstream may read differently.
//!
//! # Outbound
//!
//! [`OutboundAuthorizationLayer`] goes around the HTTP client of a proxy, next to the connection, and
//! decides by upstream what becomes of the header. Only named upstreams get it.
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
//! [`HopByHopLayer`] goes outside of it, and removes what belongs to one connection.

// A library never panics on what it is given.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::panic, clippy::string_slice)
)]

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
