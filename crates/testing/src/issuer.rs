//! An issuer inside the test, without a server: keys, their JWKS, and signed tokens.

mod key;
#[cfg(test)]
mod tests;
mod token;

use std::{
    fmt, fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use pem::Pem;
use serde_json::{Map, Value, json};
use tower_revoke_core::Clock;

use self::key::TestKey;
pub(crate) use self::key::random_text;
pub use self::{key::TestAlgorithm, token::TestToken};

/// An issuer of JWTs that generates its own keys.
///
/// No two issuers share a key, and no two keys share a `kid`. Clones are the same issuer.
///
/// # Panics
/// Methods panic if the system provides no randomness.
///
/// # Examples
/// ```
/// use tower_revoke_testing::TestIssuer;
///
/// let issuer = TestIssuer::new("https://id.example.com");
/// let token = issuer.token().subject("ann").audience("orders").scope("orders:read").sign();
/// assert_eq!(token.split('.').count(), 3);
///
/// // Rotates to a new key. The old key stays published until it is withdrawn.
/// let old = issuer.key_id();
/// issuer.rotate();
/// assert_eq!(issuer.jwks()["keys"].as_array().map(Vec::len), Some(2));
/// assert!(issuer.withdraw(&old));
/// assert_eq!(issuer.jwks()["keys"][0]["kid"], issuer.key_id());
/// ```
#[derive(Clone)]
pub struct TestIssuer {
    issuer: String,
    algorithm: TestAlgorithm,
    clock: Clock,
    keys: Arc<Mutex<Keys>>,
}

struct Keys {
    /// The key that signs, whether it is published or not.
    current: Arc<TestKey>,
    published: Vec<Arc<TestKey>>,
}

impl TestIssuer {
    /// Creates an issuer that signs with RS256. `issuer` is the `iss` of its tokens.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self::with(issuer, TestAlgorithm::RS256)
    }

    /// Creates an issuer that signs with `algorithm`.
    pub fn with(issuer: impl Into<String>, algorithm: TestAlgorithm) -> Self {
        let key = Arc::new(TestKey::generate(algorithm));
        Self {
            issuer: issuer.into(),
            algorithm,
            clock: Clock::system(),
            keys: Arc::new(Mutex::new(Keys {
                published: vec![key.clone()],
                current: key,
            })),
        }
    }

    /// Sets the clock for `iat` and `exp`. Defaults to the system clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the algorithm that it signs with.
    pub fn algorithm(&self) -> TestAlgorithm {
        self.algorithm
    }

    /// Returns the `kid` of the signing key.
    pub fn key_id(&self) -> String {
        self.current().id.clone()
    }

    /// Generates and publishes a new signing key, and returns its `kid`. The old key stays
    /// published.
    pub fn rotate(&self) -> String {
        let key = Arc::new(TestKey::generate(self.algorithm));
        let mut keys = self.lock();
        keys.published.push(key.clone());
        keys.current = key;
        keys.current.id.clone()
    }

    /// Stops publishing a key, and returns whether it was published. A withdrawn signing key still
    /// signs.
    pub fn withdraw(&self, key_id: &str) -> bool {
        let mut keys = self.lock();
        let before = keys.published.len();
        keys.published.retain(|key| key.id != key_id);
        keys.published.len() < before
    }

    /// Returns the published keys as a JWK set (RFC 7517 §5).
    ///
    /// For HS256, HS384 and HS512 the set has the secrets themselves, which a real issuer never
    /// publishes.
    pub fn jwks(&self) -> Value {
        let keys = self.lock();
        let jwks: Vec<_> = keys.published.iter().map(|key| key.jwk.clone()).collect();
        json!({ "keys": jwks })
    }

    /// Writes the published keys to a file as a JWK set.
    ///
    /// The file is replaced atomically, by renaming a temporary file beside it, so that a reader
    /// never sees a part of it.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write_jwks(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", random_text(8)));
        fs::write(&beside, self.jwks().to_string())?;
        fs::rename(&beside, path)
    }

    /// Returns the public key of the signing key, as a `PUBLIC KEY` PEM.
    ///
    /// # Panics
    /// If the algorithm has none.
    pub fn public_pem(&self) -> String {
        pem::encode(&Pem::new("PUBLIC KEY", self.public_der()))
    }

    /// Returns the public key of the signing key, as a DER `SubjectPublicKeyInfo` (RFC 5280 §4.1).
    ///
    /// # Panics
    /// If the algorithm has none.
    pub fn public_der(&self) -> Vec<u8> {
        assert!(
            !self.algorithm.is_symmetric(),
            "{} has no public key",
            self.algorithm.name()
        );
        self.current().public_der.clone()
    }

    /// Returns the private key that signs, as a PEM: of PKCS#1 for RSA, otherwise of PKCS#8. It is what
    /// a client needs that authenticates by assertions (RFC 7523 §2.2).
    ///
    /// # Panics
    /// If the algorithm has none.
    pub fn private_pem(&self) -> String {
        assert!(
            !self.algorithm.is_symmetric(),
            "{} has no private key",
            self.algorithm.name()
        );
        let is_rsa = matches!(self.algorithm.name().get(..2), Some("RS" | "PS"));
        let tag = if is_rsa {
            "RSA PRIVATE KEY"
        } else {
            "PRIVATE KEY"
        };
        pem::encode(&Pem::new(tag, self.current().private.as_bytes()))
    }

    /// Returns the shared secret that signs.
    ///
    /// # Panics
    /// If the algorithm has none.
    pub fn secret(&self) -> Vec<u8> {
        assert!(
            self.algorithm.is_symmetric(),
            "{} has no secret",
            self.algorithm.name()
        );
        self.current().private.as_bytes().to_vec()
    }

    /// Returns a token with valid claims, to be changed and signed.
    ///
    /// Its claims are `iss`, `sub` "ann", `aud` "orders", `client_id` "shop", `iat` now, `exp` in
    /// an hour, and a random `jti`. Its header has `alg`, `typ` "JWT", and the `kid` of the signing
    /// key.
    pub fn token(&self) -> TestToken<'_> {
        let now = self.clock.now().as_secs();
        let claims = json!({
            "iss": self.issuer,
            "sub": "ann",
            "aud": "orders",
            "client_id": "shop",
            "iat": now,
            "exp": now + 3_600,
            "jti": random_text(16),
        });
        let header = json!({
            "alg": self.algorithm.name(),
            "typ": "JWT",
            "kid": self.key_id(),
        });
        TestToken {
            issuer: self,
            header: object(header),
            claims: object(claims),
        }
    }

    /// Encodes and signs any header and payload, valid JSON or not. The signature is valid.
    pub fn sign_raw(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        self.sign_parts(
            &BASE64_URL_SAFE_NO_PAD.encode(header),
            &BASE64_URL_SAFE_NO_PAD.encode(payload),
        )
    }

    /// Signs a header and a payload that are encoded already, correctly or not.
    pub fn sign_parts(&self, header: &str, payload: &str) -> String {
        let signing_input = format!("{header}.{payload}");
        // Named explicitly: jsonwebtoken's process-wide default panics if the features of two
        // crypto providers are enabled.
        let signer = (DEFAULT_PROVIDER.signer_factory)(
            &self.algorithm.jsonwebtoken(),
            &self.current().private,
        )
        .expect("the key was made for the algorithm");
        let signature = signer
            .try_sign(signing_input.as_bytes())
            .expect("a key that was just made can sign");
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        format!("{signing_input}.{signature}")
    }

    fn current(&self) -> Arc<TestKey> {
        self.lock().current.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestIssuer")
            .field("issuer", &self.issuer)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
