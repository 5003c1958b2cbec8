//! [`JwtVerifier`]: takes a bearer token, and says who calls, or why not.
//!
//! # What is checked, in order
//! 1. **Length**: at most 8,192 bytes.
//! 2. **Form**: three parts (RFC 7515 §7.1), each in base64url without padding and without bits
//!    that carry nothing, so that a token has one spelling.
//! 3. **Header**: a JSON object in which no name stands twice. `alg` is one that is known here;
//!    `none` is not (RFC 8725 §3.2). `crit` and `b64` are rejected. `jku`, `jwk`, `x5u` and `x5c`
//!    are not listened to (§3.10).
//! 4. **Issuer**: `iss` is exactly one of those that were named. Nobody has verified it yet: it only
//!    selects whose keys, algorithms and rules are meant (§3.8).
//! 5. **Algorithm and type**: `alg` is on the issuer's allow-list (§3.1). `typ` is absent or says no
//!    more than "JWT", or is `at+jwt`; with
//!    [`access_tokens_only`](JwtVerifierBuilder::access_tokens_only) it is `at+jwt` (RFC 9068 §4).
//!    Other kinds of token are rejected (RFC 8725 §3.12).
//! 6. **Key**: the issuer's key with this `kid`, and with it each other one of the same `kid`;
//!    those without a `kid` if there is none; all of the issuer's if the token names none; never
//!    more than eight. Each has one algorithm, and only those of the token's are tried.
//! 7. **Signature**, by aws-lc-rs, with a key that was parsed when it was loaded.
//! 8. **Claims**: a JSON object in which no name stands twice, registered claims of the right type
//!    (RFC 7519 §4). Those that are required are there. `aud` names us (§4.1.3). `exp` is there and
//!    strictly after now (§4.1.4), `nbf` is not after now (§4.1.5), and neither is `iat`, all three
//!    with 30 seconds of leeway. The life is no longer than the list's
//!    [`max_token_life`](tower_revoke_core::Revocations::max_token_life). There is no `cnf`: a token that is
//!    bound to a key is nothing as a bearer token (RFC 9449 §7.2).
//! 9. **Revocation list**: the token is not revoked, no rule concerns it, and its uses are not gone.
//!    What the list can't answer is rejected with 503.
//!
//! A token that passed 1 to 8 is kept by a keyed hash, so that the next time only its times, its
//! key and the list are looked at. A key that was withdrawn and a token that was revoked are rejected
//! on the next call. What was rejected in 1 to 8 leaves nothing behind.
//!
//! # Keys over the network
//! With the feature `remote` keys are fetched, from a URL (`jwks_url`) or from where the issuer's
//! metadata says (`discover`), by a tokio task of its own that starts with the first token. Without
//! it the verifier needs no runtime.
//!
//! # Not covered
//! Encrypted tokens (five parts), ES512 and Ed448, and tokens bound to a key (DPoP, mutual TLS),
//! which are rejected.

mod algorithm;
mod backend;
mod builder;
mod cache;
mod compact;
mod error;
#[cfg(feature = "remote")]
mod health;
mod keys;
mod rules;
#[cfg(all(feature = "metrics", feature = "remote"))]
mod series;
#[cfg(test)]
mod tests;
mod verifier;

pub use self::{
    algorithm::Algorithm,
    builder::JwtVerifierBuilder,
    error::{JwtVerifierError, KeySetError},
    verifier::JwtVerifier,
};
#[cfg(feature = "remote")]
pub use self::{
    health::KeyStats,
    keys::remote::{KeyFetchError, KeysUnavailable},
};
