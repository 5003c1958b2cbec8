//! The layers of tower-revoke that end live responses and upgrades with their token.
//!
//! A call is checked when it begins. [`TokenLifetimeLayer`] ends responses that outlive their token,
//! as their protocol says, and [`TokenLifetime`] shows a handler when to end what no layer reaches: a
//! WebSocket, a tunnel.
//!
//! ```
//! use axum::{Router, response::sse::{Event, Sse}, routing::get};
//! use futures_util::{Stream, stream};
//! use tower_revoke_bearer::RequireBearerLayer;
//! use tower_revoke_core::TokenVerifier;
//! use tower_revoke_streams::TokenLifetimeLayer;
//!
//! fn app(tokens: impl TokenVerifier) -> Router {
//!     Router::new()
//!         .route("/events", get(events))
//!         .layer(TokenLifetimeLayer::new())
//!         .layer(RequireBearerLayer::new(tokens))
//! }
//!
//! async fn events() -> Sse<impl Stream<Item = Result<Event, axum::Error>>> {
//!     Sse::new(stream::pending())
//! }
//! ```

mod body;
mod error;
mod expiry;
#[cfg(feature = "axum-08")]
mod extract;
mod future;
mod layer;
mod lifetime;
mod request_body;
mod service;
mod settings;

pub use self::{
    body::TokenLifetimeBody,
    error::TokenEndedError,
    future::TokenLifetimeFuture,
    layer::TokenLifetimeLayer,
    lifetime::TokenLifetime,
    request_body::{RequestBodyLifetime, RequestBodyLifetimeLayer},
    service::TokenLifetimeService,
};
