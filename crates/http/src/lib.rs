//! HTTP clients that fetch keys and call authorization servers.
//!
//! tower-revoke takes any tower service as its [`HttpClient`](tower_revoke_core::HttpClient). These
//! are two that keep its contract: [`HttpsClient`], on hyper and rustls, and, with the feature
//! `reqwest`, `ReqwestClient`. Neither follows a redirect or retries a request.
//!
//! # Examples
//! Timeouts, proxies and tracing are layers, such as those of tower-http:
//!
//! ```
//! use std::time::Duration;
//!
//! use http::StatusCode;
//! use tower::ServiceBuilder;
//! use tower_http::timeout::TimeoutLayer;
//! use tower_revoke_core::HttpClient;
//! use tower_revoke_http::HttpsClient;
//!
//! fn http_client() -> Result<impl HttpClient, Box<dyn std::error::Error>> {
//!     let timeout = Duration::from_secs(2);
//!     Ok(ServiceBuilder::new()
//!         .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, timeout))
//!         .service(HttpsClient::new()?))
//! }
//! # http_client()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// A library never panics on what it is given.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::panic, clippy::string_slice)
)]

mod https;
#[cfg(feature = "reqwest")]
mod reqwest_client;

use bytes::Bytes;
use http::Response;
use http_body_util::combinators::UnsyncBoxBody;
use tower_revoke_core::{BoxError, BoxFuture};

pub use self::https::{HttpsClient, HttpsClientError};
#[cfg(feature = "reqwest")]
pub use self::reqwest_client::{ReqwestClient, ReqwestClientError};

/// The body of a response of the clients of this crate.
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// The future of the clients of this crate.
pub type ResponseFuture = BoxFuture<'static, Result<Response<ResponseBody>, BoxError>>;
