//! What is asked of a verifier, before it is built.

mod issuer;
#[cfg(feature = "remote")]
mod remote;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use tower_revoke_core::{Clock, Revocations, retention};
use zeroize::Zeroizing;

use self::issuer::{Given, IssuerConfig};
use crate::{
    Algorithm, JwtVerifier, JwtVerifierError, backend,
    cache::TokenCache,
    verifier::{Inner, TrustedIssuer},
};

/// A [`JwtVerifier`] in the making, see [`JwtVerifier::issuer`].
///
/// Most settings are an issuer's: they concern the one that was named last, by
/// [`JwtVerifier::issuer`] or [`and_issuer`](Self::and_issuer). Those marked *for all issuers* may
/// stand anywhere.
///
/// ```
/// use tower_revoke_jwt::{Algorithm, JwtVerifier};
/// # if cfg!(not(feature = "aws-lc-rs")) { return Ok(()) }
/// # let partner = tower_revoke_testing::TestIssuer::with("https://partner.example.net",
/// #     tower_revoke_testing::TestAlgorithm::ES256);
/// # let pem = partner.public_pem();
/// # let us = tower_revoke_testing::TestIssuer::new("https://id.example.com");
/// # let jwks = us.jwks().to_string();
///
/// let tokens = JwtVerifier::issuer("https://id.example.com")
///     .audience("orders")
///     .jwks(jwks)
///     .access_tokens_only()
///     .and_issuer("https://partner.example.net")
///     .audience("https://orders.example.com")
///     .public_pem(Algorithm::ES256, pem)
///     .without_revocations()
///     .build()?;
/// # Ok::<(), tower_revoke_jwt::JwtVerifierError>(())
/// ```
#[must_use = "nothing is verified until it is built"]
pub struct JwtVerifierBuilder {
    /// Those that were named before the last one.
    others: Vec<IssuerConfig>,
    issuer: IssuerConfig,
    leeway: Duration,
    max_token_bytes: usize,
    cache_entries: usize,
    clock: Clock,
    revocations: List,
    #[cfg(feature = "remote")]
    remote: remote::Settings,
}

enum List {
    NotSaid,
    None,
    Some(Arc<dyn Revocations>),
}

/// The clock skew that is allowed, unless another is named.
const LEEWAY: Duration = Duration::from_secs(30);

/// The longest token that is read, unless another length is named.
const MAX_TOKEN_BYTES: usize = 8_192;

/// How many verified tokens are kept, unless another number is named.
const CACHE_ENTRIES: usize = 50_000;

impl JwtVerifierBuilder {
    pub(crate) fn new(issuer: String) -> Self {
        Self {
            others: Vec::new(),
            issuer: IssuerConfig::new(issuer),
            leeway: LEEWAY,
            max_token_bytes: MAX_TOKEN_BYTES,
            cache_entries: CACHE_ENTRIES,
            clock: Clock::system(),
            revocations: List::NotSaid,
            #[cfg(feature = "remote")]
            remote: remote::Settings::default(),
        }
    }

    /// Takes the tokens of another issuer too, with keys, audiences and rules of its own; what
    /// follows concerns this one.
    pub fn and_issuer(mut self, issuer: impl Into<String>) -> Self {
        let issuer = IssuerConfig::new(issuer.into());
        self.others
            .push(std::mem::replace(&mut self.issuer, issuer));
        self
    }

