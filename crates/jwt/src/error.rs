//! Why a verifier could not be built.

use std::{io, path::PathBuf, time::Duration};

use tower_revoke_core::DiscoveryError;

use crate::Algorithm;

/// What is wrong with the configuration. Nothing is served on a wrong one: these come from
/// [`build`](crate::JwtVerifierBuilder::build), never from a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwtVerifierError {
    /// The issuer's name is empty.
    #[error("an issuer needs a name")]
    MissingIssuer,
    /// An issuer was named twice.
    #[error("the issuer {0} is named twice")]
    DuplicateIssuer(String),
    /// Neither `.audience(…)` nor `.any_audience()`.
    #[error("{issuer}: name the audience, or say .any_audience()")]
    MissingAudience {
        /// Whose.
        issuer: String,
    },
    /// No key and no file of keys.
    #[error("{issuer}: no keys are given")]
    MissingKeys {
        /// Whose.
        issuer: String,
    },
    /// Neither `.revocations(…)` nor `.without_revocations()`.
    #[error("name the revocation list, or say .without_revocations()")]
    MissingRevocations,
    /// Two settings that can't both be kept.
    #[error("{issuer}: {settings} contradict each other")]
    Contradiction {
        /// Whose.
        issuer: String,
        /// The settings.
        settings: &'static str,
    },
    /// The allow-list is empty.
    #[error("{issuer}: no algorithm is allowed")]
    NoAlgorithms {
        /// Whose.
        issuer: String,
    },
    /// A key was given for an algorithm that is not on the allow-list.
    #[error("{issuer}: a key is given for {algorithm}, which is not allowed")]
    AlgorithmNotAllowed {
        /// Whose.
        issuer: String,
        /// The algorithm of the key.
        algorithm: Algorithm,
    },
    /// An HMAC algorithm is allowed, and there is no secret for it.
    #[error("{issuer}: {algorithm} is allowed, and no secret is given for it")]
    MissingSecret {
        /// Whose.
        issuer: String,
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// Secrets and public keys are given for one issuer: the root of algorithm confusion
    /// (RFC 8725 §2.1).
    #[error("{issuer}: secrets and public keys can't be mixed")]
    SecretsMixed {
        /// Whose.
        issuer: String,
    },
    /// A secret for an algorithm that takes a public key, or the other way round.
    #[error("{algorithm} takes no key of this kind")]
    WrongKind {
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// The secret is shorter than the hash (RFC 7518 §3.2, RFC 8725 §3.5).
    #[error("a secret for {algorithm} must have at least {least} bytes; this one has {actual}")]
    WeakSecret {
        /// The algorithm.
        algorithm: Algorithm,
        /// How long it must be.
        least: usize,
        /// How long it is.
        actual: usize,
    },
    /// What was given as a secret is a public key or a certificate, which everyone knows.
    #[error("what is given as a secret is a public key")]
    SecretIsPublic,
    /// The PEM can't be read.
    #[error("the PEM can't be read")]
    BadPem(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The PEM holds something else than a public key.
    #[error("the PEM holds a {0}, not a PUBLIC KEY")]
    NotAPublicKey(String),
    /// The key can't be read, or is no key for the algorithm.
    #[error("the key is no key for {algorithm}")]
    BadKey {
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// An RSA key of less than 2048 bits (RFC 7518 §3.3), or of more than 8192.
    #[error("an RSA key must have 2048 to 8192 bits")]
    RsaSize,
    /// The JWK set that was given can't be used.
    #[error("{issuer}: the key set can't be used")]
    BadKeySet {
        /// Whose.
        issuer: String,
        /// Why.
        #[source]
        error: KeySetError,
    },
    /// The file of keys can't be used.
    #[error("{issuer}: the key file {path} can't be used", path = path.display())]
    BadKeyFile {
        /// Whose.
        issuer: String,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: KeySetError,
    },
    /// Every key of a set or file was skipped, see the log for the reasons.
    #[error("{issuer}: none of the {skipped} keys of a set can be used ({first})")]
    NoUsableKey {
        /// Whose.
        issuer: String,
        /// How many keys there were.
        skipped: usize,
        /// Why the first one was skipped.
        first: String,
    },
    /// Keys shall be fetched, and `.http_client(…)` doesn't say by whom.
    #[error("{issuer}: keys are to be fetched; name the client with .http_client(…)")]
    MissingHttpClient {
        /// Whose.
        issuer: String,
    },
    /// Keys shall be discovered, and the issuer has no metadata.
    #[error("{issuer}: nothing can be discovered")]
    Discovery {
        /// Whose.
        issuer: String,
        /// Why.
        #[source]
        error: DiscoveryError,
    },
    /// A time that is nothing.
    #[error("{setting} must be longer than nothing")]
    NoTime {
        /// Which.
        setting: &'static str,
    },
    /// A time that is longer than a year.
    #[error("{setting} is {given:?}; it must be at most {most:?}")]
    TimeTooLong {
        /// Which setting.
        setting: &'static str,
        /// What was given.
        given: Duration,
        /// What is allowed.
        most: Duration,
    },
    /// The leeway is larger than the margin for which revocations are kept beyond a token's `exp`:
    /// what was revoked might be forgotten while it is still accepted.
    #[error("a leeway of {leeway:?} is more than {most:?}, for which revocations outlive a token")]
    LeewayTooLong {
        /// The leeway that was asked for.
        leeway: Duration,
        /// The largest that is possible, [`retention::MARGIN`](tower_revoke_core::retention::MARGIN).
        most: Duration,
    },
    /// The crate was built without a signature backend.
    #[error("no signature backend: switch the feature `aws-lc-rs` on")]
    NoBackend,
    /// The system gives no random bytes for the cache's secret.
    #[error("the system gives no random bytes")]
    NoRandomness(#[source] io::Error),
}

/// Why a JWK set can't be used as a whole. A single bad key never is a reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// It can't be read.
    #[error("it can't be read")]
    Io(#[source] io::Error),
    /// It is larger than is allowed.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// It has more keys than is allowed.
    #[error("it has more than {0} keys")]
    TooManyKeys(usize),
    /// It is no JWK set (RFC 7517 §5).
    #[error("it is no JWK set")]
    NoKeySet(#[source] serde_json::Error),
    /// It is empty, or none of its keys can be used; the log says why.
    #[error("it holds no key that can be used")]
    NoUsableKey,
}
