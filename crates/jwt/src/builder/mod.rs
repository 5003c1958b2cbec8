//! How a verifier is configured.

#[cfg(feature = "remote")]
mod fetch_config;
mod issuer;
mod key_config;
#[cfg(feature = "remote")]
mod remote;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use serde_json::Value;
use tower_revoke_core::{ClaimNames, Clock, Revocations, retention};
use zeroize::Zeroizing;

#[cfg(feature = "remote")]
use self::fetch_config::FetchConfig;
use self::{issuer::IssuerConfig, key_config::KeyConfig};
use crate::{
    Algorithm, JwtVerifier, JwtVerifierError, backend,
    cache::TokenCache,
    verifier::{Inner, TrustedIssuer},
};

/// Configures a [`JwtVerifier`]; [`JwtVerifier::issuer`] returns one. An issuer, an audience, keys and
/// a revocation list are required, or their absence must be stated.
///
/// Most settings apply to the issuer that was named last, by [`JwtVerifier::issuer`] or
/// [`and_issuer`](Self::and_issuer). Those marked *for all issuers* may be called anywhere.
///
/// # Examples
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
#[must_use = "nothing is verified until the verifier is built"]
pub struct JwtVerifierBuilder {
    /// All but the last one.
    others: Vec<IssuerConfig>,
    issuer: IssuerConfig,
    leeway: Duration,
    max_token_bytes: usize,
    cache_capacity: usize,
    clock: Clock,
    /// `None` until it is set; `Some(None)` is no list.
    revocations: Option<Option<Arc<dyn Revocations>>>,
    #[cfg(feature = "remote")]
    fetch: FetchConfig,
}

const LEEWAY: Duration = Duration::from_secs(30);
const MAX_TOKEN_BYTES: usize = 8_192;
const CACHE_CAPACITY: usize = 50_000;

impl JwtVerifier {
    /// Configures a verifier of the tokens of this issuer, whose keys are found by its metadata: short
    /// for [`issuer(…)`](Self::issuer) and [`discover()`](JwtVerifierBuilder::discover).
    ///
    /// # Examples
    /// ```
    /// # if cfg!(not(all(feature = "aws-lc-rs", feature = "https"))) { return Ok(()) }
    /// use tower_revoke_jwt::JwtVerifier;
    ///
    /// let tokens = JwtVerifier::discover("https://id.example.com")
    ///     .audience("orders")
    ///     .without_revocations() // or .revocations(list)
    ///     .build()?;
    /// // Before the service takes requests: tokens.ready().await?
    /// # Ok::<(), tower_revoke_jwt::JwtVerifierError>(())
    /// ```
    #[cfg(feature = "remote")]
    pub fn discover(issuer: impl Into<String>) -> JwtVerifierBuilder {
        Self::issuer(issuer).discover()
    }

    /// Configures a verifier of the tokens of this issuer: their `iss` must be exactly this.
    pub fn issuer(issuer: impl Into<String>) -> JwtVerifierBuilder {
        JwtVerifierBuilder {
            others: Vec::new(),
            issuer: IssuerConfig::new(issuer.into()),
            leeway: LEEWAY,
            max_token_bytes: MAX_TOKEN_BYTES,
            cache_capacity: CACHE_CAPACITY,
            clock: Clock::system(),
            revocations: None,
            #[cfg(feature = "remote")]
            fetch: FetchConfig::default(),
        }
    }
}

impl JwtVerifierBuilder {
    /// Adds another issuer, with keys, audiences and rules of its own. The settings that follow apply
    /// to it.
    pub fn and_issuer(mut self, issuer: impl Into<String>) -> Self {
        let issuer = IssuerConfig::new(issuer.into());
        self.others
            .push(std::mem::replace(&mut self.issuer, issuer));
        self
    }

