//! The types that all parts of tower-revoke share, and the ports between these parts.
//!
//! Nothing here does I/O or needs a runtime. Most people want the `tower-revoke` crate, which
//! re-exports what an application names; this crate is for those who write a [`Store`], a
//! [`TokenVerifier`] or a layer of their own.
//!
//! | to | look at |
//! |---|---|
//! | keep revocations somewhere new | [`Store`] |
//! | check a new kind of token | [`TokenVerifier`], [`VerifiedToken`] |
//! | read the caller of a request | [`Authenticated`] |
//! | learn why a request was rejected | [`Rejection`], in the response's extensions |
//! | reject a request in a handler | [`RejectionFormat::of`] |
//! | know how long something is kept | [`retention`] |
//! | act on the end of a response | [`end`] |
//! | apply a rule to a path | [`read_request_path`] |

mod authenticated;
mod bearer_context;
mod claims;
mod client;
mod discovery;
pub mod end;
mod endpoint;
#[cfg(feature = "axum-08")]
mod extract;
mod health;
mod id;
mod identity_slot;
#[doc(hidden)]
pub mod internal;
mod key;
mod locality;
mod outbox;
mod outcome;
mod path;
mod ready_error;
mod rejection;
mod remote;
pub mod request_timeout;
pub mod retention;
mod revocation;
mod revocations;
mod store;
mod time;
mod token;
mod token_copy;
mod token_watch;
mod use_permit;
mod verified_token;
mod verifier;
mod verifier_set;

/// Any error, as tower and hyper pass it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[cfg(feature = "axum-08")]
pub use self::extract::ExtractRejection;
pub use self::{
    authenticated::Authenticated,
    bearer_context::BearerContext,
    claims::{ClaimNames, Claims, ClaimsError},
    client::{HttpClient, HttpClientError},
    discovery::{DiscoveryError, IssuerMetadata, MetadataFetchError},
    endpoint::{Endpoint, EndpointError},
    health::{HealthCheck, HealthSource, HealthStatus},
    id::{TokenHash, TokenId, UseId},
    identity_slot::IdentitySlot,
    key::{KeyDigest, RevocationKey},
    outbox::{Outbox, OutboxError, OwedRevocation},
    outcome::{ByStatus, Classify, Outcome},
    path::{PathAllowances, PathAmbiguity, read_path, read_path_as_written, read_request_path},
    ready_error::ReadyError,
    rejection::{
        GrpcRejections, Reason, Rejection, RejectionBody, RejectionFormat, RejectionFuture,
    },
    remote::{QueueFull, RemoteRevocation, RemoteSlot},
    revocation::{Revocation, RevocationError, RevocationKind},
    revocations::{Revocations, TokenStatus},
    store::{
        Change, ChangeFeed, Changes, Cursor, IssuedToken, IssuedTokenPage, IssuedTokenStore, Lift,
        LiftRecord, Listed, RecordFilter, RecordPage, Records, RevocationRecord, Store, StoreError,
        TokenKind, Use, UseOutcome,
    },
    time::{Clock, ManualClock, UnixTime},
    token::{BearerToken, MalformedToken},
    token_copy::TokenCopy,
    token_watch::{TokenEnd, WatchToken},
    use_permit::{UsePermit, UsePermitError},
    verified_token::VerifiedToken,
    verifier::TokenVerifier,
    verifier_set::{VerifierSet, VerifierSetBuilder, VerifierSetError},
};
