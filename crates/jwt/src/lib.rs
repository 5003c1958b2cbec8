//! [`JwtVerifier`]: verifies JWTs that are presented as bearer tokens.
//!
//! # What is checked, in order
//! 1. **Length**: at most 8,192 bytes.
//! 2. **Form**: three parts (RFC 7515 §7.1), each in base64url without padding and without non-zero
//!    trailing bits, so that a token has one spelling.
//! 3. **Header**: a JSON object with unique names. `alg` is a known algorithm; `none` is not one
//!    (RFC 8725 §3.2). `crit` and `b64` are rejected. `jku`, `jwk`, `x5u` and `x5c` are ignored
//!    (§3.10).
//! 4. **Issuer**: `iss` is exactly one of the configured issuers, or one that an issuer resolver trusts.
//!    It is not verified yet, and only selects the keys, algorithms and rules (§3.8).
//! 5. **Algorithm and type**: `alg` is on the issuer's allow-list (§3.1). `typ` is missing, `JWT`,
//!    `JOSE` or `at+jwt`; with [`access_tokens_only`](JwtVerifierBuilder::access_tokens_only) it is
//!    `at+jwt` (RFC 9068 §4). Other kinds of token are rejected (RFC 8725 §3.12).
//! 6. **Key**: the issuer's keys with this `kid`; those without a `kid` if no key has it; all of them
//!    if the token has no `kid`; never more than eight. Each key has one algorithm, and only keys of
//!    the token's algorithm are tried.
//! 7. **Signature**: by aws-lc-rs, with a key that is parsed once.
//! 8. **Claims**: a JSON object with unique names and registered claims of the right type (RFC 7519
//!    §4). Required claims are present, and have a value that is accepted where
//!    [some](JwtVerifierBuilder::claim) are set. `aud` has one of the configured audiences (§4.1.3). `exp` is
//!    present and in the future (§4.1.4); `nbf` (§4.1.5) and `iat` are not; all with 30 s of leeway.
//!    The life of the token is not longer than the list's
//!    [`max_token_life`](tower_revoke_core::Revocations::max_token_life). There is no `cnf`: a token
//!    that is bound to a key is not a bearer token (RFC 9449 §7.2). The claims that
//!    [name](JwtVerifierBuilder::claim_names) the client, session, grant and scopes are of the right
//!    type and don't contradict each other.
//! 9. **Revocation list**: the token is neither revoked nor spent. If the list can't answer, the token
//!    is rejected with 503.
//!
//! A token that has passed 1 to 8 is cached by a keyed hash; the next time only its times, its key and
//! the list are checked. A withdrawn key or a revoked token is rejected on the next call. A token that
//! is rejected in 1 to 8 leaves nothing behind.
//!
//! # Keys over the network
//! With the feature `remote` keys are fetched, from a URL (`jwks_url`) or from the one in the issuer's
//! metadata (`discover`), by a tokio task that starts with the first token. Without it the verifier
//! needs no runtime. The feature `https` brings a client that fetches them.
//!
//! # Issuers that are not known at build time
//! An [`IssuerResolver`] decides who is trusted, such as the tenants of customers that are in a database.
//! [`IssuerTemplate`] is a URL in which only the tenant varies.
//!
//! # What is not covered
//! Encrypted tokens (five parts), ES512 and Ed448, and tokens that are bound to a key (DPoP, mutual
//! TLS). They are rejected.

// A library never panics on what it is given.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::panic, clippy::string_slice)
)]

mod algorithm;
mod backend;
mod builder;
mod cache;
mod compact;
mod error;
#[cfg(feature = "remote")]
mod health;
mod issuers;
mod keys;
#[cfg(feature = "remote")]
mod resolver;
mod rules;
#[cfg(all(feature = "metrics", feature = "remote"))]
mod series;
#[cfg(test)]
mod tests;
mod verifier;

#[doc(hidden)]
pub use self::builder::AllIssuers;
#[cfg(feature = "remote")]
#[doc(hidden)]
pub use self::builder::OneIssuer;
pub use self::{
    algorithm::Algorithm,
    builder::JwtVerifierBuilder,
    error::{IssuerError, JwtVerifierError, KeySetError},
    verifier::JwtVerifier,
};
#[cfg(feature = "remote")]
pub use self::{
    builder::TrustedIssuer,
    keys::remote::{KeyFetchError, KeyStats, KeysUnavailable},
    resolver::{
        IssuerResolver, IssuerStats, IssuerTemplate, IssuerTemplateError, TemplateResolver,
    },
};
