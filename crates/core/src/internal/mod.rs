//! What the crates of tower-revoke need of each other.
//!
//! Hidden from the docs, and not covered by semantic versioning: caches beside a token, digests that
//! are computed once, steps that a layer takes one by one. A verifier, a list, a store or a layer of
//! somebody else's needs none of it.

mod authorization;
mod cached_status;
mod filter;
mod issuer_digests;
mod log_limit;
pub mod merge;
mod prepared_use;
mod token_cookies;

pub use self::{
    authorization::{basic_authorization, bearer_authorization},
    cached_status::CachedStatus,
    filter::{Filter, Predicate},
    issuer_digests::IssuerDigests,
    log_limit::{LogLimit, OutageLog},
    prepared_use::{PreparedUse, list_of},
    token_cookies::TokenCookies,
};
pub use crate::{
    bearer_context::{HeadGuard, head_guard},
    path::decode_unreserved,
    rejection::{log_not_enforced, respond},
    token::{check_characters, read_unchecked},
    verified_token::{cached_status, note, verified_token_of},
};

/// What the panic of a future says that is polled after it has completed.
pub const POLLED_AFTER_COMPLETION: &str = "a future is not polled after it has completed";