    /// Accepts tokens for this audience. Can be called more than once: one of the audiences must be
    /// in `aud` (RFC 7519 §4.1.3).
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.issuer.rules.audiences.push(audience.into());
        self
    }

    /// Accepts tokens for any audience, and those that name none. A token that was stolen from
    /// another service is then valid here, unless a [`claim`](Self::claim) tells them apart.
    pub fn any_audience(mut self) -> Self {
        self.issuer.rules.any_audience = true;
        self
    }

    /// Reads keys from a file with a JWK set (RFC 7517 §5) of at most 1 MiB and 256 keys, and reads
    /// it again when it changes. It is checked for changes once in a second while tokens arrive, and
    /// when a token names an unknown key. Replace it by a rename: a file that is half written, broken
    /// or missing leaves the keys as they are. Until it is corrected, a token whose key is unknown is
    /// rejected with 503, since its key may be newer.
    ///
    /// The file must have a usable key. If it later has none, its former keys stay in use for 10
    /// minutes; then the tokens that they signed are rejected with 503.
    ///
    /// A key without `alg` is used with the only allowed algorithm of its type. Keys that can't be
    /// used, and shared secrets, are skipped with a warning.
    ///
    /// The file is read on the thread that verifies: keep it on a local disk.
    pub fn jwks_file(self, path: impl Into<PathBuf>) -> Self {
        self.key(KeyConfig::File(path.into()))
    }

    /// Adds the keys of a JWK set (RFC 7517 §5), in JSON, as from a [`jwks_file`](Self::jwks_file)
    /// that never changes.
    pub fn jwks(self, json: impl Into<String>) -> Self {
        self.key(KeyConfig::Set(json.into()))
    }

    /// Adds a public key in PEM: a `PUBLIC KEY`, or an `RSA PUBLIC KEY`. It is used for any `kid`
    /// that no other key has.
    pub fn public_pem(self, algorithm: Algorithm, pem: impl AsRef<[u8]>) -> Self {
        self.key(KeyConfig::Pem(algorithm, pem.as_ref().to_vec()))
    }

    /// Adds a public key in DER: `SubjectPublicKeyInfo`, or `RSAPublicKey`. It is used for any `kid`
    /// that no other key has.
    pub fn public_der(self, algorithm: Algorithm, der: impl AsRef<[u8]>) -> Self {
        self.key(KeyConfig::Der(algorithm, der.as_ref().to_vec()))
    }

    /// Adds a shared secret for HS256, HS384 or HS512. It must be at least as long as the hash, 32,
    /// 48 or 64 bytes (RFC 7518 §3.2), and should be random, not a password (RFC 8725 §3.5). Whoever
    /// can verify with it can sign.
    ///
    /// An issuer has secrets or public keys, never both. The builder's copy is zeroized after the
    /// build.
    pub fn secret(self, algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Self {
        let secret = Zeroizing::new(secret.as_ref().to_vec());
        self.key(KeyConfig::Secret(algorithm, secret))
    }

    fn key(mut self, config: KeyConfig) -> Self {
        self.issuer.keys.push(config);
        self
    }

    /// Allows these algorithms and no other (RFC 8725 §3.1).
    ///
    /// Defaults to the algorithms of the keys that were added with one; with a key set also to RS256,
    /// ES256, ES384 and EdDSA, one for each type of key, so that a key without `alg` is bound too.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.issuer.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Accepts only access tokens of RFC 9068: `typ` must be `at+jwt`, and `iss`, `exp`, `aud`,
    /// `sub`, `client_id`, `iat` and `jti` are required.
    ///
    /// Without this, tokens that declare no kind are accepted too, as most issuers send them. Tokens
    /// of another kind never are (RFC 8725 §3.11).
    pub fn access_tokens_only(mut self) -> Self {
        self.issuer.rules.access_tokens_only = true;
        self
    }

    /// Rejects tokens in which this claim is missing or `null`.
    pub fn require(mut self, claim: impl Into<String>) -> Self {
        self.issuer.rules.required.push(claim.into());
        self
    }

    /// Rejects tokens in which this claim doesn't equal `value`, as `serde_json` compares: a string, or
    /// any JSON value. Repeated calls accept each of the values for one claim, and check every claim.
    ///
    /// This tells one kind of token from another where an issuer doesn't use `aud` or `typ`, and
    /// tokens that an issuer signs for others from yours:
    ///
    /// ```
    /// # if cfg!(not(feature = "aws-lc-rs")) { return Ok(()) }
    /// # let jwks = tower_revoke_testing::TestIssuer::new("https://id.example.com").jwks().to_string();
    /// use tower_revoke_jwt::JwtVerifier;
    ///
    /// // Cognito's access tokens have no `aud`.
    /// let tokens = JwtVerifier::issuer("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Example")
    ///     .any_audience()
    ///     .claim("token_use", "access")
    ///     .claim("client_id", "shop-app")
    ///     .claim("client_id", "shop-web")
    ///     .jwks(jwks)
    ///     .without_revocations()
    ///     .build()?;
    /// # Ok::<(), tower_revoke_jwt::JwtVerifierError>(())
    /// ```
    ///
    /// The layers have a `claim` too, which rejects with 403: what a valid token must grant.
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let values = &mut self.issuer.rules.values;
        values.entry(name.into()).or_default().push(value.into());
        self
    }

    /// Accepts tokens without `exp`, which are valid until they are revoked. Their revocations are
    /// kept forever, so the list must have no [`max_token_life`](Revocations::max_token_life).
    pub fn allow_no_expiry(mut self) -> Self {
        self.issuer.rules.allow_no_expiry = true;
        self
    }

    /// Sets which claims name the client, the session, the grant and the scopes of this issuer's
    /// tokens, for issuers that the [defaults](ClaimNames) don't fit.
    ///
    /// Rules of the revocation list, required scopes, the monitor's clients and the owner checks of
    /// endpoints all follow it. A token in which such a claim is of the wrong type, or two of the
    /// default claims contradict each other, is rejected.
    ///
    /// ```
    /// # if cfg!(not(feature = "aws-lc-rs")) { return Ok(()) }
    /// # let jwks = tower_revoke_testing::TestIssuer::new("https://id.example.com").jwks().to_string();
    /// use tower_revoke_core::ClaimNames;
    /// use tower_revoke_jwt::JwtVerifier;
    ///
    /// // Here `cid` is the number of a customer.
    /// let tokens = JwtVerifier::issuer("https://id.example.com")
    ///     .audience("orders")
    ///     .jwks(jwks)
    ///     .claim_names(ClaimNames::default().client("azp").scopes("permissions"))
    ///     .without_revocations()
    ///     .build()?;
    /// # Ok::<(), tower_revoke_jwt::JwtVerifierError>(())
    /// ```
    pub fn claim_names(mut self, names: ClaimNames) -> Self {
        self.issuer.rules.claim_names = names;
        self
    }

    /// Checks this issuer's tokens for revocations by the value of this claim, see
    /// [`RevocationKey::claim`](tower_revoke_core::RevocationKey::claim). A token in which it is not
    /// a string is rejected. Subject, client, session and grant are checked without this.
    pub fn rule_claim(mut self, claim: impl Into<String>) -> Self {
        self.issuer.rules.rule_claims.push(claim.into());
        self
    }

    /// *For all issuers:* rejects tokens that are revoked or spent by this list, and those with a life
    /// longer than its [`max_token_life`](Revocations::max_token_life) or an unknown one.
    pub fn revocations(mut self, list: impl Into<Arc<dyn Revocations>>) -> Self {
        self.revocations = Some(Some(list.into()));
        self
    }

    /// *For all issuers:* checks no list. A token is valid until it expires.
    pub fn without_revocations(mut self) -> Self {
        self.revocations = Some(None);
        self
    }

    /// *For all issuers:* sets how far clocks may differ, for `exp`, `nbf` and `iat`. Defaults to
    /// 30 s, and is at most 300 s ([`retention::MARGIN`]): stores keep nothing longer than that
    /// beyond a token's `exp`. Fractions of a second don't count.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// *For all issuers:* sets the length of the longest token that is accepted. Defaults to 8,192.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
        self
    }

    /// *For all issuers:* sets how many verified tokens are cached, so that their signatures are not
    /// verified again. Defaults to 50,000; with 0 nothing is cached. An entry takes about 1 to 2 KB:
    /// a keyed hash of the token and its claims, never the token.
    pub fn cache_capacity(mut self, tokens: usize) -> Self {
        self.cache_capacity = tokens;
        self
    }

    /// *For all issuers:* verifies every token again. The list is checked either way.
    pub fn no_cache(self) -> Self {
        self.cache_capacity(0)
    }

    /// *For all issuers:* sets the clock. Defaults to the system's. Give the list the same one.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Reads the files, parses every key, and builds the verifier.
    ///
    /// # Errors
    /// [`JwtVerifierError`] if something is missing or can't work.
    #[cfg_attr(
        not(feature = "https"),
        expect(unused_mut, reason = "it has no default client")
    )]
    pub fn build(mut self) -> Result<JwtVerifier, JwtVerifierError> {
        if !backend::IS_AVAILABLE {
            return Err(JwtVerifierError::NoBackend);
        }
        let revocations = self
            .revocations
            .ok_or(JwtVerifierError::MissingRevocations)?;
        if self.leeway > retention::MARGIN {
            return Err(JwtVerifierError::LeewayTooLong {
                leeway: self.leeway,
                max: retention::MARGIN,
            });
        }
        #[cfg(feature = "remote")]
        self.fetch.check()?;
        #[cfg(feature = "https")]
        if self
            .others
            .iter()
            .chain([&self.issuer])
            .any(IssuerConfig::is_fetched)
        {
            self.fetch.set_default_client()?;
        }
        let bounds_lives =
            (revocations.as_ref()).is_some_and(|list| list.max_token_life().is_some());
        let mut issuers: Vec<TrustedIssuer> = Vec::with_capacity(self.others.len() + 1);
        for issuer in self.others.into_iter().chain([self.issuer]) {
            let issuer = issuer.build(
                &self.clock,
                #[cfg(feature = "remote")]
                &self.fetch,
                bounds_lives,
            )?;
            if issuers.iter().any(|other| other.name == issuer.name) {
                return Err(JwtVerifierError::DuplicateIssuer(issuer.name));
            }
            issuers.push(issuer);
        }
        let cache = match self.cache_capacity {
            0 => None,
            capacity => Some(TokenCache::new(capacity).map_err(JwtVerifierError::NoRandomness)?),
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
