//! The layer that takes a bearer token in, and the one that asks what it grants.
//!
//! [`RequireBearerLayer`] reads the token from a request, has a
//! [`TokenVerifier`](tower_revoke_core::TokenVerifier) check it, and leaves
//! [`Authenticated`](tower_revoke_core::Authenticated) in the request's extensions. Requests
//! without a good token are rejected as RFC 6750 §3 says, gRPC calls with a gRPC status.
//! [`RequireClaimsLayer`] stands on a route and asks for scopes or claims.
//!
//! ```
//! use axum::{Router, routing::get};
//! use http::{Request, StatusCode};
//! use serde_json::json;
//! use tower::ServiceExt;
//! use tower_revoke_bearer::{RequireBearerLayer, RequireClaimsLayer};
//! use tower_revoke_core::{Authenticated, BearerToken, Claims, Reason, Rejection, TokenVerifier};
//! # use {std::{sync::Arc, time::Duration}, tower_revoke_core::{TokenId, VerifiedToken}};
//!
//! /// Stands in for `JwtVerifier` of tower-revoke-jwt.
//! struct Tokens;
//!
//! impl TokenVerifier for Tokens {
//!     async fn verify(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
//!         match token.as_str() {
//!             "anns" => Ok(caller(json!({ "sub": "ann", "scope": "orders:read" }))),
//!             _ => Err(Reason::BadSignature.into()),
//!         }
//!     }
//! }
//! # fn caller(claims: serde_json::Value) -> Authenticated {
//! #     let claims = Claims::from_value(claims).expect("claims");
//! #     let token = VerifiedToken::new(TokenId::of_jwt("", "1"), claims, Duration::ZERO);
//! #     Authenticated::new(Arc::new(token))
//! # }
//!
//! async fn orders(caller: Authenticated) -> String {
//!     format!("orders of {}", caller.subject().unwrap_or("nobody"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let write = RequireClaimsLayer::scope("orders:write");
//! let app: Router = Router::new()
//!     .route("/orders", get(orders).post(orders).layer(write.clone()))
//!     .route("/mine", get(orders))
//!     .layer(RequireBearerLayer::new(Tokens));
//!
//! let call = |path: &str| {
//!     let request = Request::get(path).header("authorization", "Bearer anns");
//!     app.clone().oneshot(request.body(axum::body::Body::empty()).expect("a request"))
//! };
//! assert_eq!(call("/mine").await.expect("an answer").status(), StatusCode::OK);
//! let rejected = call("/orders").await.expect("an answer");
//! assert_eq!(rejected.status(), StatusCode::FORBIDDEN);
//! assert!(
//!     rejected.headers()["www-authenticate"].to_str().expect("text")
//!         .ends_with(r#"scope="orders:write""#),
//! );
//! # }
//! ```
//!
//! # Where to put it
//!
//! Outside of everything that acts for the caller, inside of everything that must also see
//! rejections:
//!
//! - **inside of `CorsLayer`**: a preflight carries no credentials (Fetch, CORS protocol), so it
//!   must be answered further out; and a browser can read a rejection only with CORS headers on it;
//! - **inside of tracing, metrics, `PreserveAuthorizationLayer` and whatever else watches or
//!   keeps**: they see the rejection, typed, as
//!   [`Rejection`](tower_revoke_core::Rejection) in the response's extensions;
//! - **outside of `UseLimitLayer`, `RevokeAfterResponseLayer` and [`RequireClaimsLayer`]**, which need what it finds out;
//! - **outside of the router** if the token may come in the [query](RequireBearerLayer::query).
//!
//! # What a request carries afterwards
//!
//! | extension | when |
//! |---|---|
//! | [`Authenticated`](tower_revoke_core::Authenticated) | the token is good and meets what the layer asks |
//! | [`BearerContext`](tower_revoke_core::BearerContext), which `BearerContext::of` finds | always, within `Authenticated` if there is one |
//!
//! An `IdentitySlot` that an outer layer put there is filled with every verified token, also with
//! one that is rejected for its scopes, and never with another. Where two bearer layers stand one in
//! the other, the inner one's word counts: it takes away what the outer one found.

mod candidates;
mod claims;
mod future;
mod layer;
mod policy;
mod requirement;
mod service;
mod source;

pub use self::{
    claims::{RequireClaims, RequireClaimsLayer},
    future::RequireBearerFuture,
    layer::RequireBearerLayer,
    service::RequireBearer,
};
