//! Compile-time tests of auto traits.

use std::{fmt::Debug, future::Ready};

use http_body::Body;
use static_assertions::assert_impl_all;
use tower_revoke_streams::{
    RequestBodyLifetime, RequestBodyLifetimeLayer, TokenEndedError, TokenLifetime,
    TokenLifetimeBody, TokenLifetimeFuture, TokenLifetimeLayer, TokenLifetimeService,
};

assert_impl_all!(TokenLifetimeLayer: Clone, Send, Sync, Debug, Default);
assert_impl_all!(TokenLifetimeService<()>: Clone, Send, Sync, Debug);
assert_impl_all!(TokenLifetimeFuture<Ready<()>>: Send, Sync, Debug);
assert_impl_all!(TokenLifetimeBody<axum::body::Body>: Body, Send, Debug);
assert_impl_all!(RequestBodyLifetimeLayer: Clone, Send, Sync, Debug);
assert_impl_all!(RequestBodyLifetime<()>: Clone, Send, Sync, Debug);
assert_impl_all!(TokenLifetime: Send, Sync, Debug, Unpin);
assert_impl_all!(TokenEndedError: std::error::Error, Send, Sync);
