//! Layers that authenticate requests by bearer token and require scopes or claims.
//!
//! [`RequireBearerLayer`] reads the token from a request, has a
//! [`TokenVerifier`](tower_revoke_core::TokenVerifier) check it, and leaves
//! [`Authenticated`](tower_revoke_core::Authenticated) in the request's extensions. It rejects
//! requests without a valid token as RFC 6750 §3 specifies, and gRPC calls with a gRPC status.
//! [`RequireClaimsLayer`] requires scopes or claims on a route.
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
//! Put the layer outside of everything that acts for the caller, and inside of everything that must
//! also see rejections:
//!
//! - **inside of `CorsLayer`**: a preflight carries no credentials (Fetch, CORS protocol), so an
//!   outer layer must answer it. A browser can read a rejection only if it has CORS headers;
//! - **inside of tracing, metrics, `PreserveAuthorizationLayer` and other layers that observe or
//!   preserve**: they find the typed [`Rejection`](tower_revoke_core::Rejection) in the response's
//!   extensions;
//! - **outside of `UseLimitLayer`, `RevokeAfterResponseLayer` and [`RequireClaimsLayer`]**, which
//!   need its result;
//! - **outside of the router** if the token may be in the [query](RequireBearerLayer::query).
//!
//! # What a request carries afterwards
//!
//! | extension | when |
//! |---|---|
//! | [`Authenticated`](tower_revoke_core::Authenticated) | the token is valid and meets the layer's requirements |
//! | [`BearerContext`](tower_revoke_core::BearerContext), which `BearerContext::of` finds | always; within `Authenticated` if that is present |
//!
//! If an outer layer has put an `IdentitySlot` there, the layer fills it with the verified token, including
//! one that is rejected for its scopes, and never with an unverified one. Of several, the first stays. A
//! request that passes with a caller no longer carries the slot.
//!
//! If bearer layers are nested, the inner one decides: it removes what the outer one found.

// A library never panics on what it is given.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::panic, clippy::string_slice)
)]

mod candidates;
mod claims;
mod future;
mod layer;
mod metadata;
mod policy;
mod requirement;
mod service;
mod source;

pub use self::{
    claims::{RequireClaims, RequireClaimsLayer},
    future::RequireBearerFuture,
    layer::RequireBearerLayer,
    metadata::{ProtectedResourceMetadata, ResourceError},
    policy::OnListError,
    service::RequireBearer,
};
