//! Items shared between the crates of tower-revoke.
//!
//! They are hidden from the docs and not covered by semantic versioning. Third-party verifiers,
//! lists, stores and layers need none of them.

mod audiences;
mod audit;
mod authorization;
mod cached_status;
mod check;
mod filter;
mod issued;
mod issuer_digests;
mod key_stamp;
mod list_members;
mod log_limit;
pub mod merge;
mod metadata_response;
mod metadata_source;
mod observed_streams;
mod prepared_use;
pub mod signed_time;
mod token_cache;
mod token_cookies;

pub use self::{
    audiences::audiences_or_any,
    audit::Audit,
    authorization::{basic_authorization, bearer_authorization},
    cached_status::CachedStatus,
    check::{caller, checked_caller, known_status, window},
    filter::{Filter, Predicate},
    issued::issued_tokens_of,
    issuer_digests::IssuerDigests,
    key_stamp::{KeyStamp, slot_of},
    list_members::list_members,
    log_limit::{LogLimit, OutageLog},
    metadata_response::metadata_response,
    metadata_source::MetadataSource,
    observed_streams::{
        ObservedStream, StreamObserver, observe_streams, stream_observer, take_stream_observer,
    },
    prepared_use::{PreparedUse, list_of},
    token_cache::{CacheKey, TokenCache},
    token_cookies::TokenCookies,
};
pub use crate::{
    bearer_context::{ForwardingForbidden, HeadGuard, head_guard, observed_context},
    claims::claims_without_names,
    path::decode_unreserved,
    rejection::{listed_token, log_admitted, log_observed, quoted_string, respond},
    revocation::WHENEVER_ISSUED,
    token::{check_characters, read_unchecked},
    verified_token::{
        cached_status, concerned_since, further_keys, key_stamp, note, verified_token_of,
    },
};

/// The panic message of a future that is polled after it has completed.
pub const POLLED_AFTER_COMPLETION: &str = "a future is not polled after it has completed";
