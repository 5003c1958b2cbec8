//! Clients of an authorization server: [`RevocationClient`] revokes tokens there too (RFC 7009), once
//! they are revoked here; [`IntrospectionVerifier`] asks it about tokens that only it can read
//! (RFC 7662). Both authenticate by `Basic`, in the form, or by a [`SigningKey`] (RFC 7523).
//!
//! What follows is about `RevocationClient`; the verifier's contract is with its type.
//!
//! # Guarantees
//!
//! * **No request waits for the authorization server.** A slot of a bounded queue is reserved before
//!   the inner service is called, and freed if the token is not revoked. Without a slot the call is
//!   rejected, so that no revocation is lost silently. A token takes one slot, however often it is
//!   used, and no holder takes more than half of them.
//! * **At-least-once delivery.** A queued token is retried until the server revokes it, rejects it,
//!   the token has expired or [`retry_timeout`](RevocationClientBuilder::retry_timeout) has passed. The
//!   server may be told twice, which RFC 7009 §2.2 makes harmless.
//! * **A crash loses nothing, with an [`outbox`](RevocationClientBuilder::outbox).** A response that
//!   ends its token is completed once the list and the outbox have that on disk. After a restart the
//!   server is told.
//! * **The token stays revoked here**, whatever the server answers.
//! * **Backpressure.** After failures of two tokens in a row, one request at a time is made, with
//!   growing pauses, until one succeeds.
//! * **No token and no secret is logged**, and of a response nothing but its status and its
//!   registered error code. Neither `Debug` output nor errors show them.
//!
//! # How responses are understood
//!
//! | response | what follows |
//! |---|---|
//! | any 2xx, whatever its type and body | the token is revoked |
//! | 400 | rejected: counted, logged once a minute, never retried. A server that revokes no JWTs answers so (`unsupported_token_type`) |
//! | 401, 403, and 400 with `invalid_client` | logged as an error; retried every 30 s, and at once after [`set_client_credentials`](RevocationClient::set_client_credentials) |
//! | 3xx (which is not followed) and any other 4xx | logged as an error; retried every 30 s; a discovered endpoint is looked up again |
//! | 429, 503 | retried after `Retry-After` (5 min at most) and a pause |
//! | 408, 425, any other 5xx, a timeout, no connection | retried after a pause |
//! | more than 64 KiB | logged as an error; retried every 30 s |
//!
//! A pause is random, between 0 and 1 s at first; the upper bound doubles up to 60 s.
//!
//! # What is not covered
//!
//! Without an outbox the queue is in memory only. **A process that crashes, or ends without
//! [`shutdown`](RevocationClient::shutdown), loses what is
//! [`queued`](RevocationClientStats::queued)**: services that ask only the authorization server
//! accept these tokens until they expire. In the revocation list they stay revoked. A tokio runtime
//! that ends while the process goes on loses nothing: the next call in another runtime goes on with
//! the queue.
//!
//! With an outbox a crash can lose what no response has told a client yet: a token whose last use was
//! taken and whose call was still under way is spent in the list, and the server is not told. What is
//! owed survives with the files only, and is sent only by a process that has them and the keys.
//!
//! The secrets and tokens in the queue are copies of its own, which are erased from memory when they
//! are dropped. Copies in requests belong to the HTTP client.

// A library never panics on what it is given.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::panic, clippy::string_slice)
)]

mod assertion;
mod bounds;
mod builder;
mod client;
mod credentials;
mod endpoint;
mod health;
mod http_client;
mod introspection;
mod log;
mod outbox;
mod queue;
mod request;
mod response;
mod stats;
mod worker;

pub use self::{
    assertion::{SigningAlgorithm, SigningKey, SigningKeyError},
    bounds::SettingError,
    builder::{RevocationClientBuilder, RevocationClientError},
    client::RevocationClient,
    credentials::CredentialsError,
    introspection::{
        IntrospectionError, IntrospectionVerifier, IntrospectionVerifierBuilder,
        IntrospectionVerifierError,
    },
    response::DeliveryFailure,
    stats::{RevocationClientStats, ShutdownReport},
};