    /// Takes tokens for this audience: one of those named must stand in `aud` (RFC 7519 §4.1.3).
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.issuer.rules.audiences.push(audience.into());
        self
    }

    /// Takes tokens for anybody, and those that don't say for whom they are. A token that was
    /// meant for another service, and was stolen there, is good here.
    pub fn any_audience(mut self) -> Self {
        self.issuer.rules.any_audience = true;
        self
    }

    /// Reads keys from a file with a JWK set (RFC 7517 §5), and reads them again when it changes:
    /// it is looked at once in a second while tokens come, and when a token names a key that is
    /// not there. Replace it by a rename: a file that is half written, broken or gone leaves the
    /// keys as they are. Until it is mended, a token whose key is not among them is rejected with
    /// 503, since its key may be newer.
    ///
    /// The file must hold a key that can be used. If it later holds none, its keys stay for 10
    /// minutes; then the tokens that they signed are rejected with 503.
    ///
    /// At most 1 MiB and 256 keys. A key without `alg` is used with the only allowed algorithm of
    /// its type. Keys that can't be used, and shared secrets, are skipped with a warning.
    ///
    /// The file is looked at and read on the thread that verifies: keep it on a local disk.
    pub fn jwks_file(self, path: impl Into<PathBuf>) -> Self {
        self.key(Given::File(path.into()))
    }

    /// Takes keys from a JWK set (RFC 7517 §5), in JSON. What is said of
    /// [`jwks_file`](Self::jwks_file) holds, but that it never changes.
    pub fn jwks(self, json: impl Into<String>) -> Self {
        self.key(Given::Set(json.into()))
    }

    /// Takes a public key in PEM: a `PUBLIC KEY`, or an `RSA PUBLIC KEY`. It serves any `kid`
    /// that no other key has.
    pub fn public_pem(self, algorithm: Algorithm, pem: impl AsRef<[u8]>) -> Self {
        self.key(Given::Pem(algorithm, pem.as_ref().to_vec()))
    }

    /// Takes a public key in DER: `SubjectPublicKeyInfo`, or `RSAPublicKey`. It serves any `kid`
    /// that no other key has.
    pub fn public_der(self, algorithm: Algorithm, der: impl AsRef<[u8]>) -> Self {
        self.key(Given::Der(algorithm, der.as_ref().to_vec()))
    }

    /// Takes a shared secret for HS256, HS384 or HS512, at least as long as the hash: 32, 48 or 64
    /// bytes (RFC 7518 §3.2), and random, no password (RFC 8725 §3.5). Whoever can verify with it
    /// can sign.
    ///
    /// An issuer has secrets or public keys, never both. The copy made here is wiped after the
    /// build.
    pub fn secret(self, algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Self {
        let secret = Zeroizing::new(secret.as_ref().to_vec());
        self.key(Given::Secret(algorithm, secret))
    }

    fn key(mut self, given: Given) -> Self {
        self.issuer.keys.push(given);
        self
    }

    /// Allows these algorithms and no other (RFC 8725 §3.1).
    ///
    /// Unless this is said: those that keys were named with; and where there is a key set, RS256,
    /// ES256, ES384 and EdDSA, one for each type of key, so that a key without `alg` is bound too.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.issuer.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Takes only what says that it is an access token (RFC 9068): `typ` is `at+jwt`, and `iss`,
    /// `exp`, `aud`, `sub`, `client_id`, `iat` and `jti` are there.
    ///
    /// Without this a token of no kind, as most issuers send, is taken; one that says that it is
    /// of another kind never is (RFC 8725 §3.11).
    pub fn access_tokens_only(mut self) -> Self {
        self.issuer.rules.access_tokens_only = true;
        self
    }

    /// Rejects tokens without this claim, or with a `null` in it.
    pub fn require(mut self, claim: impl Into<String>) -> Self {
        self.issuer.rules.required.push(claim.into());
        self
    }

    /// Takes tokens without `exp`, which live until they are revoked; their revocations are kept for
    /// ever. A list with a [`max_token_life`](Revocations::max_token_life) has no room for them.
    pub fn allow_no_expiry(mut self) -> Self {
        self.issuer.rules.allow_no_expiry = true;
        self
    }

    /// Lets revocations of all tokens with some value of this claim concern this issuer's tokens,
    /// see [`RevocationKey::claim`](tower_revoke_core::RevocationKey::claim). A token in which it
    /// is no string is rejected.
    pub fn rule_claim(mut self, claim: impl Into<String>) -> Self {
        self.issuer.rules.rule_claims.push(claim.into());
        self
    }

    /// *For all issuers:* rejects what this list says is revoked or spent, and tokens that live longer
    /// than its [`max_token_life`](Revocations::max_token_life), or don't say how long.
    pub fn revocations(mut self, list: impl Into<Arc<dyn Revocations>>) -> Self {
        self.revocations = List::Some(list.into());
        self
    }

    /// *For all issuers:* asks no list. Nothing that was revoked is rejected: a token is good until
    /// it expires.
    pub fn without_revocations(mut self) -> Self {
        self.revocations = List::None;
        self
    }

    /// *For all issuers:* how far clocks may be apart, in whole seconds; defaults to 30, at most 300
    /// ([`retention::MARGIN`]): nothing that is known of a token is kept for longer beyond its `exp`.
    /// The one setting of this kind: `exp`, `nbf` and `iat` are read with it.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// *For all issuers:* the longest token that is read; 8,192 unless said.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
        self
    }

    /// *For all issuers:* how many verified tokens are kept, so that they are not verified again;
    /// 50,000 unless said. One takes about 1 to 2 KB. No token is kept itself, only a keyed hash
    /// and the claims. 0 is [`no_cache`](Self::no_cache).
    pub fn cache_capacity(mut self, entries: usize) -> Self {
        self.cache_entries = entries;
        self
    }

    /// *For all issuers:* verifies every token anew. The list is asked either way.
    pub fn no_cache(self) -> Self {
        self.cache_capacity(0)
    }

    /// *For all issuers:* reads the time from this clock. Give the list the same.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The verifier. Reads the files and parses every key.
    ///
    /// # Errors
    /// [`JwtVerifierError`] if anything that is configured can't work, or something is missing.
    pub fn build(self) -> Result<JwtVerifier, JwtVerifierError> {
        backend::available().map_err(|_| JwtVerifierError::NoBackend)?;
        let revocations = match self.revocations {
            List::NotSaid => return Err(JwtVerifierError::MissingRevocations),
            List::None => None,
            List::Some(list) => Some(list),
        };
        if self.leeway > retention::MARGIN {
            return Err(JwtVerifierError::LeewayTooLong {
                leeway: self.leeway,
                most: retention::MARGIN,
            });
        }
        let bounds_lives =
            (revocations.as_ref()).is_some_and(|list| list.max_token_life().is_some());
        let mut issuers: Vec<TrustedIssuer> = Vec::with_capacity(self.others.len() + 1);
        for issuer in self.others.into_iter().chain([self.issuer]) {
            let issuer = issuer.build(
                &self.clock,
                #[cfg(feature = "remote")]
                &self.remote,
            )?;
            if issuers.iter().any(|other| other.name == issuer.name) {
                return Err(JwtVerifierError::DuplicateIssuer(issuer.name));
            }
            if bounds_lives && issuer.rules.allow_no_expiry {
                return Err(JwtVerifierError::Contradiction {
                    issuer: issuer.name,
                    settings: ".allow_no_expiry() and the list's max_token_life",
                });
            }
            issuers.push(issuer);
        }
        let cache = match self.cache_entries {
            0 => None,
            entries => Some(TokenCache::new(entries).map_err(JwtVerifierError::NoRandomness)?),
        };
        Ok(JwtVerifier::new(Inner {
            issuers,
            leeway: self.leeway,
            max_token_bytes: self.max_token_bytes,
            clock: self.clock,
            revocations,
            cache,
        }))
    }
}

impl fmt::Debug for JwtVerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers: Vec<_> = self.others.iter().chain([&self.issuer]).collect();
        f.debug_struct("JwtVerifierBuilder")
            .field("issuers", &issuers)
            .finish_non_exhaustive()
    }
}
