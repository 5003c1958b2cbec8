//! The keys of a test issuer, and the algorithms that they sign with.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand, rsa, signature,
    signature::KeyPair,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, crypto::aws_lc::DEFAULT_PROVIDER};
use pem::Pem;
use serde_json::{Value, json};

/// A signature algorithm of a [`TestIssuer`](crate::TestIssuer).
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
    /// All algorithms.
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

    /// Returns its name in `alg`.
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

    /// Returns whether it signs with a shared secret.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }

    pub(super) fn jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        self.name().parse().expect("jsonwebtoken knows its name")
    }
}

/// A key of an issuer, in the forms in which it signs and is published.
pub(super) struct TestKey {
    pub(super) id: String,
    pub(super) private: EncodingKey,
    /// The JWK, also of a shared secret.
    pub(super) jwk: Value,
    pub(super) public_der: Vec<u8>,
}

impl TestKey {
    pub(super) fn generate(algorithm: TestAlgorithm) -> Self {
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

/// The signing key, its `SubjectPublicKeyInfo`, and its JWK.
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
    // jsonwebtoken signs with the PKCS#1 key, which it extracts from a PKCS#8 PEM.
    let pem = pem::encode(&Pem::new("PRIVATE KEY", pkcs8.as_ref()));
    let private = EncodingKey::from_rsa_pem(pem.as_bytes()).expect(GENERATED);
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

pub(crate) fn random_text(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    fill_random(&mut random);
    BASE64_URL_SAFE_NO_PAD.encode(random)
}

fn fill_random(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the system gives randomness");
}
