//! Signatures, checked by aws-lc-rs with keys that are parsed once. No other module knows the
//! backend.
//!
//! It is named here, not taken from a process-wide default provider, so that the crypto features of
//! other crates make no difference.

use crate::algorithm::Algorithm;

/// A key as it was given.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(feature = "aws-lc-rs"),
    expect(dead_code, reason = "only a backend reads it")
)]
pub(crate) enum Material<'a> {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa { n: &'a [u8], e: &'a [u8] },
    /// An uncompressed point of the algorithm's curve (SEC 1 §2.3.3).
    EcPoint(&'a [u8]),
    /// The 32 bytes of an Ed25519 key.
    Ed25519(&'a [u8]),
    /// `SubjectPublicKeyInfo` (RFC 5280 §4.1), or `RSAPublicKey` (RFC 8017 §A.1.1).
    Der(&'a [u8]),
    /// A shared secret.
    Secret(&'a [u8]),
}

/// Why a key can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(
    not(feature = "aws-lc-rs"),
    expect(dead_code, reason = "only a backend finds faults")
)]
pub(crate) enum KeyError {
    #[error("it is not a key for this algorithm")]
    Invalid,
    #[error("an RSA key must have 2048 to 8192 bits")]
    RsaSize,
}

#[cfg(feature = "aws-lc-rs")]
mod imp {
    use aws_lc_rs::{
        encoding::AsDer,
        hmac,
        rsa::PublicEncryptingKey,
        signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents},
    };

    use super::{Algorithm, KeyError, Material};
    use crate::algorithm::Family;

    /// A key that is ready to verify with its one algorithm.
    pub(crate) enum VerifyingKey {
        Public(ParsedPublicKey),
        Secret(Box<hmac::Key>),
    }

    /// Whether keys can be made at all.
    pub(crate) const IS_AVAILABLE: bool = true;

    impl VerifyingKey {
        pub(crate) fn new(algorithm: Algorithm, material: Material<'_>) -> Result<Self, KeyError> {
            let key = match (algorithm.family(), material) {
                (Family::Secret, Material::Secret(secret)) => {
                    let hash = match algorithm {
                        Algorithm::HS384 => hmac::HMAC_SHA384,
                        Algorithm::HS512 => hmac::HMAC_SHA512,
                        _ => hmac::HMAC_SHA256,
                    };
                    return Ok(Self::Secret(Box::new(hmac::Key::new(hash, secret))));
                }
                (Family::Rsa, Material::Rsa { n, e }) => {
                    rsa_size(bits(n))?;
                    RsaPublicKeyComponents { n, e }.to_parsed_public_key(rsa(algorithm))
                }
                (Family::Rsa, Material::Der(der)) => ParsedPublicKey::new(rsa(algorithm), der),
                (Family::P256, Material::EcPoint(key) | Material::Der(key)) => {
                    ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, key)
                }
                (Family::P384, Material::EcPoint(key) | Material::Der(key)) => {
                    ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, key)
                }
                (Family::Ed25519, Material::Ed25519(key) | Material::Der(key)) => {
                    ParsedPublicKey::new(&signature::ED25519, key)
                }
                _ => return Err(KeyError::Invalid),
            };
            let key = key.map_err(|_| KeyError::Invalid)?;
            if let (Family::Rsa, Material::Der(_)) = (algorithm.family(), material) {
                // aws-lc-rs checks the size with each signature; this reports it at once.
                let spki = key.as_der().map_err(|_| KeyError::Invalid)?;
                PublicEncryptingKey::from_der(spki.as_ref()).map_err(|_| KeyError::RsaSize)?;
            }
            Ok(Self::Public(key))
        }

        /// Secrets are compared in constant time.
        pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
            match self {
                Self::Public(key) => key.verify_sig(message, signature).is_ok(),
                Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            }
        }
    }

    fn rsa(algorithm: Algorithm) -> &'static RsaParameters {
        match algorithm {
            Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
            Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
            _ => &signature::RSA_PKCS1_2048_8192_SHA256,
        }
    }

    fn bits(n: &[u8]) -> usize {
        let unused = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        n.len() * 8 - unused
    }

    fn rsa_size(bits: usize) -> Result<(), KeyError> {
        if (2048..=8192).contains(&bits) {
            Ok(())
        } else {
            Err(KeyError::RsaSize)
        }
    }
}

#[cfg(not(feature = "aws-lc-rs"))]
mod imp {
    use super::{Algorithm, KeyError, Material};

    /// There is none: no backend can make one.
    pub(crate) enum VerifyingKey {}

    pub(crate) const IS_AVAILABLE: bool = false;

    impl VerifyingKey {
        pub(crate) fn new(_: Algorithm, _: Material<'_>) -> Result<Self, KeyError> {
            Err(KeyError::Invalid)
        }

        pub(crate) fn verifies(&self, _: &[u8], _: &[u8]) -> bool {
            match *self {}
        }
    }
}

pub(crate) use imp::{IS_AVAILABLE, VerifyingKey};
