//! RFC 7009 for tower-revoke: the authorization server is told which tokens have ended here.
//!
//! ```
//! use std::time::Duration;
//! use tower_revoke_core::Endpoint;
//! use tower_revoke_http::HttpsClient;
//! use tower_revoke_oauth::RevocationClient;
//! use tower_revoke_spend::RevokeLayer;
//!
//! # async fn run(secret: String) -> Result<(), Box<dyn std::error::Error>> {
//! let server = RevocationClient::at(Endpoint::new("https://id.example.com/revoke")?)
//!     .client_credentials("orders", secret)
//!     .http_client(HttpsClient::new()?)
//!     .build()?;
//! let one_time = RevokeLayer::single_use().also_at(server.clone());
//!
//! // … serve until told to stop, then:
//! let told = server.shutdown(Duration::from_secs(10)).await;
//! if !told.is_complete() {
//!     tracing::error!(?told, "the authorization server was not told of every token");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! * **No request waits for it.** A place in a bounded queue is taken before the inner service is
//!   called, and free again if the token lives on. Without a place the call is rejected, so that
//!   nothing is lost silently. A token takes one place, however often it is used, and no caller
//!   takes more than half of them.
//! * **At least once.** What was accepted is tried until the server says yes, says no for good, or
//!   [`retry_timeout`](RevocationClientBuilder::retry_timeout) has passed. It may be told twice,
//!   which RFC 7009 §2.2 makes harmless.
//! * **The token has ended here all the same**, whatever the server says: its answer lifts nothing.
//! * **A server that fails is spared.** After failures of two tokens in a row, one request at a
//!   time is made, with growing pauses, until one succeeds.
//! * **No token and no secret is logged**, nor anything of an answer but its status and its error
//!   code. Debug output and errors show neither.
//!
//! # What an answer means
//!
//! | answer | what follows |
//! |---|---|
//! | any 2xx, whatever its type and body | the server was told |
//! | 400 | rejected for good: counted, logged once a minute, never tried again. So answers a server that revokes no JWTs (`unsupported_token_type`) |
//! | 401, 403, and 400 with `invalid_client` | an error in the log; tried every 30 s, and at once after [`set_client_credentials`](RevocationClient::set_client_credentials) |
//! | 3xx (none is followed) and other 4xx | an error in the log; tried every 30 s; a discovered endpoint is looked up again |
//! | 429, 503 | tried after `Retry-After` (5 min at most) and a pause |
//! | 408, 425, other 5xx, no answer in time, no connection | tried after a pause |
//! | more than 64 KiB | an error in the log; tried every 30 s |
//!
//! A pause is random, between none and 1 s at first; the upper end doubles up to 60 s.
//!
//! # What is not covered
//!
//! The queue is in memory. **A process that crashes, or ends without
//! [`drain`](RevocationClient::drain), loses all that is still queued**
//! ([`RevocationClientStats::queued`]): the server is not told of these tokens, and other services that ask
//! only the server take them until they expire. On the revocation list they stand all the same. A
//! tokio runtime that ends while the process goes on loses nothing: the next use in another runtime
//! goes on with the queue.
//!
//! The secrets and tokens that are kept here are copies of their own, which are erased from memory
//! when they are dropped. Copies that are written into requests belong to the HTTP client.

mod answer;
mod builder;
mod credentials;
mod place;
mod queue;
mod report;
mod request;
mod server;
mod stats;

pub use self::{
    answer::Failure,
    builder::{RevocationClientBuilder, RevocationClientError},
    credentials::CredentialsError,
    server::RevocationClient,
    stats::{RevocationClientStats, ShutdownReport},
};
