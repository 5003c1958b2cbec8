//! Why nothing can be built or issued.

use std::{io, time::Duration};

use tower_revoke_core::{ClaimsError, Reason, Rejection, StoreError};

/// Why [`IssuedTokens`](crate::IssuedTokens) can't be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuedTokensError {
    /// The name of the issuer is empty.
    #[error("the name of the issuer is empty")]
    MissingIssuer,
    /// The prefix is too long, or has characters that no bearer token may have.
    #[error(
        "the prefix {0:?} is not usable; it may have at most 32 letters, digits, `-`, `.`, `_` and `~`"
    )]
    Prefix(String),
    /// The store keeps no issued tokens.
    #[error("the store keeps no issued tokens")]
    Unsupported,
}

/// Why a token was not issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The store did not keep it. An unused row may remain.
    #[error("the store did not keep the token")]
    Store(#[source] StoreError),
    /// A scope is empty, or has a character that no scope may have (RFC 6749 §3.3).
    #[error("{0:?} is not a scope")]
    Scope(String),
    /// A further claim has the name of one that the token's fields determine.
    #[error("the claim `{0}` has a setter of its own")]
    Reserved(String),
    /// The caller came with a ticket, which is good for one request and not for another ticket.
    #[error("a ticket can't be had for a ticket")]
    ForTicket,
    /// Services could not read the claims.
    #[error("the claims can't be read")]
    Claims(#[source] ClaimsError),
    /// The system has no random bytes.
    #[error("the system has no random bytes")]
    NoRandomness(#[source] io::Error),
}

/// Responds with 503 if another call may succeed, with 401 to a ticket, and with 500 if the program asks
/// for a token that can't be.
impl From<IssueError> for Rejection {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Store(error) => error.into(),
            error @ IssueError::NoRandomness(_) => Self::new(Reason::Unavailable).source(error),
            error @ IssueError::ForTicket => Self::new(Reason::WrongType).source(error),
            error => Self::new(Reason::Misconfigured).source(error),
        }
    }
}

/// Why an [`OpaqueTokenVerifier`](crate::OpaqueTokenVerifier) can't be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpaqueTokenVerifierError {
    /// Neither `.audience(…)` nor `.any_audience()` was called, or both, or an audience is empty.
    #[error("the audience is missing; set it with .audience(…), or call .any_audience()")]
    MissingAudience,
    /// Neither `.revocations(…)` nor `.without_revocations()` was called.
    #[error(
        "the revocation list is missing; set it with .revocations(…), or call .without_revocations()"
    )]
    MissingRevocations,
    /// The leeway exceeds the time for which revocations are kept beyond a token's expiry.
    #[error("the leeway is {leeway:?}; it must be at most {max:?}")]
    LeewayTooLong {
        /// The leeway.
        leeway: Duration,
        /// The longest one, [`retention::MARGIN`](tower_revoke_core::retention::MARGIN).
        max: Duration,
    },
    /// The system has no random bytes for the secret of the cache.
    #[error("the system has no random bytes")]
    NoRandomness(#[source] io::Error),
}
