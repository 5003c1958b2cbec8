//! Opaque bearer tokens: [`IssuedTokens`] issues them, [`OpaqueTokenVerifier`] verifies them for
//! `RequireBearerLayer`. [`Tickets`] stand for a token, of whatever kind, in a URL.
//!
//! # Examples
//! ```
//! use std::time::Duration;
//!
//! use tower_revoke_core::{BearerToken, Reason, Revocation, RevocationKey, TokenVerifier};
//! use tower_revoke_issued::{IssuedTokens, NewToken, OpaqueTokenVerifier};
//! use tower_revoke_list::{MemoryStore, RevocationList};
//!
//! const ISSUER: &str = "https://id.example.com";
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let list = RevocationList::new(store.clone());
//! let tokens = IssuedTokens::builder(ISSUER, store).prefix("acme_").build()?;
//!
//! // At the authorization server:
//! let hour = Duration::from_secs(3_600);
//! let new = NewToken::access("shop", hour).subject("ann").audience("orders").scope("orders:read");
//! let token = tokens.issue(new).await?;
//! assert!(token.as_str().starts_with("acme_"));
//!
//! // In a service:
//! let verifier = OpaqueTokenVerifier::builder(tokens).audience("orders").revocations(list.clone());
//! let verifier = verifier.build()?;
//! let presented = BearerToken::new(token.as_str())?;
//! let caller = verifier.verify(&presented).await?;
//! assert_eq!(caller.subject(), Some("ann"));
//! assert!(caller.has_scope("orders:read"));
//!
//! // Ann logs out everywhere.
//! let ann = RevocationKey::subject(ISSUER, "ann");
//! list.revoke(Revocation::all_of(ann)?).await?;
//! let rejected = verifier.verify(&presented).await.unwrap_err();
//! assert_eq!(rejected.reason(), Reason::Revoked);
//! # Ok(()) }
//! ```
//!
//! # What is checked, in order
//! 1. The form: the prefix, and 43 characters after it. Anything else is rejected before the store is
//!    asked.
//! 2. The store, unless the token is cached: the SHA-256 of the whole token has a row of this issuer.
//! 3. The kind, the expiry and the audience.
//! 4. The revocation list, on every request: by token, and by rules over the issuer, the subject, the
//!    client, the session, the grant and claims of your choice.
//!
//! # Guarantees
//! * **No token is kept.** The store has its SHA-256, the cache a keyed hash of 128 bits.
//! * **A token that is returned is stored**, durably.
//! * **A store that is down is a 503.** Tokens that were seen before work on, for as long as the list
//!   knows their status.
//!
//! # What is not covered
//! * A flood of made-up tokens asks the store once for each: put a rate limit in front.

// A library never panics on what it is given.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::panic, clippy::string_slice)
)]

mod builder;
mod error;
mod new_token;
mod tickets;
mod tokens;
mod verifier;

pub use self::{
    builder::OpaqueTokenVerifierBuilder,
    error::{IssueError, IssuedTokensError, OpaqueTokenVerifierError},
    new_token::{NewToken, OpaqueToken},
    tickets::{IssueTicket, TicketVerifier, Tickets, TicketsBuilder, TicketsError},
    tokens::{IssuedTokens, IssuedTokensBuilder},
    verifier::OpaqueTokenVerifier,
};
