//! Public keys in PEM (RFC 7468), and public keys that are given as a secret.

use crate::{
    algorithm::Algorithm,
    backend::{KeyError, Material, VerifyingKey},
    error::IssuerError,
};

/// The DER of a public key. A private key or a certificate is rejected by name.
pub(crate) fn public_der(text: &[u8]) -> Result<Vec<u8>, IssuerError> {
    let block = pem::parse(text).map_err(|error| IssuerError::BadPem(error.into()))?;
    match block.tag() {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Ok(block.into_contents()),
        other => Err(IssuerError::NotAPublicKey(other.to_owned())),
    }
}

/// Whether a secret is really a public key, with which everybody could sign (RFC 8725 §2.1).
pub(crate) fn is_public_key(secret: &[u8]) -> bool {
    const PEM: &[u8] = b"-----BEGIN ";
    let is_pem = secret.windows(PEM.len()).any(|window| window == PEM);
    is_pem || is_der(secret) || is_json_key(secret)
}

fn is_der(bytes: &[u8]) -> bool {
    const KINDS: [Algorithm; 4] = [
        Algorithm::RS256,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ];
    starts_as_der(bytes)
        && KINDS.iter().any(|kind| {
            matches!(
                VerifyingKey::new(*kind, Material::Der(bytes)),
                Ok(_) | Err(KeyError::RsaSize)
            )
        })
}

/// A DER key is a SEQUENCE. Without this, any 32 bytes would be an Ed25519 key.
pub(crate) fn starts_as_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30) && bytes.len() != 32
}

fn is_json_key(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes)
        .is_ok_and(|json| json.get("kty").is_some() || json.get("keys").is_some())
}
