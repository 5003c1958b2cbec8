//! An issuer of tokens that runs nowhere but in the test: keys, their JWKS, and signed tokens.

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
use serde_json::{Map, Value, json};
use tower_revoke_core::Clock;

use self::key::{TestKey, pem, random_text};
pub use self::{key::TestAlgorithm, token::TestToken};

/// An issuer with keys of its own: no two issuers, and no two keys of one, are ever alike.
///
/// Clones are the same issuer. Its methods panic where a test can't go on: without randomness, or
/// where a file can't be written.
///
/// ```
/// use tower_revoke_testing::TestIssuer;
///
/// let issuer = TestIssuer::new("https://id.example.com");
/// let token = issuer.token().subject("ann").audience("orders").scope("orders:read").sign();
/// assert_eq!(token.split('.').count(), 3);
///
/// // A new key signs from now on; the old one is still published, until it is withdrawn.
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
    /// What signs; published or not.
    current: Arc<TestKey>,
    published: Vec<Arc<TestKey>>,
}

impl TestIssuer {
    /// An issuer that signs with RS256. `issuer` becomes `iss`.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self::with(issuer, TestAlgorithm::RS256)
    }

    /// An issuer that signs with `algorithm`.
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

    /// Reads the time from `clock`.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// What stands in `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// With what it signs.
    pub fn algorithm(&self) -> TestAlgorithm {
        self.algorithm
    }

    /// The `kid` of the key that signs.
    pub fn key_id(&self) -> String {
        self.current().id.clone()
    }

    /// Signs with a new key from now on, and publishes it. The old one stays published. The new
    /// key's `kid`.
    pub fn rotate(&self) -> String {
        let key = Arc::new(TestKey::generate(self.algorithm));
        let mut keys = self.lock();
        keys.published.push(key.clone());
        keys.current = key;
        keys.current.id.clone()
    }

    /// Publishes a key no longer; if it is the one that signs, it goes on signing. `false`: it was
    /// not published.
    pub fn withdraw(&self, key_id: &str) -> bool {
        let mut keys = self.lock();
        let before = keys.published.len();
        keys.published.retain(|key| key.id != key_id);
        keys.published.len() < before
    }

    /// The published keys, as a JWK set (RFC 7517 §5). With HS256, HS384 and HS512 these are the
    /// secrets themselves, which no real issuer would publish.
    pub fn jwks(&self) -> Value {
        let keys = self.lock();
        let jwks: Vec<_> = keys.published.iter().map(|key| key.jwk.clone()).collect();
        json!({ "keys": jwks })
    }

    /// Writes the published keys to a file, all or nothing: to a file beside it, which then takes
    /// its place.
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

    /// The public key that is in use, as a `PUBLIC KEY` PEM.
    ///
    /// # Panics
    /// If the algorithm has none.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.public_der())
    }

    /// The public key that is in use, as a `SubjectPublicKeyInfo` (RFC 5280 §4.1).
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

    /// The shared secret that is in use.
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

    /// A token that would be accepted: `iss`, `sub` "ann", `aud` "orders", `client_id` "shop",
    /// `iat` now, `exp` in an hour, a random `jti`; `typ` "JWT" and the key's `kid`.
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

    /// Signs whatever is given, JSON or not: the signature is good, the rest may be anything.
    pub fn sign_raw(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        self.sign_parts(
            &BASE64_URL_SAFE_NO_PAD.encode(header),
            &BASE64_URL_SAFE_NO_PAD.encode(payload),
        )
    }

    /// Signs two parts that stand as they are, encoded well or badly.
    pub fn sign_parts(&self, header: &str, payload: &str) -> String {
        let signing_input = format!("{header}.{payload}");
        // Taken by name: the process-wide default panics where two crypto features meet.
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
