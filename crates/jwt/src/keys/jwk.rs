//! JWK sets (RFC 7517). Each key is read by itself: a bad one never drops the set.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse,
};
use serde::Deserialize;
use serde_json::Value;

use super::key::Key;
use crate::{
    algorithm::{Algorithm, Family, only_of},
    backend::{KeyError, Material, VerifyingKey},
    error::KeySetError,
};

/// The largest set that is read.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// How long the keys of a source stay in use that now has no usable key. The issuer may have made a
/// mistake, or may have withdrawn all keys after a theft.
pub(super) const EMPTIED_MAX_AGE: Duration = Duration::from_secs(10 * 60);

/// The most keys that a set may have.
const MAX_KEYS: usize = 256;

/// Why a key of a set is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Skipped {
    /// Without the error, which may quote a private key.
    #[error("it is not a JWK")]
    NoJwk,
    #[error("its type is not supported")]
    Type,
    #[error("its `use` is not `sig`")]
    Use,
    #[error("its `key_ops` lack `verify`")]
    Operations,
    #[error("it is a shared secret, which must not be in a key set")]
    Secret,
    #[error("its `alg` is not allowed, or not one of its type")]
    Algorithm,
    #[error("it has no `alg`, and not exactly one allowed algorithm is of its type")]
    Unbound,
    #[error("it is not encoded as in RFC 7518 §6")]
    Encoding,
    #[error("{0}")]
    Key(#[from] KeyError),
}

impl Skipped {
    /// Whether the key has another purpose, which is not worth a warning.
    fn is_expected(&self) -> bool {
        matches!(self, Self::Use | Self::Operations | Self::Type)
    }
}

/// Unknown members are ignored (RFC 7517 §5).
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// Reads a set. A key that is among the `known` ones stays the same object, and is not parsed again.
///
/// Every key is bound to one algorithm: the one that it names, if that is allowed, or the only
/// allowed one of its type. Keys that can't be used are logged and skipped.
pub(crate) fn read_set(
    json: &[u8],
    allowed: &[Algorithm],
    known: &[Arc<Key>],
) -> Result<(Vec<Arc<Key>>, Vec<Skipped>), KeySetError> {
    if json.len() as u64 > MAX_BYTES {
        return Err(KeySetError::TooLarge(MAX_BYTES));
    }
    // serde's derive accepts an array for a struct; `[[]]` would withdraw all keys.
    if json.trim_ascii_start().first() != Some(&b'{') {
        let error = serde::de::Error::custom("a JWK set is a JSON object");
        return Err(KeySetError::NotAKeySet(error));
    }
    let set: Set = serde_json::from_slice(json).map_err(KeySetError::NotAKeySet)?;
    if set.keys.len() > MAX_KEYS {
        return Err(KeySetError::TooManyKeys(MAX_KEYS));
    }
    let mut keys = Vec::with_capacity(set.keys.len());
    let mut skipped = Vec::new();
    // One warning for all: a set may have hundreds.
    let (mut first, mut count) = (None, 0_u64);
    for jwk in set.keys {
        let key_id = jwk.get("kid").and_then(Value::as_str).map(str::to_owned);
        match read_key(jwk, allowed, known) {
            Ok(key) => keys.push(key),
            Err(why) => {
                if why.is_expected() {
                    tracing::debug!(
                        target: "tower_revoke::jwt",
                        kid = key_id,
                        %why,
                        "a key has another purpose"
                    );
                } else {
                    tracing::debug!(
                        target: "tower_revoke::jwt",
                        kid = key_id,
                        %why,
                        "a key is skipped"
                    );
                    first.get_or_insert((key_id, why.to_string()));
                    count += 1;
                }
                skipped.push(why);
            }
        }
    }
    if let Some((kid, why)) = first {
        tracing::warn!(target: "tower_revoke::jwt", kid, why, count, "keys of a set are skipped");
    }
    Ok((keys, skipped))
}

fn read_key(jwk: Value, allowed: &[Algorithm], known: &[Arc<Key>]) -> Result<Arc<Key>, Skipped> {
    let jwk: Jwk = serde_json::from_value(jwk).map_err(|_| Skipped::NoJwk)?;
    if let Some(key) = known.iter().find(|key| key.is(&jwk)) {
        return Ok(key.clone());
    }
    check_use(&jwk.common)?;
    let parse = |family, material: Material<'_>| {
        let algorithm = bound(&jwk.common, family, allowed)?;
        Ok::<_, Skipped>((algorithm, VerifyingKey::new(algorithm, material)?))
    };
    let (algorithm, verifying) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let (n, e) = (&unsigned(&rsa.n)?, &unsigned(&rsa.e)?);
            parse(Family::Rsa, Material::Rsa { n, e })?
        }
        AlgorithmParameters::EllipticCurve(ec) => {
            let (family, len) = match ec.curve {
                EllipticCurve::P256 => (Family::P256, 32),
                EllipticCurve::P384 => (Family::P384, 48),
                _ => return Err(Skipped::Type),
            };
            let point = [vec![4], fixed(&ec.x, len)?, fixed(&ec.y, len)?].concat();
            parse(family, Material::EcPoint(&point))?
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            parse(Family::Ed25519, Material::Ed25519(&fixed(&pair.x, 32)?))?
        }
        AlgorithmParameters::OctetKey(_) => return Err(Skipped::Secret),
        _ => return Err(Skipped::Type),
    };
    Ok(Arc::new(Key::new(Some(jwk), algorithm, verifying)))
}

/// RFC 7517 §4.2, §4.3.
fn check_use(common: &CommonParameters) -> Result<(), Skipped> {
    match &common.public_key_use {
        None | Some(PublicKeyUse::Signature) => {}
        Some(_) => return Err(Skipped::Use),
    }
    match &common.key_operations {
        Some(operations) if !operations.contains(&KeyOperations::Verify) => {
            Err(Skipped::Operations)
        }
        _ => Ok(()),
    }
}

/// One key, one algorithm (RFC 8725 §3.1).
fn bound(
    common: &CommonParameters,
    family: Family,
    allowed: &[Algorithm],
) -> Result<Algorithm, Skipped> {
    match common.key_algorithm {
        Some(named) => Algorithm::named(&named.to_string())
            .filter(|algorithm| algorithm.family() == family && allowed.contains(algorithm))
            .ok_or(Skipped::Algorithm),
        None => only_of(allowed, family).ok_or(Skipped::Unbound),
    }
}

/// A `Base64urlUInt`. Leading zeros are dropped: RFC 7518 §6.3.1.1 warns that some write them.
fn unsigned(text: &str) -> Result<Vec<u8>, Skipped> {
    let mut bytes = decode(text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    Ok(bytes)
}

/// Octets of a fixed length (RFC 7518 §6.2.1.2, RFC 8037 §2).
fn fixed(text: &str, len: usize) -> Result<Vec<u8>, Skipped> {
    let bytes = decode(text)?;
    (bytes.len() == len)
        .then_some(bytes)
        .ok_or(Skipped::Encoding)
}

fn decode(text: &str) -> Result<Vec<u8>, Skipped> {
    BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Skipped::Encoding)
}
