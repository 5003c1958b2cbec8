//! A key, and which keys a token may be signed with.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tower_revoke_core::Reason;

use crate::{
    algorithm::Algorithm,
    backend::{KeyError, Material, VerifyingKey},
};

/// How many keys are tried on one token whose `kid` doesn't select one.
const MAX_TRIED: usize = 8;

/// A parsed key, bound to one algorithm.
pub(crate) struct Key {
    /// `kid`. A key without one is used for any token whose `kid` is that of no other key.
    id: Option<String>,
    algorithm: Algorithm,
    /// The public material, which identifies the key when its set is read again. Empty for secrets,
    /// which are never read again.
    public: Vec<u8>,
    verifying: VerifyingKey,
    serial: u64,
}

impl Key {
    pub(crate) fn new(
        id: Option<String>,
        algorithm: Algorithm,
        material: Material<'_>,
    ) -> Result<Self, KeyError> {
        static NEXT_SERIAL: AtomicU64 = AtomicU64::new(0);
        Ok(Self {
            id,
            algorithm,
            public: public(material),
            verifying: VerifyingKey::new(algorithm, material)?,
            serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// A number that is unique in this process.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifying.verifies(message, signature)
    }

    pub(super) fn is(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        material: Material<'_>,
    ) -> bool {
        self.id.as_deref() == id
            && self.algorithm == algorithm
            && !self.public.is_empty()
            && self.public == public(material)
    }
}

fn public(material: Material<'_>) -> Vec<u8> {
    match material {
        Material::Rsa { n, e } => {
            let len = (n.len() as u64).to_be_bytes();
            [len.as_slice(), n, e].concat()
        }
        Material::EcPoint(key) | Material::Ed25519(key) | Material::Der(key) => key.to_vec(),
        Material::Secret(_) => Vec::new(),
    }
}

/// Whether one of the keys has this `kid`.
pub(crate) fn has_key_id(keys: &[Arc<Key>], key_id: Option<&str>) -> bool {
    key_id.is_some_and(|id| keys.iter().any(|key| key.id.as_deref() == Some(id)))
}

/// The keys that a token with this header may be signed with: those of its `kid`, or those without
/// one if no key has that `kid`, or all if the token has none. Never more than [`MAX_TRIED`], and
/// only those of its algorithm (RFC 8725 §3.1).
pub(crate) fn candidates<'a>(
    keys: &'a [Arc<Key>],
    algorithm: Algorithm,
    key_id: Option<&'a str>,
) -> Result<impl Iterator<Item = &'a Arc<Key>>, Reason> {
    let is_named = has_key_id(keys, key_id);
    let mut named = keys
        .iter()
        .filter(move |key| match (key_id, is_named) {
            (None, _) => true,
            (Some(id), true) => key.id.as_deref() == Some(id),
            (Some(_), false) => key.id.is_none(),
        })
        .peekable();
    if named.peek().is_none() {
        return Err(Reason::UnknownKey);
    }
    let mut fitting = named
        .filter(move |key| key.algorithm == algorithm)
        .take(MAX_TRIED)
        .peekable();
    if fitting.peek().is_none() {
        return Err(Reason::AlgorithmNotAllowed);
    }
    Ok(fitting)
}
