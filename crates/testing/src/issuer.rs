//! An issuer of tokens that runs nowhere but in the test: keys, their JWKS, and signed tokens.

use std::{
    fmt, fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand, rsa, signature,
    signature::KeyPair,
};
use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, crypto::aws_lc::DEFAULT_PROVIDER};
use serde_json::{Map, Value, json};
use tower_revoke_core::{Clock, UnixTime};

/// With what a [`TestIssuer`] signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the names are those of RFC 7518 §3.1 and RFC 8037"
)]
pub enum TestAlgorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl TestAlgorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 12] = [
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// Its name in `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// Whether it signs with a shared secret.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }

    fn jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        use jsonwebtoken::Algorithm;
        match self {
            Self::HS256 => Algorithm::HS256,
            Self::HS384 => Algorithm::HS384,
            Self::HS512 => Algorithm::HS512,
            Self::RS256 => Algorithm::RS256,
            Self::RS384 => Algorithm::RS384,
            Self::RS512 => Algorithm::RS512,
            Self::PS256 => Algorithm::PS256,
            Self::PS384 => Algorithm::PS384,
            Self::PS512 => Algorithm::PS512,
            Self::ES256 => Algorithm::ES256,
            Self::ES384 => Algorithm::ES384,
            Self::EdDSA => Algorithm::EdDSA,
        }
    }
}

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

struct TestKey {
    id: String,
    private: EncodingKey,
    /// Its JWK; of a shared secret too.
    jwk: Value,
    public_der: Vec<u8>,
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

/// A token before it is signed, see [`TestIssuer::token`].
#[derive(Clone)]
#[must_use = "a token is nothing until it is signed"]
pub struct TestToken<'a> {
    issuer: &'a TestIssuer,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl TestToken<'_> {
    /// Sets `sub`.
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject)
    }

    /// Sets `aud`, to this one.
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// Sets `scope`: words with spaces between them.
    pub fn scope(self, scope: &str) -> Self {
        self.claim("scope", scope)
    }

    /// Sets `jti`.
    pub fn jwt_id(self, jwt_id: &str) -> Self {
        self.claim("jti", jwt_id)
    }

    /// Sets any claim, to any value.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a claim out.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets `iat`.
    pub fn issued_at(self, at: UnixTime) -> Self {
        self.claim("iat", at.as_secs())
    }

    /// Sets `exp`, to a time from now; whole seconds.
    pub fn expires_in(self, life: Duration) -> Self {
        let exp = self.issuer.clock.now().saturating_add(life);
        self.claim("exp", exp.as_secs())
    }

    /// Makes it a token of two hours ago that expired an hour ago.
    pub fn expired(self) -> Self {
        let now = self.issuer.clock.now();
        let hours = |count: u64| now.saturating_sub(Duration::from_secs(count * 3_600));
        self.issued_at(hours(2)).claim("exp", hours(1).as_secs())
    }

    /// Sets any header parameter. The signature is always made with the issuer's algorithm,
    /// whatever `alg` says.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a header parameter out.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// The token.
    pub fn sign(self) -> String {
        self.issuer.sign_raw(
            Value::Object(self.header).to_string(),
            Value::Object(self.claims).to_string(),
        )
    }
}

impl fmt::Debug for TestToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestToken")
            .field("header", &self.header)
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

impl TestKey {
    fn generate(algorithm: TestAlgorithm) -> Self {
        let id = random_text(8);
        let (private, public_der, mut jwk) = match algorithm {
            TestAlgorithm::HS256 => secret(32),
            TestAlgorithm::HS384 => secret(48),
            TestAlgorithm::HS512 => secret(64),
            TestAlgorithm::RS256
            | TestAlgorithm::RS384
            | TestAlgorithm::RS512
            | TestAlgorithm::PS256
            | TestAlgorithm::PS384
            | TestAlgorithm::PS512 => rsa(),
            TestAlgorithm::ES256 => ec(
                &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                algorithm,
                "P-256",
            ),
            TestAlgorithm::ES384 => ec(
                &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
                algorithm,
                "P-384",
            ),
            TestAlgorithm::EdDSA => ed(),
        };
        jwk["kid"] = json!(id);
        jwk["alg"] = json!(algorithm.name());
        jwk["use"] = json!("sig");
        Self {
            id,
            private,
            jwk,
            public_der,
        }
    }
}

/// A key as it signs, its `SubjectPublicKeyInfo`, and its JWK.
type KeyParts = (EncodingKey, Vec<u8>, Value);

const GENERATED: &str = "a key that was just made can be written and read";

fn secret(len: usize) -> KeyParts {
    let mut secret = vec![0; len];
    fill_random(&mut secret);
    let jwk = json!({ "kty": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode(&secret) });
    (EncodingKey::from_secret(&secret), Vec::new(), jwk)
}

fn rsa() -> KeyParts {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("randomness for a key");
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().expect(GENERATED);
    // jsonwebtoken takes the PKCS#1 key out of it.
    let private =
        EncodingKey::from_rsa_pem(pem("PRIVATE KEY", pkcs8.as_ref()).as_bytes()).expect(GENERATED);
    let (n, e) = (DEFAULT_PROVIDER
        .key_utils
        .rsa_pub_components_from_private_key)(private.as_bytes())
    .expect(GENERATED);
    let jwk = json!({
        "kty": "RSA",
        "n": BASE64_URL_SAFE_NO_PAD.encode(n),
        "e": BASE64_URL_SAFE_NO_PAD.encode(e),
    });
    (private, spki(pair.public_key()), jwk)
}

