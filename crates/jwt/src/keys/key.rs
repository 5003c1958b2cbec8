//! A key, and which keys a token may be signed with.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use jsonwebtoken::jwk::Jwk;
use tower_revoke_core::Reason;

use crate::{algorithm::Algorithm, backend::VerifyingKey};

/// How many keys are tried on one token whose `kid` doesn't select one.
const MAX_TRIED: usize = 8;

/// A parsed key, bound to one algorithm.
pub(crate) struct Key {
    /// What it was parsed from, which identifies it when its set is read again. `None` for one that
    /// is not of a set.
    jwk: Option<Jwk>,
    algorithm: Algorithm,
    verifying: VerifyingKey,
    serial: u64,
}

impl Key {
    pub(crate) fn new(jwk: Option<Jwk>, algorithm: Algorithm, verifying: VerifyingKey) -> Self {
        static NEXT_SERIAL: AtomicU64 = AtomicU64::new(0);
        Self {
            jwk,
            algorithm,
            verifying,
            serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// `kid`. A key without one is used for any token whose `kid` is that of no other key.
    fn id(&self) -> Option<&str> {
        self.jwk.as_ref()?.common.key_id.as_deref()
    }

    /// A number that is unique in this process.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifying.verifies(message, signature)
    }

    /// Whether it was parsed from this JWK.
    pub(super) fn is(&self, jwk: &Jwk) -> bool {
        self.jwk.as_ref() == Some(jwk)
    }
}

/// Whether one of the keys has this `kid`.
pub(crate) fn has_key_id(keys: &[Arc<Key>], key_id: Option<&str>) -> bool {
    key_id.is_some_and(|id| keys.iter().any(|key| key.id() == Some(id)))
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
            (Some(id), true) => key.id() == Some(id),
            (Some(_), false) => key.id().is_none(),
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
