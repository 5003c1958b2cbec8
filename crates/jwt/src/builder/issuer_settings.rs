//! The settings of one issuer: its keys and rules.

use std::path::PathBuf;

use serde_json::Value;
use tower_revoke_core::ClaimNames;
#[cfg(doc)]
use tower_revoke_core::Revocations;
use zeroize::Zeroizing;

use super::{JwtVerifierBuilder, key_config::KeyConfig};
use crate::Algorithm;

/// The settings of the issuer that was named last.
impl<S> JwtVerifierBuilder<S> {
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

    pub(super) fn key(mut self, config: KeyConfig) -> Self {
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
}