fn ec(
    signing: &'static signature::EcdsaSigningAlgorithm,
    algorithm: TestAlgorithm,
    curve: &str,
) -> KeyParts {
    let pair = signature::EcdsaKeyPair::generate(signing).expect("randomness for a key");
    let pkcs8 = pair.to_pkcs8v1().expect(GENERATED);
    let (_, x, y) =
        (DEFAULT_PROVIDER
            .key_utils
            .ec_pub_components_from_private_key)(pkcs8.as_ref(), algorithm.jsonwebtoken())
        .expect(GENERATED);
    let jwk = json!({
        "kty": "EC",
        "crv": curve,
        "x": BASE64_URL_SAFE_NO_PAD.encode(x),
        "y": BASE64_URL_SAFE_NO_PAD.encode(y),
    });
    (
        EncodingKey::from_ec_der(pkcs8.as_ref()),
        spki(pair.public_key()),
        jwk,
    )
}

fn ed() -> KeyParts {
    let pair = signature::Ed25519KeyPair::generate().expect("randomness for a key");
    let pkcs8 = pair.to_pkcs8v1().expect(GENERATED);
    let jwk = json!({
        "kty": "OKP",
        "crv": "Ed25519",
        "x": BASE64_URL_SAFE_NO_PAD.encode(pair.public_key()),
    });
    (
        EncodingKey::from_ed_der(pkcs8.as_ref()),
        spki(pair.public_key()),
        jwk,
    )
}

fn spki(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
    key.as_der().expect(GENERATED).as_ref().to_vec()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut lines = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        lines.extend(line.iter().copied().map(char::from));
        lines.push('\n');
    }
    lines.push_str(&format!("-----END {label}-----\n"));
    lines
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn random_text(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    fill_random(&mut random);
    BASE64_URL_SAFE_NO_PAD.encode(random)
}

fn fill_random(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the system gives randomness");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(token: &str, at: usize) -> Value {
        let part = token.split('.').nth(at).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn every_algorithm_signs_what_its_published_key_verifies() {
        for algorithm in TestAlgorithm::ALL {
            let issuer = TestIssuer::with("https://id.example.com", algorithm);
            let token = issuer.token().sign();
            let (input, signature) = token.rsplit_once('.').unwrap();
            let jwk = serde_json::from_value(issuer.jwks()["keys"][0].clone()).unwrap();
            let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
            let verifier =
                (DEFAULT_PROVIDER.verifier_factory)(&algorithm.jsonwebtoken(), &key).unwrap();
            let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
            assert!(
                verifier.verify(input.as_bytes(), &signature).is_ok(),
                "{algorithm:?}"
            );
            assert_eq!(part(&token, 0)["alg"], algorithm.name());
        }
    }

    #[test]
    fn a_rotated_key_is_another_key() {
        let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::ES256);
        let old = (issuer.key_id(), issuer.public_der());
        let new = issuer.rotate();
        assert_eq!(issuer.key_id(), new);
        assert_ne!(old, (new, issuer.public_der()));
    }

    #[test]
    fn a_withdrawn_key_is_not_published_and_still_signs() {
        let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::EdDSA);
        let key_id = issuer.key_id();
        assert!(issuer.withdraw(&key_id));
        assert!(!issuer.withdraw(&key_id));
        assert_eq!(issuer.jwks(), json!({"keys": []}));
        assert_eq!(part(&issuer.token().sign(), 0)["kid"], key_id);
    }

    #[test]
    fn the_builder_says_what_is_asked() {
        let (clock, _hand) = Clock::manual(UnixTime::from_secs(10_000));
        let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::HS256).clock(clock);
        let token = issuer
            .token()
            .subject("bob")
            .scope("a b")
            .claim("tenant", json!({"id": 7}))
            .without("jti")
            .expires_in(Duration::from_secs(60))
            .header("typ", "at+jwt")
            .without_header("kid")
            .sign();
        assert_eq!(part(&token, 0), json!({"alg": "HS256", "typ": "at+jwt"}));
        assert_eq!(
            part(&token, 1),
            json!({
                "iss": "https://id.example.com", "sub": "bob", "aud": "orders",
                "client_id": "shop", "scope": "a b", "tenant": {"id": 7},
                "iat": 10_000, "exp": 10_060,
            })
        );
    }

    #[test]
    fn the_set_is_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::EdDSA);
        issuer.write_jwks(&path).unwrap();
        issuer.rotate();
        issuer.write_jwks(&path).unwrap();
        let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(written, issuer.jwks());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn debug_shows_no_secret() {
        let issuer = TestIssuer::with("https://id.example.com", TestAlgorithm::HS256);
        let secret = BASE64_URL_SAFE_NO_PAD.encode(issuer.secret());
        let shown = format!("{issuer:?} {:?}", issuer.token());
        assert!(!shown.contains(&secret), "{shown}");
    }
}
