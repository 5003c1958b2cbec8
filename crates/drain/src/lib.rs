//! The layer that lets HTTP/2 clients read an early response to an upload.
//!
//! A server that rejects an upload at its head, for a bad token or for its size, responds while the
//! client still sends. Over HTTP/2 hyper then resets the stream with `NO_ERROR` (RFC 9113 §8.1). A
//! client must not discard the response for that, but some do: curl 7.88 reports a failed transfer and
//! no status. [`DrainUploadLayer`] holds the head of such a response until it has read and dropped the
//! rest of the upload.
//!
//! ```
//! use std::time::Duration;
//! use axum::{Router, http::StatusCode, routing::post};
//! use tower_revoke_drain::DrainUploadLayer;
//!
//! let app: Router = Router::new()
//!     .route("/upload", post(async || StatusCode::UNAUTHORIZED))
//!     .layer(
//!         DrainUploadLayer::new()
//!             .max_bytes(16 << 20)
//!             .capacity(256 << 20)
//!             .timeout(Duration::from_secs(5)),
//!     );
//! ```

// A library never panics on what it is given.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::panic, clippy::string_slice)
)]

mod body;
mod budget;
mod future;
mod layer;
mod service;

pub use self::{
    body::DrainUploadBody, future::DrainUploadFuture, layer::DrainUploadLayer, service::DrainUpload,
};
