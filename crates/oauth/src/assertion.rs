//! Client assertions (RFC 7523 §2.2): signed JWTs in the place of a client secret.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::aws_lc::DEFAULT_PROVIDER};
use serde_json::json;
use tower_revoke_core::{BoxError, UnixTime};

/// The value of `client_assertion_type`.
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion is valid. Servers reject long ones.
const LIFE_SECS: u64 = 60;

/// The algorithm of a [`SigningKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names of RFC 7518 §3.1 and RFC 8037 §3.1")]
pub enum SigningAlgorithm {
    RS256,
    PS256,
    ES256,
    ES384,
    EdDSA,
}

/// The private key by which a client authenticates at the authorization server (`private_key_jwt`,
/// RFC 7523 §2.2), instead of by a secret that the server knows too.
///
/// It is erased from memory when it is dropped, and `Debug` doesn't show it.
///
/// # Examples
/// ```no_run
/// use tower_revoke_oauth::{SigningAlgorithm, SigningKey};
///
/// let pem = std::fs::read("orders-key.pem")?;
/// let key = SigningKey::from_pem(SigningAlgorithm::ES256, &pem)?.key_id("2026-11");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SigningKey {
    algorithm: SigningAlgorithm,
    key: EncodingKey,
    key_id: Option<String>,
}

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "the private key can't be used with {algorithm:?}; it must be a PEM of PKCS#8 for that algorithm"
)]
pub struct SigningKeyError {
    algorithm: SigningAlgorithm,
    source: BoxError,
}

impl SigningKey {
    /// Reads a private key in PEM (PKCS#8; RSA keys also in PKCS#1).
    ///
    /// # Errors
    /// [`SigningKeyError`] if it is not a private key for this algorithm.
    pub fn from_pem(algorithm: SigningAlgorithm, pem: &[u8]) -> Result<Self, SigningKeyError> {
        let error = |source| SigningKeyError { algorithm, source };
        let key = match algorithm {
            SigningAlgorithm::RS256 | SigningAlgorithm::PS256 => EncodingKey::from_rsa_pem(pem),
            SigningAlgorithm::ES256 | SigningAlgorithm::ES384 => EncodingKey::from_ec_pem(pem),
            SigningAlgorithm::EdDSA => EncodingKey::from_ed_pem(pem),
        };
        let key = Self {
            algorithm,
            key: key.map_err(|source| error(source.into()))?,
            key_id: None,
        };
        // A key of another curve or size shows only when it signs.
        key.sign(b"").map_err(error)?;
        Ok(key)
    }

    /// Names the key (`kid`), for a server that knows several of the client.
    #[must_use]
    pub fn key_id(mut self, key_id: impl Into<String>) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    /// Returns an assertion by `client` for `audience`, with a `jti` of its own.
    pub(crate) fn assertion(
        &self,
        client: &str,
        audience: &str,
        now: UnixTime,
    ) -> Result<String, BoxError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        let mut header = json!({ "alg": format!("{:?}", self.algorithm), "typ": "JWT" });
        if let (Some(key_id), Some(header)) = (&self.key_id, header.as_object_mut()) {
            header.insert("kid".to_owned(), key_id.as_str().into());
        }
        let now = now.as_secs();
        let claims = json!({
            "iss": client,
            "sub": client,
            "aud": audience,
            "iat": now,
            "exp": now + LIFE_SECS,
            "jti": BASE64.encode(id),
        });
        let [header, claims] = [header, claims].map(|part| BASE64.encode(part.to_string()));
        let input = format!("{header}.{claims}");
        let signature = BASE64.encode(self.sign(input.as_bytes())?);
        Ok(format!("{input}.{signature}"))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
        let algorithm = match self.algorithm {
            SigningAlgorithm::RS256 => Algorithm::RS256,
            SigningAlgorithm::PS256 => Algorithm::PS256,
            SigningAlgorithm::ES256 => Algorithm::ES256,
            SigningAlgorithm::ES384 => Algorithm::ES384,
            SigningAlgorithm::EdDSA => Algorithm::EdDSA,
        };
        // Named explicitly: jsonwebtoken's process-wide default panics if the features of two crypto
        // providers are enabled.
        let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, &self.key)?;
        Ok(signer.try_sign(message)?)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}
