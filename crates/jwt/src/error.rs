//! Why a verifier can't be built.

use std::{io, path::PathBuf, time::Duration};

use tower_revoke_core::{BoxError, DiscoveryError};

use crate::Algorithm;

/// Why a [`JwtVerifier`](crate::JwtVerifier) can't be built. It is returned by
/// [`build`](crate::JwtVerifierBuilder::build), never for a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwtVerifierError {
    /// The name of an issuer is empty.
    #[error("the name of the issuer is empty")]
    MissingIssuer,
    /// An issuer was named twice.
    #[error("the issuer {0} is named twice")]
    DuplicateIssuer(String),
    /// The issuer of this name is misconfigured.
    #[error("the issuer {0} is misconfigured")]
    Issuer(String, #[source] IssuerError),
    /// Neither `.revocations(…)` nor `.without_revocations()` was called.
    #[error(
        "the revocation list is missing; set it with .revocations(…), or call .without_revocations()"
    )]
    MissingRevocations,
    /// A time is zero, or longer than a year.
    #[error("{setting} is {given:?}; it must be longer than zero and at most {max:?}")]
    TimeOutOfBounds {
        /// The setting.
        setting: &'static str,
        /// Its value.
        given: Duration,
        /// The longest time that is allowed.
        max: Duration,
    },
    /// A number is zero.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// The leeway exceeds the time for which revocations are kept beyond a token's `exp`: a revoked
    /// token might become valid again.
    #[error(
        "the leeway is {leeway:?}; it must be at most {max:?}, for which revocations are kept beyond `exp`"
    )]
    LeewayTooLong {
        /// The leeway.
        leeway: Duration,
        /// The longest one, [`retention::MARGIN`](tower_revoke_core::retention::MARGIN).
        max: Duration,
    },
    /// The default HTTP client, by which keys are fetched, can't be built.
    #[error("the HTTP client can't be built; set another one with .http_client(…)")]
    HttpClient(#[source] BoxError),
    /// The crate was built without a signature backend.
    #[error("there is no signature backend; enable the feature `aws-lc-rs`")]
    NoBackend,
    /// The system has no random bytes for the secret of the cache.
    #[error("the system has no random bytes")]
    NoRandomness(#[source] io::Error),
}

/// How an issuer is misconfigured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// Neither `.audience(…)` nor `.any_audience()` was called, or an audience is empty.
    #[error("the audience is missing; set it with .audience(…), or call .any_audience()")]
    MissingAudience,
    /// No key and no key set was configured.
    #[error("there are no keys; add them with .discover(), .jwks_file(…) or the like")]
    MissingKeys,
    /// Two settings contradict each other.
    #[error("{0} contradict each other")]
    Contradiction(&'static str),
    /// The allow-list is empty.
    #[error("no algorithm is allowed")]
    NoAlgorithms,
    /// A key is for an algorithm that is not allowed.
    #[error("there is a key for {0}, which is not among .algorithms(…)")]
    AlgorithmNotAllowed(Algorithm),
    /// An HMAC algorithm is allowed, but there is no secret for it.
    #[error("{0} is allowed, but there is no secret for it; add one with .secret(…)")]
    MissingSecret(Algorithm),
    /// There are secrets and public keys, which allows algorithm confusion (RFC 8725 §2.1).
    #[error("an issuer can't have both secrets and public keys")]
    SecretsMixed,
    /// A secret for an algorithm that takes a public key, or the other way round.
    #[error("{0} takes a key of another kind")]
    WrongKind(Algorithm),
    /// The secret is shorter than the hash (RFC 7518 §3.2, RFC 8725 §3.5).
    #[error("the secret for {algorithm} has {actual} bytes; it must have at least {min}")]
    WeakSecret {
        /// The algorithm.
        algorithm: Algorithm,
        /// The fewest bytes that it must have.
        min: usize,
        /// The bytes that it has.
        actual: usize,
    },
    /// The secret is a public key or a certificate, which everybody knows.
    #[error("the secret is a public key; add it with .public_pem(…) or the like")]
    SecretIsPublic,
    /// The PEM can't be read.
    #[error("the PEM can't be read")]
    BadPem(#[source] BoxError),
    /// The PEM is not that of a public key.
    #[error("the PEM is a {0}; it must be a PUBLIC KEY")]
    NotAPublicKey(String),
    /// The key can't be read, or is not one for the algorithm.
    #[error("the key can't be read, or is not one for {0}")]
    BadKey(Algorithm),
    /// An RSA key has less than 2048 bits (RFC 7518 §3.3), or more than 8192.
    #[error("an RSA key must have 2048 to 8192 bits")]
    RsaSize,
    /// A JWK set can't be used.
    #[error("the key set can't be used")]
    BadKeySet(#[source] KeySetError),
    /// A key file can't be used.
    #[error("the key file {path} can't be used", path = path.display())]
    BadKeyFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        error: KeySetError,
    },
    /// No key of a set or file can be used; the log says why.
    #[error("none of the {skipped} keys of a set can be used (the first one: {first})")]
    NoUsableKey {
        /// The number of keys.
        skipped: usize,
        /// Why the first one can't be used.
        first: String,
    },
    /// Keys are to be fetched, but `.http_client(…)` was not called, and the feature `https` is off.
    #[error(
        "the HTTP client is missing; set it with .http_client(…), or enable the feature `https`"
    )]
    MissingHttpClient,
    /// Keys are to be discovered, but the issuer is not a URL whose metadata could be fetched.
    #[error("the metadata of the issuer can't be fetched")]
    Discovery(#[source] DiscoveryError),
}

/// Why a JWK set can't be used. A single bad key is never the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// The file can't be read.
    #[error("the key set can't be read")]
    Io(#[source] io::Error),
    /// The set is too large.
    #[error("the key set is larger than {0} bytes")]
    TooLarge(u64),
    /// The set has too many keys.
    #[error("the key set has more than {0} keys")]
    TooManyKeys(usize),
    /// The content is not a JWK set (RFC 7517 §5).
    #[error("the content is not a JWK set")]
    NotAKeySet(#[source] serde_json::Error),
    /// The set is empty, or none of its keys can be used; the log says why.
    #[error("the key set has no usable key")]
    NoUsableKey,
}
